"""A writing application: it commits as Open WebUI does, at a chosen rate, and notes when each commit was done.

`python writer.py DATA_DIR --kind chat --rate 100 --log FILE`. It prints `ready`, writes until SIGTERM, then writes
FILE: pairs of doubles, the monotonic end of each commit and the seconds it took.
"""

from __future__ import annotations

import argparse
import array
import os
import random
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--kind", choices=("chat", "documents"), default="chat")
    parser.add_argument("--rate", type=float, default=0.0, help="commits per second; 0: as fast as possible")
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    running = [True]
    signal.signal(signal.SIGTERM, lambda *_: running.clear())
    commit = chat_writer(arguments.data_dir) if arguments.kind == "chat" else document_writer(arguments.data_dir)
    commit()
    print("ready", flush=True)
    stamps = array.array("d")
    pause = 1 / arguments.rate if arguments.rate else 0.0
    parent = os.getppid()
    while running and os.getppid() == parent:  # whoever was to end us may have been killed
        begun = time.monotonic()
        commit()
        ended = time.monotonic()
        stamps.extend((ended, ended - begun))
        if pause > ended - begun:
            time.sleep(pause - (ended - begun))
    arguments.log.write_bytes(stamps.tobytes())


def chat_writer(data_dir: Path) -> Callable[[], None]:
    """One answer of a chat: the chat's JSON rewritten and a message added, in one transaction."""
    database = sqlite3.connect(data_dir / "webui.db", isolation_level=None, timeout=5)
    database.execute("PRAGMA synchronous=NORMAL")
    chats = [row[0] for row in database.execute("SELECT id FROM chat LIMIT 500")]
    (text,) = database.execute("SELECT chat FROM chat WHERE id = ?", (chats[0],)).fetchone()
    chance = random.Random(1)

    def commit() -> None:
        chat = chance.choice(chats)
        now = time.time_ns()
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE chat SET chat = ?, updated_at = ? WHERE id = ?", (text, now // 10**9, chat))
        database.execute(
            "INSERT INTO chat_message (id, chat_id, role, content, created_at) VALUES (?, ?, 'assistant', ?, ?)",
            (f"{chat}-{uuid.uuid4()}", chat, '"word "' * 40, now),
        )
        database.execute("COMMIT")

    return commit


def document_writer(data_dir: Path) -> Callable[[], None]:
    """One chunk of a document: a vector for Chroma's queue, in rollback-journal mode."""
    database = sqlite3.connect(data_dir / "vector_db" / "chroma.sqlite3", isolation_level=None, timeout=5)
    chance = random.Random(2)

    def commit() -> None:
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "INSERT INTO embeddings_queue (operation, topic, id, vector, encoding) VALUES (0, 'bench', ?, ?, "
            "'FLOAT32')",
            (str(uuid.uuid4()), chance.randbytes(1536)),
        )
        database.execute("COMMIT")

    return commit


if __name__ == "__main__":
    main()
