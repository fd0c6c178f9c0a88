"""Attempts at an instant one after the other in one process, as the child makes them: many more than whole captures.

For each claimed instant it prints what it holds; for each failed one, why. It reads live data no other way than the
child does, and looks at what is in the stage. A database stays pinned for many instants, so that its copy, made once,
is brought to later and later ones while the application goes on; then it is pinned and copied anew. With `unseen` the
attempts are made as in a freeze that the writer is not in, by somebody who cannot see it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

from owui_vault.capture.child import attempt as attempts
from owui_vault.capture.child.attempt import Attempt, Instant
from owui_vault.capture.child.databases import RawCopies
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.fences import Probe
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.sqlite.pinned_copy import PinnedCopies
from owui_vault.capture.child.stage_writer import StageWriter
from owui_vault.capture.child.watch import WritersFound

INSTANTS_PER_PIN = 20
DATABASES = {
    "webui.db": "SELECT n FROM counter",
    "vector_db/chroma.sqlite3": "SELECT first.n, second.n FROM first, second",
}


def job(data: str, work: str) -> Job:
    return Job(
        data_dir=data,
        work_dir=work,
        databases=tuple(DATABASES),
        write_once=("uploads",),
        links=(),
        exclude=(),
        include=(),
        reserve_bytes=0,
        wal_growth_bytes=1 << 30,
    )


def contents(writer: StageWriter, pinned: PinnedCopies, instant: Instant) -> dict[str, object]:
    for name, commit in instant.commits.items():
        told = pinned._process().reference_answers(name)
        pinned._bring_in(name, commit, time.monotonic() + 60)
        pinned._compare(name, told)
    numbers = []
    for name, statement in DATABASES.items():
        copy = sqlite3.connect(f"file:{writer.place(name)}?mode=ro&immutable=1", uri=True)
        numbers.append(copy.execute(statement).fetchone())
        copy.close()
    segments = []
    for name in sorted(os.listdir(writer.place("vector_db/segment"))):
        content = Path(writer.place(f"vector_db/segment/{name}")).read_bytes()
        segments.append(sorted({int(content[at : at + 8]) for at in range(0, len(content), 8)}))
    uploads = sorted(int(name.removesuffix(".txt")) for name in os.listdir(writer.place("uploads")))
    return {"webui": numbers[0][0], "chroma": numbers[1], "segments": segments, "uploads": uploads}


def main(data: str, work: str, claims: int, seconds: float, unseen: bool) -> None:
    plan = job(data, work)
    Path(plan.tree).mkdir(parents=True)
    Path(plan.desk).mkdir()
    writer = StageWriter(plan, Probe(f"{plan.desk}/probe"))
    raw = RawCopies(writer)
    pinned = PinnedCopies(writer)
    if unseen:
        setattr(attempts, "find_writers", lambda *_, **__: WritersFound(writers=(), complete=False))  # noqa: B010  a name that it imports
    until = time.monotonic() + seconds
    claims_of_pin = 0
    while claims and time.monotonic() < until:
        deadline = time.monotonic() + 3
        attempt = Attempt(writer, raw, pinned, pin=True, frozen=unseen, held=unseen, patience_seconds=0, until=deadline)
        try:
            for database in pinned.classify():
                if database.pinnable:
                    pinned.begin(database, deadline, lambda *_: None)
            instant = attempt.run()
        except AttemptFailedError as failed:
            print(json.dumps({"failed": str(failed)}))
            continue
        try:
            held = contents(writer, pinned, instant)
        except AttemptFailedError as failed:  # as in `complete`: what was pinned is lost, and nothing is claimed
            print(json.dumps({"failed": str(failed)}))
            claims_of_pin = INSTANTS_PER_PIN
        else:
            print(json.dumps(held))
            claims -= 1
            claims_of_pin += 1
        if claims_of_pin == INSTANTS_PER_PIN:
            claims_of_pin = 0
            for name in instant.commits:
                pinned.forget(name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), "unseen" in sys.argv)
