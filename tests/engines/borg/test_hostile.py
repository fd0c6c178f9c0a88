"""Archives and names that somebody made to do harm."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault.engines.borg.program import Borg, Finished, Request
from owui_vault.errors import RepositoryDamagedError, SnapshotMissingError
from owui_vault.testing.trees import look
from tests.engines.borg.conftest import BorgBench

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

Member = tuple[str, bytes, bytes | str]  # name, type, content or link


def forge(bench: BorgBench, members: Sequence[Member], name: str) -> None:
    """Make an archive with just these members, in this order."""
    path = bench.folder / "forged.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, kind, content in members:
            info = tarfile.TarInfo(member)
            info.type, info.mode, info.mtime = kind, 0o777, 1_000_000_000
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                tar.addfile(info)
    bench.bare("import-tar", f"::{name}", str(path))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "directory").mkdir(parents=True)
    (folder / "file").write_bytes(b"mine")
    (folder / "file").chmod(0o604)
    (folder / "directory").chmod(0o705)
    return folder


FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

OUTWARD: dict[str, list[Member]] = {
    "a file behind a link": [("way", LINK, "{outside}"), ("way/file", FILE, b"theirs")],
    "a file before the link": [("way/file", FILE, b"theirs"), ("way", LINK, "{outside}")],
    "a folder that becomes a link": [("way", FOLDER, b""), ("way", LINK, "{outside}/directory")],
    "a link that becomes a folder": [("way", LINK, "{outside}/directory"), ("way", FOLDER, b"")],
    "deep behind a link": [("a/way", LINK, "{outside}"), ("a/way/directory/new", FILE, b"theirs")],
    "two links in a row": [("a", LINK, "{outside}"), ("b", LINK, "a"), ("b/file", FILE, b"theirs")],
    "up and out": [("a/../../outside/file", FILE, b"theirs")],
    "up by the first step": [("../outside/file", FILE, b"theirs")],
    "a hard link to what lies outside": [("here", HARD, "../outside/file"), ("here", FILE, b"theirs")],
}


def resolved(case: str, outside: Path) -> list[Member]:
    return [
        (name, kind, text.replace("{outside}", str(outside)) if isinstance(text, str) else text)
        for name, kind, text in OUTWARD[case]
    ]


@pytest.mark.doubled
def test_nothing_outside_the_target_is_written(bench: BorgBench, outside: Path) -> None:
    """What leads out is refused before anything is written; borg alone would write through the links."""
    for case in OUTWARD:
        forge(bench, resolved(case, outside), case)
    snapshots = {each.name: each for each in bench.engine.snapshots(bench.call())}
    assert set(snapshots) == set(OUTWARD)
    before, facts = look(outside), outside.stat()
    refused = set()
    for number, (case, snapshot) in enumerate(2 * list(snapshots.items())):
        target = bench.folder / f"target {number}"
        target.mkdir()
        if number >= len(snapshots):  # that it can be listed is no trust
            assert list(bench.engine.contents(snapshot.engine_id, bench.call()))
        with suppress(RepositoryDamagedError):
            bench.engine.fetch(snapshot.engine_id, target, bench.call())
        if not list(target.iterdir()):
            refused.add((case, number >= len(snapshots)))
        assert look(outside) == before, case
        assert outside.stat()[:9] == facts[:9], case
    certain = ("a file behind a link", "a file before the link", "a folder that becomes a link", "two links in a row")
    assert refused >= {(case, listed) for case in certain for listed in (False, True)}


@pytest.mark.doubled
def test_a_link_that_lies_in_the_target_is_not_followed(bench: BorgBench, outside: Path) -> None:
    stored = bench.store().snapshot
    before = look(outside)
    for name in ("target", "target once its paths are known"):
        target = bench.folder / name
        target.mkdir()
        (target / "data").symlink_to(outside)
        bench.engine.fetch(stored.engine_id, target, bench.call())
        assert look(outside) == before
        assert not (target / "data").is_symlink()
        assert (target / "data/webui.db").read_bytes() == (bench.tree / "data/webui.db").read_bytes()


@pytest.mark.root
@pytest.mark.doubled
def test_devices_and_pipes_are_not_made(bench: BorgBench) -> None:
    members: list[Member] = [("null", tarfile.CHRTYPE, ""), ("pipe", tarfile.FIFOTYPE, ""), ("file", FILE, b"file")]
    forge(bench, members, "forged")
    (snapshot,) = bench.engine.snapshots(bench.call())
    for name in ("target", "target once its paths are known"):
        target = bench.folder / name
        target.mkdir()
        bench.engine.fetch(snapshot.engine_id, target, bench.call())
        assert [path.name for path in target.iterdir()] == ["file"]
    assert {entry.path: entry.kind for entry in bench.engine.contents(snapshot.engine_id, bench.call())} == {
        "null": "other",
        "pipe": "other",
        "file": "file",
    }


@pytest.mark.doubled
def test_paths_that_climb_are_never_there(bench: BorgBench) -> None:
    stored = bench.store().snapshot
    assert list(bench.fetch(stored, "../stage/manifest.json", "data/../../x", "/", "..").iterdir()) == []


@pytest.mark.doubled
def test_the_id_before_a_relabelling_is_no_snapshot_any_more(bench: BorgBench) -> None:
    """The archive has the same name still, which this engine remembers."""
    before = bench.store().snapshot
    assert before.label is not None
    after = bench.engine.relabel(before.engine_id, replace(before.label, tags=("pinned",)), bench.call())
    assert (after.name, after.engine_id != before.engine_id) == (before.name, True)
    with pytest.raises(SnapshotMissingError):
        list(bench.engine.contents(before.engine_id, bench.call()))
    with pytest.raises(SnapshotMissingError):
        bench.fetch(before)


@pytest.mark.doubled
def test_an_archive_is_looked_up_and_listed_once(bench: BorgBench, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = bench.store().snapshot
    (found,) = bench.engine.snapshots(bench.call())
    asked: list[str] = []
    once = Borg._once

    def noting(borg: Borg, request: Request, *flags: str) -> Finished:
        asked.append(request.arguments[0])
        return once(borg, request, *flags)

    monkeypatch.setattr(Borg, "_once", noting)
    assert list(bench.engine.contents(found.engine_id, bench.call()))
    bench.fetch(stored, "manifest.json")
    bench.fetch(stored)
    assert asked == ["list", "extract", "extract"]


@pytest.mark.doubled
def test_many_paths_are_fetched_in_portions(bench: BorgBench) -> None:
    bench.build()
    names = [f"data/many/{'x' * 200}-{number:04d}" for number in range(1500)]
    (bench.tree / "data/many").mkdir()
    for name in names:
        (bench.tree / name).touch()
    target = bench.fetch(bench.store().snapshot, *names)
    assert len(list((target / "data/many").iterdir())) == 1500


NAMES = ["{now}", "-dash", "a b", "{{x}}", "re:x", "quote'\"", "comma,", "ünïcode☃", "sh:*"]


def test_any_name_of_a_foreign_archive_can_be_handled(bench: BorgBench) -> None:
    """Such an archive is read and removed, and no other one is."""
    ours = bench.store().snapshot
    for name in NAMES:
        escaped = name.replace("{", "{{").replace("}", "}}")
        bench.bare("create", f"::{escaped}", ".", cwd=bench.tree)
    foreign = {each.name: each for each in bench.engine.snapshots(bench.call()) if each.label is None}
    assert set(foreign) == set(NAMES)
    for name in ("{now}", "-dash", "{{x}}", "ünïcode☃"):
        assert (bench.fetch(foreign[name], "manifest.json") / "manifest.json").exists()
    names = sorted(NAMES, key=lambda name: name.startswith("-"))  # the dash not first, where borg has no `::` before it
    bench.engine.remove([foreign[name].engine_id for name in names], bench.call())
    assert set(bench.listed()) == {ours.id}


@pytest.mark.doubled
def test_two_snapshots_of_one_second_are_two(bench: BorgBench) -> None:
    moment = bench.store(1).snapshot.instant
    bench.store(2, instant=moment)
    listed = bench.engine.snapshots(bench.call())
    assert [each.instant for each in listed] == [moment, moment]
    assert [each.engine_id for each in listed] == sorted(each.engine_id for each in listed)


@pytest.mark.doubled
def test_removing_never_means_the_repository(bench: BorgBench) -> None:
    """`borg delete` without a name deletes the whole repository."""
    stored = bench.store().snapshot
    with pytest.raises(SnapshotMissingError):
        bench.engine.remove(["", stored.engine_id], bench.call())
    bench.engine.remove([stored.engine_id], bench.call())
    bench.engine.remove([], bench.call())
    assert bench.engine.snapshots(bench.call()) == ()
    assert bench.engine.inspect(bench.call()).id


def test_modules_in_the_tree_are_not_imported(bench: BorgBench) -> None:
    """borg runs in the tree, and Python likes to look for modules where it runs."""
    bench.build()
    for name in ("borg.py", "json.py", "os.py", "signal.py", "encodings.py"):
        (bench.tree / name).write_text("import os; os.mkdir('harmed')")
    bench.store()
    assert not (bench.tree / "harmed").exists()
    assert os.listdir(bench.fetch(next(iter(bench.engine.snapshots(bench.call()))), "borg.py")) == ["borg.py"]
