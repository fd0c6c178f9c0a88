"""A stand-in for a running Open WebUI: holds both databases open and writes upload, vectors, database, in this order.

    python writer.py DATA_DIR SECONDS_BETWEEN     (0: holds everything open and writes nothing)

Step n is complete in one store before it begins in the next, so that of any single moment holds:
uploads >= rows in Chroma >= rows in webui.db >= uploads - 1.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

NAME = "soak-"


def main() -> None:
    data_dir, pause = Path(sys.argv[1]), float(sys.argv[2])
    webui = sqlite3.connect(data_dir / "webui.db", timeout=30, isolation_level=None)
    chroma = sqlite3.connect(data_dir / "vector_db" / "chroma.sqlite3", timeout=30, isolation_level=None)
    assert webui.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    chroma.execute("CREATE TABLE IF NOT EXISTS soak (n INTEGER PRIMARY KEY)")
    ((user,),) = webui.execute("SELECT id FROM user LIMIT 1").fetchall()
    ((done,),) = webui.execute("SELECT count(*) FROM file WHERE id LIKE ?", (f"{NAME}%",)).fetchall()
    print("ready", flush=True)
    while pause == 0:
        time.sleep(3600)
    for n in range(done, 1_000_000):
        write_step(n, data_dir, chroma, webui, user)
        time.sleep(pause)


def write_step(n: int, data_dir: Path, chroma: sqlite3.Connection, webui: sqlite3.Connection, user: str) -> None:
    identity = f"{NAME}{n:07}"
    body = f"step {n}\n" * 500
    (data_dir / "uploads" / f"{identity}_step.txt").write_text(body)
    chroma.execute("INSERT OR REPLACE INTO soak VALUES (?)", (n,))
    webui.execute(
        "INSERT INTO file (id, user_id, filename, meta, created_at, updated_at, path) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            identity,
            user,
            "step.txt",
            json.dumps({"size": len(body)}),
            n,
            n,
            f"/app/backend/data/uploads/{identity}_step.txt",
        ),
    )


if __name__ == "__main__":
    main()
