"""An application under load: every round writes one number everywhere, in a fixed order, as fast as it can.

uploads/N.txt, then the HNSW-like files in place, then Chroma's two tables, then webui.db's counter and row. So at any
moment the numbers can differ by at most one, in that order. `webui.db` gets many more commits than rounds, as chats do.
A negative rest is for ever: the instance is idle after one round.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import time

PAYLOAD = 1000
SEGMENT = 4096


def connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30)


def one_round(
    number: int, data: str, segments: list[int], databases: tuple[sqlite3.Connection, ...], slowest: Slowest
) -> None:
    webui, chroma = databases
    with open(f"{data}/uploads/{number}.txt", "wb") as file:
        file.write(b"%d" % number * PAYLOAD)
    for segment in segments:
        os.pwrite(segment, b"%08d" % number * SEGMENT, 0)
    for connection, statements in (
        (chroma, ("UPDATE first SET n = :n", "UPDATE second SET n = :n")),
        (webui, ("UPDATE counter SET n = :n", "INSERT INTO document VALUES (:n)")),
    ):
        began = time.monotonic()
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement, {"n": number})
        connection.execute("COMMIT")
        slowest.take(time.monotonic() - began)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{data}/uploads/{number - 50}.txt")  # noqa: PTH108  no Path: this is meant to be fast


def main(data: str, rest_seconds: float, chats: int) -> None:
    databases = (connect(f"{data}/webui.db"), connect(f"{data}/vector_db/chroma.sqlite3"))
    folder = f"{data}/vector_db/segment"
    segments = [os.open(f"{folder}/{name}", os.O_RDWR) for name in sorted(os.listdir(folder))]
    number = databases[0].execute("SELECT n FROM counter").fetchone()[0]
    with contextlib.suppress(FileNotFoundError):  # of one that was killed when its round was all but over
        os.unlink(f"{data}/uploads/{number - 50}.txt")  # noqa: PTH108
    slowest = Slowest()
    if rest_seconds < 0:
        one_round(number + 1, data, segments, databases, slowest)
    slowest.say()
    print("ready", flush=True)
    while True:
        if rest_seconds < 0:
            signal.pause()
        for _ in range(random.randrange(chats + 1)):
            began = time.monotonic()
            databases[0].execute("UPDATE chat SET n = n + 1")
            slowest.take(time.monotonic() - began)
        number += 1
        one_round(number, data, segments, databases, slowest)
        time.sleep(random.random() * rest_seconds)


class Slowest:
    """Prints the slowest commit, of whichever database, whenever it grows; SIGUSR1 makes it begin anew."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ready = False
        signal.signal(signal.SIGUSR1, self.forget)

    def say(self) -> None:
        """From now on."""
        self.ready = True

    def forget(self, *_: object) -> None:
        self.seconds = 0.0

    def take(self, seconds: float) -> None:
        if self.ready and seconds > self.seconds:
            self.seconds = seconds
            print(json.dumps({"worst": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
