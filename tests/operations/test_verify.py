"""Verify finds what a restore would miss, on every engine, in words."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    Component,
    DataDirectory,
    Event,
    LedgerEntry,
    Repository,
    Snapshot,
    Vault,
    VerifyDepth,
)
from owui_vault.testing.children import mounted
from tests.operations.conftest import PASSPHRASE, MakeEngine
from tests.pages import unpack_safely

MOMENTS = Path(__file__).parents[1] / "data" / "chroma-moments.tar.xz"
Spoil = Callable[[Path, Path], object]


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def notify(self, event: Event) -> None:
        self.heard.append(event)


class Store:
    """A repository with one whole snapshot of a real instance that has a real index of 2,600 vectors."""

    def __init__(self, folder: Path, data_dir: Path, moments: Path, make_engine: MakeEngine) -> None:
        self.folder, self.moments = folder, moments
        shutil.rmtree(data_dir / "vector_db")
        shutil.copytree(moments / "b", data_dir / "vector_db")
        self.repository = folder / "repository"
        self.engine = make_engine(self.repository)
        self.listener = Listener()
        self.vault = Vault(
            DataDirectory(data_dir),
            [Repository("nas", self.engine)],
            state_dir=folder / "state",
            notifiers=[self.listener],
        )
        self.vault.initialize()
        self.whole = self.vault.snapshot()
        self.honest = folder / "honest"
        self.vault.restore("latest", self.honest, app_data_dir=self.vault.manifest("latest").application.data_dir)
        label = self.vault.snapshots()[0].label
        assert label
        self.label = label

    def spoiled(self, spoil: Spoil) -> tuple[str, ...]:
        """What verify says of the same snapshot, stored once more from a spoiled tree."""
        tree = self.folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(self.honest, tree)
        spoil(tree / "data", self.moments)
        number = self.label.sequence + 1
        self.label = replace(self.label, sequence=number, instant=self.label.instant + timedelta(seconds=1))
        (self.folder / "storing").mkdir(exist_ok=True)
        self.engine.store(tree, self.label, Call(folder=self.folder / "storing"))
        return self.vault.verify("latest").problems


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real vector store at three moments."""
    target = tmp_path_factory.mktemp("moments")
    with tarfile.open(MOMENTS) as archive:
        unpack_safely(archive, target)
    return target


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory,
    small_instance: Callable[[Path], Path],
    moments: Path,
    make_engine: MakeEngine,
) -> Store:
    folder = tmp_path_factory.mktemp("store")
    small_instance(folder / "instance")
    return Store(folder, next((folder / "instance").rglob("webui.db")).parent, moments, make_engine)


def first(folder: Path) -> Path:
    return min(path for path in folder.iterdir() if path.is_file())


def index(data: Path) -> Path:
    (pickle,) = (data / "vector_db").glob("*/index_metadata.pickle")
    return pickle.parent


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.chmod(0o600)
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_a_chat(data: Path) -> None:
    with closing(sqlite3.connect(data / "webui.db")) as connection:
        connection.execute("DELETE FROM chat WHERE id = (SELECT id FROM chat LIMIT 1)")
        connection.commit()


def take_an_older_index(data: Path, moments: Path) -> None:
    name = index(data)
    shutil.rmtree(name)
    shutil.copytree(index(moments / "a" if (moments / "a" / "vector_db").exists() else _as_data(moments, "a")), name)


def _as_data(moments: Path, moment: str) -> Path:
    """The moment as a data directory would hold it."""
    data = moments / f"data-{moment}"
    if not data.exists():
        shutil.copytree(moments / moment, data / "vector_db")
    return data


SPOILT: dict[str, tuple[Spoil, str]] = {
    "a missing upload": (lambda data, _: first(data / "uploads").unlink(), "uploads in the database are missing"),
    "a flipped byte in the database": (lambda data, _: flip(data / "webui.db"), "webui.db is not what was stored"),
    "a chat less": (lambda data, _: drop_a_chat(data), "webui.db"),
    "a flipped byte in the index": (
        lambda data, _: flip(index(data) / "data_level0.bin"),
        "data_level0.bin is not what was stored",
    ),
    "a truncated index file": (lambda data, _: cut(index(data) / "data_level0.bin"), "data_level0.bin is cut short"),
    "an index that is gone": (lambda data, _: shutil.rmtree(index(data)), "is missing"),
    "an index of an earlier moment": (take_an_older_index, "999 of 2,600 vectors are lost"),
    "no vector store": (lambda data, _: (data / "vector_db/chroma.sqlite3").unlink(), "chroma.sqlite3 is missing"),
}


