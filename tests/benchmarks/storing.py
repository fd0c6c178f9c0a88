"""Our path beside the bare engine: snapshot, restore, bytes added, memory."""

from __future__ import annotations

import json
import os
import random
import tarfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.data import Day, live_a_day
from tests.benchmarks.measure import Program, Run, in_turn, middle, peaks, ratio, timed
from tests.benchmarks.tables import Table, at_most, begin, seconds, size
from tests.benchmarks.ways import ROOT, Bare, Ours, Place, rsync, size_of, tar

TARGETS = {"first": 1.15, "next": 1.2, "unchanged": 1.6, "restore": 1.1}
COMMAND_TARGETS = {"snapshots": 1.5, "verify": 3.5}
MEMORY_TARGET_BYTES = 80_000_000


def against_the_engine(place: Place, engines: tuple[str, ...], rounds: int, chance: random.Random) -> list[Table]:
    """Snapshot and restore of both, one after the other, and what a day adds."""
    table = begin(
        "Snapshot and restore beside the bare engine",
        "Whole processes, start-up included; median of the rounds, ratios taken pair by pair. *Bare* is a script "
        "that copies the databases by SQLite's backup, hard-links the uploads and runs the engine on that tree: it "
        "proves and checks nothing. *next* is after a day of use, *unchanged* after nothing at all.",
        *("engine", "what", "ours", "bare", "wall ratio", "ours CPU", "bare CPU", "CPU ratio"),
    )
    added = begin(
        "What a day adds",
        "A day rewrites 1 % of the chats and adds 0.7 % chats, 1 % messages and 1 % uploads. *Given* is what the "
        "application was given, *on disk* the changed database pages and new files, *added* what the repository "
        "grew by.",
        *("engine", "given", "on disk", "ours added", "bare added", "added / given", "added / on disk"),
    )
    for engine in engines:
        pair = Pair(place, engine, chance)
        for _ in range(rounds):
            pair.round()
        for what, target in TARGETS.items():
            table.add(engine, what, *_compared(pair.runs[what], target))
        _add_growth(added, engine, pair)
    return [table, added]


def _compared(runs: Mapping[str, list[Run]], target: float) -> tuple[str, ...]:
    ours, bare = runs["ours"], runs["bare"]
    return (
        seconds(middle(ours)),
        seconds(middle(bare)),
        at_most(ratio(ours, bare), target),
        seconds(middle(ours, "cpu")),
        seconds(middle(bare, "cpu")),
        f"{ratio(ours, bare, 'cpu'):.2f}",
    )


class Pair:
    """Two repositories of one engine that live through the same days."""

    def __init__(self, place: Place, engine: str, chance: random.Random) -> None:
        self.place = place
        self.chance = chance
        self.ours, self.bare = Ours(place=place, engine=engine), Bare(place=place, engine=engine)
        self.runs: dict[str, dict[str, list[Run]]] = defaultdict(lambda: {"ours": [], "bare": []})
        self.days: list[Day] = []
        self.growth: dict[str, list[int]] = {"ours": [], "bare": []}

    def round(self) -> None:
        self.ours.renew()
        self.bare.renew()
        self._both("first", self.ours.snapshot, self.bare.snapshot)
        self.days.append(live_a_day(self.place.data_dir, self.chance))
        before = {"ours": size_of(self.ours.repository), "bare": size_of(self.bare.repository)}
        self._both("next", self.ours.snapshot, self.bare.snapshot)
        for name, way in (("ours", self.ours), ("bare", self.bare)):
            self.growth[name].append(size_of(way.repository) - before[name])
        self._both("unchanged", self.ours.snapshot, self.bare.snapshot)
        target = self.place.work / "restored"
        self._both("restore", lambda: self.ours.restore(target), lambda: self.bare.restore(target))

    def _both(self, what: str, ours: Callable[[], Program], bare: Callable[[], Program]) -> None:
        """One after the other, the order changing from time to time; written data are settled before each."""
        order = [("ours", ours), ("bare", bare)]
        if len(self.runs[what]["ours"]) % 2:
            order.reverse()
        for name, make in order:
            program = make()
            os.sync()
            run = timed(program)
            if name == "ours":
                require_complete(run.output)
            self.runs[what][name].append(run)


def require_complete(output: str) -> None:
    """A fast snapshot that is not one would be no measurement."""
    text = output[output.index("{") : output.rindex("}") + 1]
    if json.loads(text).get("outcome", "complete") != "complete":
        raise RuntimeError(f"not a complete snapshot: {text[-2000:]}")


