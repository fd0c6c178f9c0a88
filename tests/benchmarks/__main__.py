"""Measure, print, and with `--write docs/benchmarks.md` write it down: `python -m tests.benchmarks --size 1GB`."""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from owui_vault.system.filesystem import filesystem_type
from owui_vault.testing.instances.generate import grow_instance
from tests.benchmarks.copying import destinations, replicating
from tests.benchmarks.living import effect, freeze, freeze_table, proven_rate
from tests.benchmarks.measure import Program, in_turn, middle, ratio
from tests.benchmarks.serving import outage, possible, requests
from tests.benchmarks.storing import against_the_engine, commands, memory, tutorials
from tests.benchmarks.tables import Table, at_most, begin, seconds, size
from tests.benchmarks.ways import ROOT, Place, size_of

CASES = (
    "engine", "memory", "destinations", "replicate", "live", "effect", "freeze", "outage", "requests", "commands",
    "help", "tutorials",
)  # fmt: skip
ELSEWHERE = {"freeze", "outage", "requests", "commands", "help"}  # these make data of their own, or need none
HELP_TARGET = 0.5
REST_SERVER = ROOT / ".cache/engines/sid/usr/bin/restic-rest-server"
INSTALL_SECONDS = 300
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def main() -> None:
    arguments = parse()
    work = Path(tempfile.mkdtemp(prefix="owui-vault-bench-", dir=arguments.work))
    programs = tuple(arguments.programs or ())
    try:
        tables = measure(arguments, work, programs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    text = document(arguments, Place(work=work, data_dir=work, programs=programs), tables)
    if arguments.write:
        arguments.write.write_text(text)
        print(f"\nwrote {arguments.write}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--size", type=in_bytes, default="1GB", help="size of the generated instance, such as 300MB")
    parser.add_argument("--freeze-sizes", type=in_bytes, nargs="*", default=[10**8, 10**9, 4 * 10**9], metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each pair")
    parser.add_argument("--engines", nargs="*", default=["restic", "borg"], choices=("restic", "borg"))
    parser.add_argument("--cases", nargs="*", default=CASES, choices=CASES)
    parser.add_argument("--programs", type=Path, nargs="*", metavar="DIR", help="directories of another restic or borg")
    parser.add_argument(
        "--rest-server", type=Path, default=REST_SERVER, help="restic's server (default: the newest here)"
    )
    parser.add_argument("--borgmatic", help="borgmatic's program (default: installed for the time of this run)")
    parser.add_argument("--work", type=Path, help="where the data are made (default: the system's temporary directory)")
    parser.add_argument("--data", type=Path, help="use this data directory (it is changed!) instead of making one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables as Markdown")
    return parser.parse_args()


def in_bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9.]+)\s*([KMG]?)i?B?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"not a size: {text}")
    return int(float(match[1]) * UNITS[match[2].upper()])


def measure(arguments: argparse.Namespace, work: Path, programs: tuple[Path, ...]) -> list[Table]:
    chance = random.Random(f"days {arguments.seed}")  # not the one that made the data
    engines, rounds, cases = tuple(arguments.engines), arguments.rounds, arguments.cases
    tables: list[Table] = []
    if set(cases) - ELSEWHERE:
        given = arguments.data and Place(work=work, data_dir=arguments.data, programs=programs)
        place = given or made(work, arguments.size, programs, arguments.seed)
        if "engine" in cases:
            tables += against_the_engine(place, engines, rounds, chance)
        on_the_same: dict[str, Callable[[], Table]] = {
            "memory": lambda: memory(place, engines),
            "destinations": lambda: destinations(place, arguments.rest_server, rounds),
            "replicate": lambda: replicating(place, rounds),
            "live": lambda: proven_rate(place, times=4 * rounds),
            "effect": lambda: effect(place, times=4 * rounds),
            "tutorials": lambda: tutorials(place, rounds, chance),
        }
        tables += [case() for name, case in on_the_same.items() if name in cases]
    on_their_own: dict[str, Callable[[], Table]] = {
        "freeze": lambda: freezes(arguments, work, programs),
        "outage": lambda: outage(work, arguments.size, 2 * rounds),
        "requests": lambda: requests(work, arguments.size, 2 * rounds),
        "commands": lambda: commands(work, programs, engines, 3 * rounds),
        "help": lambda: start_up(Place(work=work, data_dir=work, programs=programs), arguments.borgmatic, 5 * rounds),
    }
    not_here = set() if possible() else {"outage", "requests"}
    return tables + [case() for name, case in on_their_own.items() if name in set(cases) - not_here]


