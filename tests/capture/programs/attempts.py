"""Attempts at an instant one after the other in one process, as the child makes them: many more than whole captures.

For each claimed instant it prints what it holds; for each failed one, why. It may read live data no other way than the
child does: the pinned database is asked through its pin, everything else is looked at in the stage. With `unseen` the
attempts are made as in a freeze that the writer is not in, by somebody who cannot see it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

from owui_vault.capture import attempt as attempts
from owui_vault.capture.attempt import Attempt, Instant
from owui_vault.capture.bench import Bench
from owui_vault.capture.databases import RawCopies
from owui_vault.capture.errors import AttemptFailedError
from owui_vault.capture.job import Job
from owui_vault.capture.settle import Probe
from owui_vault.capture.watch import Watched

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


def contents(bench: Bench, instant: Instant) -> dict[str, object]:
    pins = {pin.database.name: pin.connection() for pin in instant.pins}
    numbers = []
    for name, statement in DATABASES.items():
        if name in pins:
            numbers.append(pins[name].execute(statement).fetchone())
            continue
        copy = sqlite3.connect(f"file:{bench.place(name)}?mode=ro&immutable=1", uri=True)
        numbers.append(copy.execute(statement).fetchone())
        copy.close()
    segments = []
    for name in sorted(os.listdir(bench.place("vector_db/segment"))):
        content = Path(bench.place(f"vector_db/segment/{name}")).read_bytes()
        segments.append(sorted({int(content[at : at + 8]) for at in range(0, len(content), 8)}))
    uploads = sorted(int(name.removesuffix(".txt")) for name in os.listdir(bench.place("uploads")))
    return {"webui": numbers[0][0], "chroma": numbers[1], "segments": segments, "uploads": uploads}


def main(data: str, work: str, claims: int, seconds: float, unseen: bool) -> None:
    plan = job(data, work)
    Path(plan.tree).mkdir(parents=True)
    Path(plan.desk).mkdir()
    bench = Bench(plan, Probe(f"{plan.desk}/probe"))
    raw = RawCopies(bench)
    if unseen:
        attempts.watch = lambda *_: Watched(writers=(), complete=False)
    until = time.monotonic() + seconds
    while claims and time.monotonic() < until:
        deadline = time.monotonic() + 3
        attempt = Attempt(bench, raw, frozen=unseen, held=unseen, patience_seconds=0, until=deadline)
        try:
            instant = attempt.run()
        except AttemptFailedError as failed:
            print(json.dumps({"failed": str(failed)}))
            continue
        print(json.dumps(contents(bench, instant)))
        claims -= 1
        instant.release()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), "unseen" in sys.argv)
