"""Of a damaged repository everything comes back that is there, and what is not is named, on every engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    Component,
    DataDirectory,
    Engine,
    Repository,
    RepositoryDamagedError,
    RepositoryUnreachableError,
    Secret,
    Vault,
)
from owui_vault.operations.restore.target import MARKER
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.operations.conftest import MakeEngine
from tests.operations.house import QUICK, FakeApplication

LARGE = 12_000_000  # more than all the rest, so that the middle of what is stored is in it


@pytest.fixture
def engine(make_engine: MakeEngine, tmp_path: Path) -> Engine:
    return make_engine(tmp_path / "repository")


def damage(repository: Path, *, files: int = 1) -> None:
    """Flip a byte in the middle of the largest file, or of each of the largest, which are in the large uploads."""
    paths = sorted((each for each in repository.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    for path in paths[-files:]:
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0xFF]))


def test_one_damaged_upload_is_named_and_all_else_is_there(engine: Engine, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "small")
    for name in ("a.bin", "z.bin"):
        (data_dir / "uploads" / name).write_bytes(b"beside it")
    large = data_dir / "uploads" / "large.bin"
    large.write_bytes(os.urandom(LARGE))
    vault = Vault(DataDirectory(data_dir), [Repository("nas", engine)], state_dir=tmp_path / "state")
    vault.initialize()
    vault.snapshot()
    damage(tmp_path / "repository")
    with pytest.raises(RepositoryDamagedError) as caught:
        vault.restore("latest", tmp_path / "target")
    assert caught.value.paths == ("data/uploads/large.bin",)
    assert "1 of " in caught.value.message
    assert "large.bin" in (tmp_path / "target" / MARKER).read_text()
    there = {path.name: path.read_bytes() for path in (data_dir / "uploads").iterdir() if path != large}
    came = {path.name: path.read_bytes() for path in (tmp_path / "target/data/uploads").iterdir()}
    assert {name: came.get(name) for name in there} == there
    assert (tmp_path / "target/data/webui.db").read_bytes()
    assert (tmp_path / "target/manifest.json").is_file()


def a_vault(tmp_path: Path, engine: Engine, *large: str) -> Vault:
    """With these uploads, each in a snapshot of its own first, so that engines keep them in files of their own."""
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "small")
    vault = Vault(
        DataDirectory(data_dir),
        [Repository("nas", engine)],
        quiescer=FakeQuiescer(tmp_path),
        application=FakeApplication(),
        state_dir=tmp_path / "state",
        limits=QUICK,
    )
    vault.initialize()
    for name in large:
        (data_dir / "uploads" / name).write_bytes(os.urandom(LARGE))
        vault.snapshot()
    (data_dir / "uploads" / "small.bin").write_bytes(b"beside them")
    vault.snapshot()
    return vault


@pytest.mark.doubled
def test_of_some_components_every_damaged_file_is_named_and_all_else_is_there(engine: Engine, tmp_path: Path) -> None:
    vault = a_vault(tmp_path, engine, "one.bin", "two.bin")
    damage(tmp_path / "repository", files=2)
    with pytest.raises(RepositoryDamagedError) as caught:
        vault.restore("latest", tmp_path / "target", components=[Component.UPLOADS])
    assert sorted(caught.value.paths) == ["data/uploads/one.bin", "data/uploads/two.bin"]
    assert "All other files came back" in caught.value.message
    assert (tmp_path / "target/data/uploads/small.bin").read_bytes() == b"beside them"
    assert not (tmp_path / "target/data/webui.db").exists()
    assert (tmp_path / "target" / MARKER).is_file()
    untouched = vault.restore("latest", tmp_path / "other", components=[Component.DATABASE])
    assert (untouched.data_dir / "webui.db").is_file()


@pytest.mark.doubled
def test_in_place_every_damaged_file_is_named_and_nothing_is_exchanged(engine: Engine, tmp_path: Path) -> None:
    vault = a_vault(tmp_path, engine, "one.bin", "two.bin")
    damage(tmp_path / "repository", files=2)
    use_small_instance(tmp_path / "data", "later")
    before = {path: path.lstat().st_ino for path in (tmp_path / "data").rglob("*") if ".owui-vault" not in path.parts}
    with pytest.raises(RepositoryDamagedError) as caught:
        vault.replace(vault.plan_replacement("latest"))
    assert sorted(caught.value.paths) == ["data/uploads/one.bin", "data/uploads/two.bin"]
    assert "Nothing was changed" in caught.value.message
    after = {path: path.lstat().st_ino for path in (tmp_path / "data").rglob("*") if ".owui-vault" not in path.parts}
    assert after == before
    assert not list((tmp_path / "data").glob(".owui-vault/incoming"))


def two_copies(tmp_path: Path, engine: Engine, other: Engine) -> Vault:
    """One snapshot, with a large upload, in both repositories."""
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "small")
    (data_dir / "uploads" / "large.bin").write_bytes(os.urandom(LARGE))
    vault = Vault(
        DataDirectory(data_dir),
        [Repository("nas", engine), Repository("far", other)],
        quiescer=FakeQuiescer(tmp_path),
        application=FakeApplication(),
        state_dir=tmp_path / "state",
        limits=QUICK,
    )
    vault.initialize()
    vault.snapshot()
    return vault


@pytest.mark.doubled
def test_what_one_repository_has_lost_comes_from_the_next(engine: Engine, tmp_path: Path) -> None:
    far = DirectoryEngine(tmp_path / "far", Secret("x"))
    fetched: list[tuple[str, ...]] = []
    vault = two_copies(tmp_path, engine, Watched(far, fetched))
    damage(tmp_path / "repository")
    report = vault.restore("latest", tmp_path / "target")
    assert fetched == [("data/uploads/large.bin",)]
    assert any(
        "data/uploads/large.bin came from 'far', since 'nas' failed: 1 of " in text for text in report.warnings
    ), report.warnings
    for path in (tmp_path / "data" / "uploads").iterdir():
        assert (report.data_dir / "uploads" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(RepositoryDamagedError):
        vault.restore("latest", tmp_path / "named", repository="nas")


def test_in_place_too(tmp_path: Path) -> None:
    near, far = (DirectoryEngine(tmp_path / name, Secret("x")) for name in ("repository", "far"))
    vault = two_copies(tmp_path, near, far)
    before = uploads_of(tmp_path / "data")
    damage(tmp_path / "repository")
    use_small_instance(tmp_path / "data", "later")
    report = vault.replace(vault.plan_replacement("latest"))
    assert any("came from 'far'" in text for text in report.warnings)
    assert uploads_of(tmp_path / "data") == before


def test_all_comes_from_the_next_where_the_first_falls_silent(tmp_path: Path) -> None:
    def silent(call: str, moment: str) -> None:
        if (call, moment) == ("fetch", "before"):
            raise RepositoryUnreachableError("no answer")

    near = FaultyEngine(DirectoryEngine(tmp_path / "repository", Secret("x")), silent)
    fetched: list[tuple[str, ...]] = []
    vault = two_copies(tmp_path, near, Watched(DirectoryEngine(tmp_path / "far", Secret("x")), fetched))
    report = vault.restore("latest", tmp_path / "target")
    assert fetched == [()]
    assert "everything came from 'far', since 'nas' failed: no answer" in report.warnings


def test_where_no_other_repository_helps_the_first_error_stands(tmp_path: Path) -> None:
    near, far = (DirectoryEngine(tmp_path / name, Secret("x")) for name in ("repository", "far"))
    vault = two_copies(tmp_path, near, far)
    for name in ("repository", "far"):
        damage(tmp_path / name)
    with pytest.raises(RepositoryDamagedError) as caught:
        vault.restore("latest", tmp_path / "target")
    assert caught.value.paths == ("data/uploads/large.bin",)
    assert "large.bin" in (tmp_path / "target" / MARKER).read_text()


class Watched(FaultyEngine):
    """Notes which paths were fetched."""

    def __init__(self, engine: Engine, fetched: list[tuple[str, ...]]) -> None:
        super().__init__(engine)
        self._fetched = fetched

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        self._fetched.append(tuple(paths))
        super().fetch(engine_id, target, call, paths=paths)


def uploads_of(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (data_dir / "uploads").iterdir()}