def _add_growth(table: Table, engine: str, pair: Pair) -> None:
    rounds = len(pair.days)
    given = sum(day.given_bytes for day in pair.days) / rounds
    disk = sum(day.disk_bytes for day in pair.days) / rounds
    ours, bare = (sum(pair.growth[name]) / rounds for name in ("ours", "bare"))
    table.add(engine, size(given), size(disk), size(ours), size(bare), f"{ours / given:.2f}", f"{ours / disk:.2f}")


def memory(place: Place, engines: tuple[str, ...]) -> Table:
    table = begin(
        "Peak memory",
        "Highest resident memory of one process: the command itself, the helpers it starts (capture, guardian), and "
        "the engine, which is not ours.",
        *("engine", "what", "uploads", "command", "helpers", "engine's own", "target"),
    )
    count = f"{sum(1 for _ in (place.data_dir / 'uploads').iterdir()):,}"
    for engine in engines:
        ours = Ours(place=place, engine=engine)
        ours.renew()
        for what, program in {
            "snapshot": ours.snapshot(),
            "snapshot, unchanged": ours.snapshot(),
            "restore": ours.restore(place.work / "restored"),
            "verify": ours.run("--json", "verify"),
        }.items():
            # Without a proof the same work was done; this table is about memory.
            found = peaks(replace(program, accepted=(0, 3)))
            own = max(found["ours"], found["helpers"])
            verdict = "≤ 80 MB" if own <= MEMORY_TARGET_BYTES else "**> 80 MB**"
            table.add(engine, what, count, *(size(found[name]) for name in ("ours", "helpers", "engine")), verdict)
    return table


def commands(work: Path, programs: tuple[Path, ...], engines: tuple[str, ...], rounds: int) -> Table:
    """What is typed often, on an instance so small that starting is most of it."""
    table = begin(
        "Commands on a small instance",
        "Whole processes on the instance of `make demo`, beside what the engine takes to list, and to check its "
        "repository. `verify` does that check, and fetches, lists, compares and has SQLite check what comes back. "
        "Starting is most of it: half a second of ours (pydantic, typer, rich, a hundred modules), and each start of "
        "the engine, which derives its key anew: one for `snapshots`, four (restic) or five (borg) for `verify`.",
        *("engine", "what", "ours", "bare", "wall ratio", "ours CPU", "bare CPU", "CPU ratio"),
    )
    with tarfile.open(ROOT / "examples" / "data" / "instance-small.tar.gz") as archive:
        archive.extractall(work / "small", filter="data")
    place = Place(work=work, data_dir=work / "small" / "data", programs=programs)
    for engine in engines:
        ours, bare = Ours(place=place, engine=engine), Bare(place=place, engine=engine)
        for way in (ours, bare):
            way.renew()
            timed(way.snapshot())
        pairs = {
            "snapshots": (ours.run("snapshots"), bare.ask("list" if engine == "borg" else "snapshots")),
            "verify": (ours.run("verify"), bare.ask("check")),
        }
        for what, (mine, theirs) in pairs.items():
            runs = in_turn({"ours": mine, "bare": theirs}, rounds)
            table.add(engine, what, *_compared(runs, COMMAND_TARGETS[what]))
    return table


def tutorials(place: Place, rounds: int, chance: random.Random) -> Table:
    table = begin(
        "For scale: what tutorials do",
        "Copies of the directory as it lies: not consistent while the application runs, and not encrypted. *Takes* "
        "is disk space for each snapshot.",
        *("way", "first", "next", "first takes", "next takes"),
    )
    for name in ("rsync --link-dest", "tar -cz"):
        if place.find(name.split()[0]) is None:
            table.add(name, "not installed", "", "", "")
            continue
        walls: list[float] = []
        sizes: list[int] = []
        for generation in range(1 + rounds):
            program = rsync(place, generation) if name.startswith("rsync") else tar(place)
            os.sync()
            walls.append(timed(program).wall)
            sizes.append(_taken(place, name))
            live_a_day(place.data_dir, chance)
        grown = (sizes[-1] - sizes[0]) / rounds if name.startswith("rsync") else sizes[-1]
        middle_wall = sorted(walls[1:])[len(walls[1:]) // 2]
        table.add(name, seconds(walls[0]), seconds(middle_wall), size(sizes[0]), size(grown))
    return table


def _taken(place: Place, name: str) -> int:
    return (
        size_of(place.work / "rsync") if name.startswith("rsync") else Path(place.work / "backup.tar.gz").stat().st_size
    )