@pytest.mark.doubled
def test_a_whole_one_is_right_and_written_into_the_ledger(store: Store) -> None:
    report = store.vault.verify(store.whole.id)
    assert report.ok, report.problems
    assert report.repository == "nas"
    assert next(each for each in store.vault.snapshots() if each.id == store.whole.id).verified_at is not None
    assert store.vault.verify(store.whole.id, read_data=1.0).ok
    ledger = store.vault.snapshot(dry_run=True).manifest.ledger  # type: ignore[union-attr]
    assert {(entry.snapshot, entry.ok) for entry in ledger if entry.ok} == {(store.whole.id, True)}


@pytest.mark.doubled
def test_what_was_read_and_what_not_is_told_apart_in_report_list_and_ledger(store: Store) -> None:
    def the_one() -> Snapshot:
        return next(each for each in store.vault.snapshots() if each.id == store.whole.id)

    held = {each.name: (each.files, each.size_bytes) for each in store.vault.manifest(store.whole.id).components}
    listed = store.vault.verify(store.whole.id)
    kinds = {(each.component, each.depth) for each in listed.parts}
    assert (Component.DATABASE, VerifyDepth.CONTENT) in kinds
    assert (Component.VECTORS, VerifyDepth.CONTENT) in kinds
    (uploads,) = [each for each in listed.parts if each.component is Component.UPLOADS]
    assert uploads.depth is VerifyDepth.LISTED
    assert sum(each.databases for each in listed.parts) == len(listed.full_checks) == 2
    assert all(each.is_sound for each in listed.full_checks), listed.full_checks

    read = store.vault.verify(store.whole.id, read_data=1.0)
    assert not [each for each in read.parts if each.depth is VerifyDepth.LISTED]
    for report in (listed, read):
        found = {component: [0, 0] for component in held}
        for part in report.parts:
            found[part.component][0] += part.files
            found[part.component][1] += part.size_bytes
        assert {name: tuple(sums) for name, sums in found.items() if sums[0]} == {
            name: sums for name, sums in held.items() if sums[0]
        }
    assert the_one().verified_all_at == the_one().verified_at
    depths = [each.depth for each in _ledger(store) if each.snapshot == store.whole.id and each.ok]
    assert depths[-2:] == ["", "all"]
    store.vault.verify(store.whole.id)
    again = the_one()
    assert again.verified_at
    assert again.verified_all_at
    assert again.verified_at > again.verified_all_at


def _ledger(store: Store) -> tuple[LedgerEntry, ...]:
    manifest = store.vault.snapshot(dry_run=True).manifest
    assert manifest
    return manifest.ledger


def _hashed_upload(data: Path) -> Path:
    """An upload whose SHA-256 the application recorded, after a change that keeps its size."""
    with closing(sqlite3.connect(f"file:{data / 'webui.db'}?immutable=1", uri=True)) as connection:
        rows = connection.execute("SELECT path, meta FROM file").fetchall()
    name = next(str(path).rpartition("/")[2] for path, meta in rows if "file_hash" in str(meta))
    flip(data / "uploads" / name)
    return data / "uploads" / name


@pytest.mark.doubled
def test_a_changed_upload_is_wrong_where_it_was_read_and_not_read_else(store: Store) -> None:
    assert store.spoiled(lambda data, _: _hashed_upload(data)) == ()
    deep = store.vault.verify("latest", read_data=1.0)
    assert any("not what the application received" in problem for problem in deep.problems), deep
    if store.engine.name == "directory":  # which the program does not know
        return
    status, said = owui_vault(store, "verify", "--read-data")
    assert status == 5
    status, said = owui_vault(store, "verify")
    assert status == 0
    parts = said["parts"]
    assert isinstance(parts, list)
    assert ("uploads", "listed") in {(each["component"], each["depth"]) for each in parts}


@pytest.mark.parametrize("case", list(SPOILT))
@pytest.mark.doubled
def test_what_differs_is_found_and_named(store: Store, case: str) -> None:
    spoil, words = SPOILT[case]
    problems = store.spoiled(spoil)
    assert any(words in problem for problem in problems), problems
    assert store.listener.heard[-1].kind == "failure"


def test_a_rescued_disk_can_be_listed_shown_verified_and_restored(store: Store, tmp_path: Path) -> None:
    """By a machine that has never seen it, mounted read-only; nothing of it is called wrong for that."""
    repository = Repository("nas", store.engine)
    rescuer = Vault(None, [repository], state_dir=tmp_path / "state")
    with mounted("--bind", store.repository, store.repository, "ro"):
        assert store.whole.id in {each.id for each in rescuer.snapshots()}
        assert rescuer.manifest(store.whole.id).id == store.whole.id
        for share in (0.0, 1.0):
            report = rescuer.verify(store.whole.id, read_data=share)
            assert report.ok, report.problems
            assert all(each.is_sound for each in report.full_checks)
        assert rescuer.restore(store.whole.id, tmp_path / "restored").snapshot.id == store.whole.id


