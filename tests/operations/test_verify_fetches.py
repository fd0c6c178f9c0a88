"""Each call of an engine derives a key and asks a server anew: `verify` fetches once, unless room is short."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from owui_vault import Call, DataDirectory, NoSpaceError, Repository, Secret, Vault
from owui_vault.operations import verify
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance

TOO_LITTLE_FOR_ALL = 70 << 20  # with what is left spare, and the uploads below


class Noting(DirectoryEngine):
    """Remembers what was fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Secret("correct horse battery staple"))
        self.fetched: list[tuple[str, ...]] = []

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        self.fetched.append(tuple(paths))
        super().fetch(engine_id, target, call, paths=paths)


@pytest.fixture
def engine(tmp_path: Path) -> Noting:
    return Noting(tmp_path / "repository")


@pytest.fixture
def vault(tmp_path: Path, engine: Noting) -> Vault:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    with (tmp_path / "data" / "uploads" / "large.bin").open("wb") as upload:
        upload.truncate(16 << 20)
    vault = Vault(DataDirectory(tmp_path / "data"), [Repository("nas", engine)], state_dir=tmp_path / "state")
    vault.initialize()
    vault.snapshot()
    return vault


def test_one_fetch_brings_manifest_database_and_vectors(vault: Vault, engine: Noting) -> None:
    assert vault.verify().ok
    assert [set(paths) for paths in engine.fetched] == [{"manifest.json", "data/webui.db", "data/vector_db"}]


def test_one_fetch_brings_everything(vault: Vault, engine: Noting) -> None:
    assert vault.verify(read_data=True).ok
    assert engine.fetched == [()]


def test_where_the_whole_would_not_fit_the_manifest_tells_whether_its_part_does(
    vault: Vault, engine: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "free_bytes", lambda _: TOO_LITTLE_FOR_ALL)
    assert vault.verify().ok
    assert [set(paths) for paths in engine.fetched] == [
        {"manifest.json"},
        {"manifest.json", "data/webui.db", "data/vector_db"},
    ]


def test_where_not_even_that_fits_nothing_more_is_fetched(
    vault: Vault, engine: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "free_bytes", lambda _: TOO_LITTLE_FOR_ALL)
    monkeypatch.setattr("owui_vault.system.durable_files.free_bytes", lambda _: 10)
    with pytest.raises(NoSpaceError):
        vault.verify()
    assert engine.fetched == [("manifest.json",)]
