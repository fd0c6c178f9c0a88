"""`python -m tests.kill --rounds 100 [--write docs/reliability.md]`: kill at random moments, check, tell.

Engines, and a busy and an idle instance, take turns. The first broken promise ends it with a traceback.
"""

from __future__ import annotations

import argparse
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.kill.rounds import Killer, Round, Style
from tests.kill.site import ROOT, Site

TITLE = "## Kills"
TEXT = """\
## Kills

`make soak` kills the whole program with SIGKILL at random moments of a snapshot and checks every promise afterwards:
the instance runs (after a pause within 2 s; where the guardian was killed too, after `recover`), names, bytes, modes,
owners and times of the live data are unchanged, `recover` leaves no stage, nothing is listed as complete that is not
(each new one is restored, and its databases and uploads are of one moment), the next run works, and no stale lock is
in its way.

Written by `{command}`, {date}, commit {commit}, Python {python}, {versions}, Linux {kernel}, seed {seed}.

**{kills} kills, every promise kept.** {checked} snapshots were listed as complete, and each was restored and compared.
After a kill during a pause the instance ran again after {back:.2f} s at the latest.

| what was killed | restic | borg |
| --- | --- | --- |
{by_style}

| last words before the kill | kills |
| --- | --- |
{by_moment}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--write", type=Path, help="the page whose section is written anew: docs/reliability.md")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    generator = random.Random(arguments.seed)
    done: list[Round] = []
    cases = [(engine, busy) for engine in ("restic", "borg") for busy in (True, False)]
    for number, (engine, busy) in enumerate(cases):
        share = len(range(number, arguments.rounds, len(cases)))
        done += rounds(engine, share, generator, busy=busy)
    if arguments.write:
        write(arguments.write, section(done, arguments), TITLE)
        print(f"wrote {arguments.write}")
    return 0


def rounds(engine: str, count: int, generator: random.Random, *, busy: bool) -> list[Round]:
    folder = Path(tempfile.mkdtemp(prefix="owui-vault-soak-"))
    program = shutil.which(engine)
    assert program, f"{engine} is not installed"
    site = Site(folder, engine, Path(program))
    site.start(0.1 if busy else 0.0)
    done = []
    try:
        site.succeed("init")
        killer = Killer(site, generator, busy=busy)
        for number in range(count):
            done.append(killer.round())
            print(f"{engine} {'busy' if busy else 'idle'} {number + 1}/{count}: {done[-1]}", flush=True)
    finally:
        site.stop()
        shutil.rmtree(folder)
    return done


def section(done: list[Round], arguments: argparse.Namespace) -> str:
    styles = Counter((one.style, one.engine) for one in done)
    moments = Counter(phase(one.said) for one in done)
    return TEXT.format(
        command=f"python -m tests.kill --rounds {arguments.rounds} --seed {arguments.seed}",
        date=datetime.now(UTC).date(),
        commit=output("git", "rev-parse", "--short", "HEAD"),
        python=platform.python_version(),
        versions=", ".join([output("restic", "version").split(" compiled")[0], output("borg", "--version")]),
        kernel=platform.release().split("-")[0],
        seed=arguments.seed,
        kills=len(done),
        checked=sum(one.checked for one in done),
        back=max(one.back_seconds for one in done),
        by_style="\n".join(
            f"| {style.value} | {styles[style, 'restic']} | {styles[style, 'borg']} |" for style in Style
        ),
        by_moment="\n".join(f"| {moment} | {count} |" for moment, count in moments.most_common()),
    )


def write(path: Path, text: str, title: str) -> None:
    """Replace the section of this title, or add it at the end."""
    before = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"^{title}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    after = pattern.sub(lambda _: text + "\n", before) if pattern.search(before) else f"{before}\n{text}"
    path.write_text(after.rstrip() + "\n", encoding="utf-8")


def phase(said: str) -> str:
    """The first words of a line, without what differs from run to run."""
    words = [word for word in said.split() if word.isalpha()][:4]
    return " ".join(words) or "(nothing yet)"


def output(*argv: str) -> str:
    return subprocess.check_output(argv, text=True, cwd=ROOT).strip()


if __name__ == "__main__":
    sys.exit(main())