class Damaged:
    """A repository that can be damaged in many ways, and is made good again in between."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder, self.good = store, folder, folder / "good"
        shutil.copytree(store.repository, self.good, symlinks=True)

    def files(self) -> dict[str, Path]:
        """Of each kind of file a repository is made of the largest; but for what the engine makes anew when it must."""
        kinds: dict[str, Path] = {}
        for path in sorted(each for each in self.good.rglob("*") if each.is_file()):
            kind = path.relative_to(self.good).parts[0]
            anew = kind.startswith(("README", "lock", "nonce", "hints.", "index.", "integrity.", "tmp"))
            if not anew and (kind not in kinds or path.stat().st_size > kinds[kind].stat().st_size):
                kinds[kind] = path
        if (self.good / "data/0").is_dir():  # borg's manifest is in the last segment that holds more than a commit
            segments = [path for path in (self.good / "data/0").iterdir() if path.stat().st_size > 17]
            kinds["manifest"] = max(segments, key=lambda path: int(path.name))
        return {kind: path.relative_to(self.good) for kind, path in kinds.items()}

    def damage(self, path: Path, how: Callable[[Path], object]) -> None:
        self.mend()
        how(self.store.repository / path)

    def mend(self) -> None:
        shutil.rmtree(self.store.repository)
        shutil.copytree(self.good, self.store.repository, symlinks=True)


@pytest.fixture
def damaged(store: Store, tmp_path: Path) -> Iterator[Damaged]:
    damaged = Damaged(store, tmp_path)
    yield damaged
    damaged.mend()


def owui_vault(store: Store, *words: str) -> tuple[int, dict[str, object]]:
    """The command on this repository, on a machine that knows nothing of it."""
    passphrase = store.folder / "passphrase"
    passphrase.touch(0o600)
    passphrase.write_text(PASSPHRASE)
    program = getattr(store.engine, "_program", None) or store.engine._access.program  # type: ignore[attr-defined]
    config = store.folder / "vault.yaml"
    config.touch(0o600)
    repository = {"engine": store.engine.name, "location": str(store.repository), "program": program}
    said = {
        "state_dir": str(store.folder / "another-state"),
        "repositories": {"nas": repository | {"passphrase": {"file": str(passphrase)}}},
    }
    config.write_text(json.dumps(said))
    shutil.rmtree(store.folder / "another-state", ignore_errors=True)
    command = [sys.executable, "-m", "owui_vault", "--config", str(config), "--json", *words]
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_a_flipped_byte_in_any_file_of_the_repository_ends_with_5(store: Store, damaged: Damaged) -> None:
    if store.engine.name == "directory":
        for path in (store.repository / "objects").iterdir():
            damaged.damage(path.relative_to(store.repository), flip)
            assert not store.vault.verify(store.whole.id, read_data=1.0).ok
        return
    for kind, path in damaged.files().items():
        damaged.damage(path, flip)
        status, said = owui_vault(store, "verify", "--read-data")
        assert status == 5, (kind, path, said)
        problems = said["problems"]
        assert isinstance(problems, list)
        assert "is damaged" in problems[0], (kind, problems)
        assert "repair" in problems[0], (kind, problems)
        assert not [each for each in problems if "retrying" in each or "index: " in each], problems


@pytest.mark.thorough  # engines read again and again before they believe it
def test_what_is_gone_from_the_repository_is_found_told_and_noted(store: Store, damaged: Damaged) -> None:
    """Without reading data: engines look whether what they need is there."""
    files = damaged.files()
    path = files.get("data") or files["objects"]
    damaged.damage(path, Path.unlink)
    store.listener.heard.clear()
    report = store.vault.verify(store.whole.id)
    assert not report.ok
    assert [event.kind for event in store.listener.heard] == ["failure"]
    assert any(word in report.problems[0] for word in ("damaged", "missing"))
    noted = json.loads((store.folder / "state/instances/open-webui/ledger.json").read_text())["entries"][-1]
    assert (noted["ok"], noted["repository"]) == (False, "nas")


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_truncated_pack_is_found(store: Store, damaged: Damaged) -> None:
    files = damaged.files()
    damaged.damage(files.get("data") or files["objects"], cut)
    report = store.vault.verify(store.whole.id, read_data=1.0)
    assert not report.ok
    assert not [each for each in report.problems if "retrying" in each]
