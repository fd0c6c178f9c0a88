"""`python -m tests.faults [--write docs/reliability.md]`: all pairs of faults and what they meet, and a table."""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from tests.kill.__main__ import output, write

TITLE = "## Faults"
_LOCATION = re.compile(
    r"\b(?:rest|s3|sftp|ssh|https?):\S+?(?=[\":]?:?(?:\s|$))|\b(tcp )?127\.[0-9.:]+(->127\.[0-9.:]+)?"
)
TEXT = """\
## Faults

A fault of the link to a server, or of the server, in one step of a run, with the repository at different places among
others: every possible pair of two of these is in one of the rows. Each ends in bounded time, the other repositories are
served, nothing is listed that cannot be restored; with a good link the next run goes well, and its snapshot comes back
whole.

Written by `python -m tests.faults`, {date}, commit {commit}, Python {python}, {versions}, Linux {kernel}, seed {seed}:
**{passed} of {all} passed**.

| fault | destination | step | place | ended after | said | |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--write", type=Path, help="the page whose section is written anew: docs/reliability.md")
    parser.add_argument("--report", type=Path, help="pytest's JUnit report of a run before, instead of running them")
    arguments = parser.parse_args()
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        report = arguments.report or Path(folder) / "report.xml"
        if not arguments.report:
            environment = {**os.environ, "OWUI_VAULT_SOAK": "1", "OWUI_VAULT_SEED": str(arguments.seed)}
            argv = [sys.executable, "-m", "pytest", "-n", "3", f"--junitxml={report}", str(Path(__file__).parent)]
            status = subprocess.run(argv, env=environment, check=False).returncode
        rows = sorted(rows_of(report))
    if arguments.write:
        write(arguments.write, section(rows, arguments.seed), TITLE)
        print(f"wrote {arguments.write}")
    return status


def rows_of(report: Path) -> Iterator[str]:
    for case in ElementTree.parse(report).iter("testcase"):
        said = {each.get("name"): each.get("value") for each in case.iter("property")}
        outcome = "passed" if case.find("failure") is None and case.find("error") is None else "**failed**"
        told = _LOCATION.sub("…", said.get("told") or "")
        yield f"| {said.get('fault', case.get('name'))} | {told} | {outcome} |"


def section(rows: list[str], seed: int) -> str:
    return TEXT.format(
        date=datetime.now(UTC).date(),
        commit=output("git", "rev-parse", "--short", "HEAD"),
        python=platform.python_version(),
        versions=", ".join([output("restic", "version").split(" compiled")[0], output("borg", "--version")]),
        kernel=platform.release().split("-")[0],
        seed=seed,
        passed=sum(row.endswith("passed |") for row in rows),
        all=len(rows),
        rows="\n".join(rows),
    )


if __name__ == "__main__":
    sys.exit(main())
