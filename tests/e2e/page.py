"""The record of a run, as a section of docs/reliability.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.installation import ROOT, VERSION, commit
from tests.e2e.latency import Waits
from tests.e2e.scenes import Found, Story, Taken

TITLES = {"process": "## Real Open WebUI", "container": "## Real Open WebUI in a container"}
PLACES = {"process": "as a pip process", "container": "in a container with a named volume"}
TEXT = """\
{title}

Written by `make e2e`, {date}, commit {commit}: Open WebUI {version} {place},
Python {python}, {engines}, Linux {kernel}, {cores} cores, {minutes:.0f} minutes.

Five clients use its API all the time (chats that grow and go, uploads, knowledge bases whose documents are embedded,
deletions; *without a pause* means that two of them do nothing but add documents) and write down what was acknowledged,
and when.

{taken}

Times are seconds: *waited* is the longest that any request took, *silence* the longest time without any answer, each
in the twelve seconds before the snapshot began, around the instant, and during all of it, both engines included.

Then the data were started on, with the original ones moved away, and asked through the API for everything that had been
acknowledged before the instant: people sign in, and their old sessions still hold; chats have all their messages; files
come back byte for byte; each document of a knowledge base is found by its words. What was deleted before the instant,
or begun after it, must not be there.

{found}
"""


def section(variant: str, story: Story, seconds: float) -> str:
    return (
        TEXT.format(
            title=TITLES[variant],
            place=PLACES[variant],
            date=datetime.now(UTC).date(),
            commit=commit(),
            version=VERSION,
            python=platform.python_version(),
            engines=", ".join(_said(*argv) for argv in (("restic", "version"), ("borg", "--version"))),
            kernel=platform.release().split("-")[0],
            cores=len(_cores()),
            minutes=seconds / 60,
            taken=_table(TAKEN, [_taken(row) for row in story.taken]),
            found=_table(FOUND, [_found(row) for row in story.found]),
        ).rstrip()
        + "\n"
    )


TAKEN = ("snapshot", "outcome", "proven", "attempts", "freeze", "outage", "read waited",
         "write waited", "silence", "unanswered")  # fmt: skip
FOUND = ("started on", "up after", "found", "absent", "problems")


def _taken(row: Taken) -> tuple[str, ...]:
    def three(value: str) -> str:
        return ", ".join(f"{getattr(each, value):.2f}" for each in (row.before, row.around, row.during))

    return (
        row.what, row.outcome, row.mode, str(row.attempts), f"{row.freeze:.3f}", f"{row.outage:.1f}",
        three("worst_read"), three("worst_write"), three("gap"), _failed(row.during),
    )  # fmt: skip


def _failed(seen: Waits) -> str:
    return f"{seen.failed} of {seen.count}"


def _found(row: Found) -> tuple[str, ...]:
    there = ", ".join(f"{count} {kind}s" for kind, count in sorted(row.findings.present.items()))
    return (
        row.what, f"{row.start_seconds:.0f} s", there, str(sum(row.findings.absent.values())),
        str(len(row.findings.problems)),
    )  # fmt: skip


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(path: Path, variant: str, text: str) -> None:
    """Replace the section of this title, or add it at the end."""
    before = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"^{re.escape(TITLES[variant])}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    added = f"{before.rstrip()}\n\n{text}"
    after = pattern.sub(lambda _: text + "\n", before) if pattern.search(before) else added
    path.write_text(after.rstrip() + "\n", encoding="utf-8")


def _said(*argv: str) -> str:
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return told.split(" compiled")[0].strip()


def _cores() -> set[int]:

    return os.sched_getaffinity(0)
