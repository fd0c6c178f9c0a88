"""One instant in several places beside one place, and `replicate` beside what it takes by hand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.measure import Program, Run, in_turn, middle, peaks, ratio, timed
from tests.benchmarks.storing import MEMORY_TARGET_BYTES, require_complete
from tests.benchmarks.tables import Table, at_most, begin, seconds, size
from tests.benchmarks.ways import PASSPHRASE, Ours, Place
from tests.engines.restic.test_servers import PASSWORD, USER, rest

LINE = "8 MiB"  # each place's own, per second: the network is the brake, and not this machine's processors
TWO_TARGET, MORE_TARGET, REPLICATE_TARGET = 1.2, 1.1, 1.1
PLACES = ("first", "second", "third")


def destinations(place: Place, rest_server: Path, rounds: int) -> Table:
    """One, two and three servers at the end of a line of so many bytes per second each."""
    table = begin(
        "Several destinations beside one",
        f"A first snapshot of the same data to REST servers on this machine, restic's upload limited to {LINE} per "
        "second for each; two are stored to at a time (`limits.parallel`). Two are held against the slower of the two "
        "alone, three against half the sum of the three alone.",
        *("to", "takes", "held against", "ratio"),
    )
    alone: dict[str, list[Run]] = {name: [] for name in PLACES}
    together: dict[int, list[Run]] = {2: [], 3: []}
    for _ in range(rounds):
        for names in (*((each,) for each in PLACES), PLACES[:2], PLACES):
            run = _first_snapshot(place, rest_server, names)
            (alone[names[0]] if len(names) == 1 else together[len(names)]).append(run)
    for name in PLACES:
        table.add(name, seconds(middle(alone[name])), "", "")
    slower = max(middle(alone[name]) for name in PLACES[:2])
    half = sum(middle(alone[name]) for name in PLACES) / 2
    for count, against, target in ((2, slower, TWO_TARGET), (3, half, MORE_TARGET)):
        took = middle(together[count])
        table.add(f"{count} of them", seconds(took), seconds(against), at_most(took / against, target))
    return table


def _first_snapshot(place: Place, rest_server: Path, names: Sequence[str]) -> Run:
    """To new repositories on servers of their own."""
    ours = Ours(place=place, engine="restic", name="destinations")
    shutil.rmtree(ours.folder, ignore_errors=True)
    ours.folder.mkdir(parents=True)
    with ExitStack() as stack:
        written = []
        for name in names:
            (ours.folder / name).mkdir()
            served = stack.enter_context(rest(ours.folder / name, rest_server))
            written.append(
                f"  {name}: {{engine: restic, location: '{served.location}', passphrase: {{file: pass}}, upload_limit:"
                f" {LINE}, environment: {{RESTIC_REST_USERNAME: {USER}, RESTIC_REST_PASSWORD: '{PASSWORD}'}}}}\n"
            )
        _configure(ours, "".join(written))
        timed(ours.run("init"))
        run = timed(ours.snapshot())
    require_complete(run.output)
    return run


def _configure(ours: Ours, repositories: str) -> None:
    (ours.folder / "pass").write_text(PASSPHRASE)
    (ours.folder / "vault.yaml").write_text(
        f"state_dir: state\ninstance: {{data_dir: {ours.place.data_dir}}}\nrepositories:\n{repositories}"
    )
    for name in ("pass", "vault.yaml"):
        (ours.folder / name).chmod(0o600)


def replicating(place: Place, rounds: int) -> Table:
    """The newest snapshot to an empty repository: by the engine itself, and through this machine."""
    table = begin(
        "Replicating beside doing it by hand",
        "One snapshot to an empty repository. *By hand* is `restic copy`, or from restic to borg a restore, and "
        "`borg create` with our options on what came back: it compares nothing. *Memory* is the highest of our own "
        "processes.",
        *("from, to", "ours", "by hand", "ratio", "memory", "target"),
    )
    for to in ("restic", "borg"):
        ours = Ours(place=place, engine="restic", name=f"replicate-{to}")
        shutil.rmtree(ours.folder, ignore_errors=True)
        ours.folder.mkdir(parents=True)
        near = "  near: {engine: restic, location: near, passphrase: {file: pass}}\n"
        _configure(ours, f"{near}  far: {{engine: {to}, location: far, passphrase: {{file: pass}}}}\n")
        timed(ours.run("init"))
        require_complete(timed(ours.run("--json", "snapshot", "--to", "near")).output)
        kept = ours.folder.with_name(f"{ours.folder.name}-empty")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(ours.folder, kept, symlinks=True)
        mine = _on_a_copy(ours.run("replicate", "--from", "near", "--to", "far"), ours, kept)
        runs = in_turn({"ours": mine, "by hand": _by_hand(ours, kept, to)}, rounds)
        held = max(peaks(mine)[kind] for kind in ("ours", "helpers"))
        verdict = at_most(ratio(runs["ours"], runs["by hand"]), REPLICATE_TARGET)
        memory = "≤ 80 MB" if held <= MEMORY_TARGET_BYTES else "**> 80 MB**"
        took = (seconds(middle(runs[name])) for name in ("ours", "by hand"))
        table.add(f"restic, {to}", *took, verdict, size(held), memory)
    return table


def _on_a_copy(program: Program, ours: Ours, kept: Path) -> Program:
    """Begin each time with the repositories and the state as they were before."""

    def prepare() -> None:
        shutil.rmtree(ours.folder)
        shutil.copytree(kept, ours.folder, symlinks=True)

    return replace(program, prepare=prepare)


def _by_hand(ours: Ours, kept: Path, to: str) -> Program:
    environment = ours.place.environment(
        RESTIC_PASSWORD=PASSPHRASE,
        RESTIC_FROM_PASSWORD=PASSPHRASE,
        RESTIC_CACHE_DIR=str(ours.folder / "cache"),
        BORG_PASSPHRASE=PASSPHRASE,
        BORG_BASE_DIR=str(ours.folder / "base"),
        BORG_RELOCATED_REPO_ACCESS_IS_OK="yes",
    )
    near, far, target = ours.folder / "near", ours.folder / "far", ours.folder / "by-hand"
    options = "--chunker-params fixed,65536 --files-cache mtime,size --compression zstd,3"
    script = {
        "restic": f"restic -r {far} copy --from-repo {near} latest",
        "borg": f"restic -r {near} restore latest --target {target}; cd {target}; borg create {options} {far}::all .",
    }[to]
    return _on_a_copy(Program(argv=("sh", "-euc", script), environment=environment), ours, kept)
