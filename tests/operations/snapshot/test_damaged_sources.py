"""A ruined database among uploads is stored, as what it is: never a restore point, never nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Outcome, Repository, Secret, SnapshotMissingError, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def fill_with_noise(path: Path) -> None:
    path.write_bytes(b"noise" * 4000)


def flip_inside(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("ruin", [cut, fill_with_noise, flip_inside, empty])
def test_a_ruined_database_is_stored_as_incomplete_with_everything_else(
    tmp_path: Path, ruin: Callable[[Path], None]
) -> None:
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "to be kept")
    engine = DirectoryEngine(tmp_path / "repository", Secret("x"))
    vault = Vault(DataDirectory(data_dir), [Repository("one", engine)], state_dir=tmp_path / "state")
    vault.initialize()
    whole = vault.snapshot()
    assert whole.outcome is Outcome.COMPLETE
    ruin(data_dir / "webui.db")
    ruined = (data_dir / "webui.db").read_bytes()
    report = vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert any("webui.db" in problem for problem in report.problems)
    assert vault.restore("latest", tmp_path / "latest").snapshot.id == whole.id
    restored = vault.restore(report.id, tmp_path / "ruined")
    assert (restored.data_dir / "webui.db").read_bytes() == ruined
    assert [path.read_text() for path in (restored.data_dir / "uploads").iterdir()] == ["to be kept"]
    with pytest.raises(SnapshotMissingError):
        vault.restore("00000000", tmp_path / "nothing")
