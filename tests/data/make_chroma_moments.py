"""How chroma-moments.tar.xz was made, with chromadb 1.5.9: one store at 1,500, 2,600 and 3,700 vectors (a, b, c).

    python make_chroma_moments.py FOLDER && tar -C FOLDER -cJf chroma-moments.tar.xz a b c

Each moment is written by a process of its own, which ends before the copy is made.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

DIMENSION = 4
MOMENTS = {"a": 1500, "b": 2600, "c": 3700}


def grow(path: Path, total: int) -> None:
    import chromadb  # type: ignore[import-not-found]  # noqa: PLC0415  not a dependency: this script is history

    client = chromadb.PersistentClient(path=str(path))
    collection = client.get_or_create_collection("knowledge", metadata={"hnsw:space": "cosine"})
    for start in range(collection.count(), total, 100):
        numbers = range(start, min(start + 100, total))
        collection.upsert(
            ids=[f"vector-{number}" for number in numbers],
            embeddings=[[(number * 7 + at * 3) % 11 / 10 + 0.1 for at in range(DIMENSION)] for number in numbers],
            documents=["x" for _ in numbers],
        )


def main(target: Path) -> None:
    work = target / "work"
    for name, total in MOMENTS.items():
        child = os.fork()
        if child == 0:
            grow(work, total)
            os._exit(0)
        os.waitpid(child, 0)
        shutil.copytree(work, target / name)
    shutil.rmtree(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
