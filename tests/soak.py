"""`python -m tests.soak [--write docs/reliability.md]`: every test that counts, with its full count.

`make test-all` does a tenth of each (OWUI_VAULT_SOAK=0.1). Here they run one after the other, in this process's
environment, with a seed that is printed and written down; the table tells what was counted and how it ended.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from tests.kill.__main__ import output, write

TITLE = "## Full counts"
TEXT = """\
## Full counts

Every test that kills, races or counts, run with its full count; `make test-all` does a tenth of each. Written by
`make soak`, {date}, commit {commit}, Python {python}, {versions}, Linux {kernel}, seed {seed}: **{passed} of {all}
passed**{rest}, {minutes} minutes.

| what is claimed | where | times | seconds | |
| --- | --- | --- | --- | --- |
{rows}
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One test as pytest reported it."""

    module: str
    name: str
    count: int
    seconds: float
    outcome: str  # "passed", "failed", "not run"

    def row(self) -> str:
        claim, _, variant = self.name.removeprefix("test_").partition("[")
        words = claim.replace("_", " ") + (f" ({variant.rstrip(']')})" if variant else "")
        return f"| {words} | `{self.module}` | {self.count:,} | {self.seconds:.0f} | {self.outcome} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts")
    parser.add_argument("--write", type=Path, help="the page whose section is written anew: docs/reliability.md")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        status = run(arguments.seed, arguments.share, report, arguments.pytest)
        cases = list(cases_in(report))
    if arguments.write:
        write(arguments.write, section(cases, arguments.seed, datetime.now(UTC) - began), TITLE)
        print(f"wrote {arguments.write}")
    return status


def run(seed: int, share: float, report: Path, more: list[str]) -> int:
    """pytest's own exit status."""
    environment = {**os.environ, "OWUI_VAULT_SOAK": str(share), "OWUI_VAULT_SEED": str(seed)}
    # The kills of the whole program have a table of their own (python -m tests.kill).
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "soak",
        "--timeout=7200",
        "--ignore=tests/kill",
        f"--junitxml={report}",
    ]
    return subprocess.run([*argv, *more], env=environment, check=False).returncode


def cases_in(report: Path) -> Iterator[Case]:
    for case in ElementTree.parse(report).iter("testcase"):
        if not case.get("name"):  # where the run was ended from outside
            continue
        counts = [int(each.get("value", "0")) for each in case.iter("property") if each.get("name") == "count"]
        ended = {"failure": "**failed**", "error": "**failed**", "skipped": "not run"}
        outcome = next((word for tag, word in ended.items() if case.find(tag) is not None), "passed")
        module = case.get("classname", "").replace(".", "/") + ".py"
        yield Case(module, case.get("name", ""), max(counts, default=0), float(case.get("time", "0")), outcome)


def section(cases: list[Case], seed: int, took: timedelta) -> str:
    passed = sum(case.outcome == "passed" for case in cases)
    idle = sum(case.outcome == "not run" for case in cases)
    return TEXT.format(
        date=datetime.now(UTC).date(),
        commit=output("git", "rev-parse", "--short", "HEAD"),
        python=platform.python_version(),
        versions=", ".join([output("restic", "version").split(" compiled")[0], output("borg", "--version")]),
        kernel=platform.release().split("-")[0],
        seed=seed,
        passed=passed,
        all=len(cases),
        rest=f" ({idle} could not run here)" if idle else "",
        minutes=round(took.total_seconds() / 60),
        rows="\n".join(case.row() for case in sorted(cases, key=lambda case: (case.module, case.name))),
    )


if __name__ == "__main__":
    sys.exit(main())
