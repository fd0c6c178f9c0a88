"""Connections that write and checkpoint as they like, until stdin ends: `crowd.py DATABASE CONNECTIONS SEED`.

Each is a thread with a connection of its own. Prints how many transactions were committed.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
from contextlib import closing

CHECKPOINTS = ("PASSIVE", "PASSIVE", "FULL", "RESTART", "TRUNCATE")


def work(path: str, source: random.Random, ended: threading.Event, done: list[int]) -> None:
    """Move messages between chats, so that every index changes, and the sum of all amounts never."""
    committed = 0
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint={source.choice((10, 50, 1000))}")
        while not ended.is_set():
            one, other = source.sample(range(500), 2)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE message SET amount = amount - 1, chat = ? WHERE id = ?", (source.random(), one))
            connection.execute("UPDATE message SET amount = amount + 1, text = ? WHERE id = ?", ("y" * one, other))
            connection.execute("DELETE FROM note WHERE id = ?", (one,))
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (other, source.random()))
            connection.execute("COMMIT")
            committed += 1
            if source.random() < 0.05:
                connection.execute(f"PRAGMA wal_checkpoint({source.choice(CHECKPOINTS)})").fetchall()
    done.append(committed)


def main(path: str, connections: int, seed: int) -> None:
    ended, done = threading.Event(), list[int]()
    sources = [random.Random(seed * 100 + number) for number in range(connections)]
    threads = [threading.Thread(target=work, args=(path, source, ended, done)) for source in sources]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    assert len(done) == connections, "a connection failed"
    print(sum(done), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
