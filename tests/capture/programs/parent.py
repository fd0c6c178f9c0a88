"""A program that captures and is killed on the way.

At a named step of the talk with its child, after some time, or by the child itself at a step of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from owui_vault.capture import child_client
from owui_vault.capture.child_client import Worker
from owui_vault.capture.stage import make_stage
from owui_vault.model import NEVER, CaptureLimits, CapturePlan, ignore_progress

DATABASES = ("webui.db", "vector_db/chroma.sqlite3")


#: Steps inside the child, in their order: what is replaced by the death of its parent.
INSIDE = {
    "classify": "owui_vault.capture.child.sqlite.pinned_copy.classify",
    "look": "owui_vault.capture.child.attempt.Attempt.look",
    "settle": "owui_vault.capture.child.fences.Probe.now_ns",
    "fence": "owui_vault.capture.child.attempt.Attempt._fence",
    "pin": "owui_vault.capture.child.sqlite.pin_process.Pinner.pin",
    "ahead": "owui_vault.capture.child.sqlite.pinned_copy.copy_beside_others",
    "moment": "owui_vault.capture.child.sqlite.pin_process.Pinner.at_one_moment",
    "take": "owui_vault.capture.child.attempt.Attempt._take",
    "link": "owui_vault.capture.child.stage_writer.link_file",
    "copy": "owui_vault.capture.child.stage_writer.copy_file",
    "compare": "owui_vault.capture.child.attempt.Attempt._compare",
    "examine": "owui_vault.capture.child.databases.RawCopies.examine",
    "log": "owui_vault.capture.child.sqlite.pinned_copy.bring_in",
    "count": "owui_vault.capture.child.sqlite.pinned_copy.PinnedCopies._compare",
    "vectors": "owui_vault.capture.child.main.Helper._vector_files",
    "inventory": "owui_vault.capture.child.main.write_inventory",
    "gather": "owui_vault.capture.child.main.gather",
}
KILLS_ITS_PARENT = """
import importlib, os, time
def dies(*_, **__):
    os.kill(os.getppid(), 9)
    time.sleep(60)
words = {target!r}.split(".")
for end in range(len(words) - 1, 0, -1):
    try:
        place = importlib.import_module(".".join(words[:end]))
    except ModuleNotFoundError:
        continue
    break
for word in words[end:-1]:
    place = getattr(place, word)
getattr(place, words[-1])
setattr(place, words[-1], dies)
"""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(data: str, work: str, step: str, delay: float) -> None:
    if step in INSIDE:
        before, _, last = child_client._START.rstrip().rpartition("\n")
        child_client._START = f"{before}{KILLS_ITS_PARENT.format(target=INSIDE[step])}{last}\n"
    plan = CapturePlan(data_dir=Path(data), work_dir=Path(work), databases=DATABASES)
    make_stage(plan.work_dir)
    worker = Worker(plan, CaptureLimits(reserve_bytes=0), ignore_progress, NEVER)
    deeds: dict[str, Callable[[], object]] = {
        "prepare": worker.prepare,
        "attempt": lambda: worker.attempt(frozen=False, seconds=2),
        "finish": worker.finish,
        "seal": worker.seal,
    }
    if step == "gather":
        deeds = {"prepare": worker.prepare, "gather": worker.gather}
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