def freezes(arguments: argparse.Namespace, work: Path, programs: tuple[Path, ...]) -> Table:
    """Each size where the data are, and on a file system that shares blocks where one can be mounted."""
    table = freeze_table()
    for each in arguments.freeze_sizes:
        place = made(work / f"freeze-{each}", each, programs, arguments.seed)
        freeze(place, table, times=2 * arguments.rounds, filesystem=filesystem_type(place.data_dir))
        with reflinks(place) as sharing:
            if sharing:
                freeze(sharing, table, times=2 * arguments.rounds, filesystem="xfs, reflinks")
        shutil.rmtree(place.work)
    return table


@contextmanager
def reflinks(place: Place) -> Iterator[Place | None]:
    """The same data on an XFS of their own; None without root or its tools."""
    if os.geteuid() != 0 or not shutil.which("mkfs.xfs", path=f"{os.defpath}:/usr/sbin:/sbin"):
        yield None
        return
    image, point = place.work / "xfs.image", place.work / "xfs"
    point.mkdir()
    subprocess.run(["truncate", "--size", str(4 * 10**9 + 4 * size_of(place.data_dir)), image], check=True)
    subprocess.run(["/usr/sbin/mkfs.xfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        subprocess.run(["cp", "-a", place.data_dir, point / "instance"], check=True)
        yield Place(work=point, data_dir=point / "instance", programs=place.programs)
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)
        image.unlink()


def made(work: Path, size_bytes: int, programs: tuple[Path, ...], seed: int) -> Place:
    """A grown instance in `work`."""
    print(f"making an instance of {size(size_bytes)}", flush=True)
    work.mkdir(exist_ok=True)
    data_dir = grow_instance(work / "instance", size_bytes=size_bytes, seed=seed)
    return Place(work=work, data_dir=data_dir, programs=programs)


def start_up(place: Place, borgmatic: str | None, rounds: int) -> Table:
    table = begin(
        "Start-up",
        "`--help` of the package beside borgmatic's, whole processes.",
        *("ours", "borgmatic", "ratio"),
    )
    program = borgmatic or place.find("borgmatic") or installed(place, "borgmatic")
    programs = {
        "ours": Program(argv=(sys.executable, "-m", "owui_vault", "--help"), environment=place.environment(), cwd=ROOT)
    }
    if program:
        programs["borgmatic"] = Program(argv=(program, "--help"), environment=place.environment())
    runs = in_turn(programs, rounds)
    if program:
        verdict = at_most(ratio(runs["ours"], runs["borgmatic"]), HELP_TARGET)
        table.add(seconds(middle(runs["ours"])), seconds(middle(runs["borgmatic"])), verdict)
    else:
        table.add(seconds(middle(runs["ours"])), "not installed", "")
    return table


def installed(place: Place, package: str) -> str | None:
    """A program out of a virtual environment made for it; None where that is not possible."""
    home = place.work / package
    steps = ([sys.executable, "-m", "venv", str(home)], [str(home / "bin/pip"), "install", "--quiet", package])
    for argv in steps:
        if subprocess.run(argv, capture_output=True, timeout=INSTALL_SECONDS, check=False).returncode:
            return None
    return str(home / "bin" / package)


def document(arguments: argparse.Namespace, place: Place, tables: list[Table]) -> str:
    commit = said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    hidden = re.compile(r" --(work|write|data|borgmatic) \S+")  # places on this machine
    command = "python -m tests.benchmarks" + hidden.sub("", "".join(f" {each}" for each in sys.argv[1:]))
    versions = [
        said([place.find(name) or name, "--version" if name == "borg" else "version"]) for name in arguments.engines
    ]
    about = [
        f"- command: `{command}`",
        f"- commit {commit}, {datetime.now(UTC):%Y-%m-%d}",
        f"- machine: {os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}; "
        f"load of the last 15 minutes {os.getloadavg()[2]:.1f}",
        *(f"- {version.splitlines()[0]}" for version in versions if version),
    ]
    return "\n".join([INTRODUCTION, *about, "", *(table.markdown() for table in tables)])


def said(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


INTRODUCTION = """# Benchmarks

`make bench` makes an instance of the size you name (`SIZE=1GB`), measures on it and prints these tables. What is
compared is run side by side, in turn, in one run; only such ratios are held against a target (**bold**: missed),
seconds are of one machine, and a busy one stretches them. `python -m tests.benchmarks --help` names single cases,
other engines and sizes.

A snapshot costs more than the bare engine by what makes it one: the interpreter and its libraries (0.3 s), one
listing of the repository (restic derives its key anew for it, 0.5 s), the proof of the instant, SQLite's quick
check and a hash of each database, the look at every vector index, the manifest. A restore costs one listing more,
where the snapshot was not stored from this machine a look at all of its paths, and a hash of everything that came back.
Much of this is the same for any amount of data, so the ratios are better for more of it.

The command holds 60 MB at most. The helper that captures holds 25 MB and about 1 kB for each file of the instance: it
stays below 80 MB up to some 50,000 files.
"""


if __name__ == "__main__":
    main()
