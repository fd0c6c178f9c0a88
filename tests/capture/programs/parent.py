"""A program that captures and is killed on the way: at a named step of the talk with its child, or after some time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from owui_vault.capture.stage import make_stage
from owui_vault.capture.worker import Worker
from owui_vault.model import NEVER, CaptureLimits, CapturePlan, ignore_progress

DATABASES = ("webui.db", "vector_db/chroma.sqlite3")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(data: str, work: str, step: str, delay: float) -> None:
    plan = CapturePlan(data_dir=Path(data), work_dir=Path(work), databases=DATABASES)
    make_stage(plan.work_dir)
    worker = Worker(plan, CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    deeds = {
        "prepare": worker.prepare,
        "attempt": lambda: worker.attempt(frozen=False, seconds=2),
        "finish": worker.finish,
        "seal": worker.seal,
    }
    for name, deed in deeds.items():
        if name == step:
            threading.Timer(delay, die).start()
        print(name, flush=True)
        while deed() is None and name == "attempt":
            pass
        if name == step and delay == 0:
            die()
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
