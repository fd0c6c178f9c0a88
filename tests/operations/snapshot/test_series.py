"""Whose series it is: neither another instance nor another repository takes its place unnoticed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    DataDirectory,
    Outcome,
    Repository,
    RepositoryMissingError,
    RetentionPolicy,
    Secret,
    Vault,
    WrongInstanceError,
)
from owui_vault.instance.data_dir import probe_instance
from owui_vault.operations.snapshot import snapshot as taking
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "precious")
    return tmp_path / "data"


def a_vault(folder: Path, state: str = "state", data_dir: Path | None = None) -> Vault:
    engine = DirectoryEngine(folder / "repository", Secret("x"))
    keep = RetentionPolicy(last=1)
    return Vault(
        DataDirectory(data_dir or folder / "data"), [Repository("nas", engine, keep)], state_dir=folder / state
    )


def begin_anew(data_dir: Path) -> None:
    """The volume is lost and Open WebUI was started on an empty one."""
    shutil.rmtree(data_dir)
    make_small_instance(data_dir)
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute("DELETE FROM user")
        connection.commit()


def test_an_instance_that_lost_its_users_does_not_become_the_newest(tmp_path: Path, data_dir: Path) -> None:
    vault = a_vault(tmp_path)
    vault.initialize()
    good = vault.snapshot()
    begin_anew(data_dir)
    for refused in (vault.snapshot, vault.plan_prune):
        with pytest.raises(WrongInstanceError, match="has none") as caught:
            refused()
        assert "mounted" in caught.value.hint
    assert [each.id for each in vault.snapshots()] == [good.id]
    assert vault.restore("latest", tmp_path / "copy").snapshot.id == good.id


def test_what_is_captured_is_asked_as_well(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be read while it is busy is read once it has been captured."""
    vault = a_vault(tmp_path)
    vault.initialize()
    vault.snapshot()
    begin_anew(data_dir)
    seen = probe_instance
    monkeypatch.setattr(taking, "probe_instance", lambda path: _without_facts(seen(path)))
    with pytest.raises(WrongInstanceError, match="has none"):
        vault.snapshot()
    assert len(vault.snapshots()) == 1


def _without_facts(probe: object) -> object:
    return replace(probe, facts=None)  # type: ignore[type-var]


def test_a_series_may_begin_before_the_first_user(tmp_path: Path, data_dir: Path) -> None:
    begin_anew(data_dir)
    vault = a_vault(tmp_path)
    vault.initialize()
    for _ in range(2):
        assert vault.snapshot().outcome is Outcome.COMPLETE
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute("INSERT INTO user VALUES ('u1', 1)")
        connection.commit()
    assert vault.snapshot().outcome is Outcome.COMPLETE


def test_a_ruined_database_is_stored_as_incomplete(tmp_path: Path, data_dir: Path) -> None:
    """What is left of an instance is worth storing, and never takes the place of a complete snapshot."""
    vault = a_vault(tmp_path)
    vault.initialize()
    good = vault.snapshot()
    (data_dir / "webui.db").write_bytes(b"not a database" * 1000)
    assert vault.snapshot().outcome is Outcome.INCOMPLETE
    assert vault.restore("latest", tmp_path / "copy").snapshot.id == good.id


def test_an_empty_repository_in_the_place_of_an_empty_one_is_another(tmp_path: Path, data_dir: Path) -> None:
    """Nothing has been stored yet, so that only the repository's id tells them apart."""
    vault = a_vault(tmp_path)
    vault.initialize()
    shutil.rmtree(tmp_path / "repository")
    a_vault(tmp_path, "somebody-elses").initialize()
    for refused in (vault.snapshot, vault.snapshots, vault.plan_prune):
        with pytest.raises(RepositoryMissingError, match="another repository") as caught:
            refused()
        assert caught.value.exit_code == 10
    vault.initialize(again=True)
    assert vault.snapshot().outcome is Outcome.COMPLETE


def test_every_engine_tells_how_large_a_snapshot_is(tmp_path: Path, data_dir: Path) -> None:
    """Few programs say so themselves; the label does."""
    vault = a_vault(tmp_path)
    vault.initialize()
    vault.snapshot()
    (listed,) = vault.snapshots()
    assert listed.size_bytes == sum(each.size_bytes for each in vault.manifest(listed).components)
    assert listed.size_bytes > (data_dir / "webui.db").stat().st_size


def test_a_mark_by_hand_that_prune_does_not_spare_is_told(tmp_path: Path, data_dir: Path) -> None:
    """Not where nothing is pruned, not of a plan's own tags, and with both ways to keep it."""
    engines = {name: DirectoryEngine(tmp_path / name, Secret("x")) for name in ("pruned", "marked", "kept")}
    policies = {"pruned": RetentionPolicy(last=1), "marked": RetentionPolicy(last=1, tags=("upgrade",))}
    repositories = [Repository(name, engine, policies.get(name, RetentionPolicy())) for name, engine in engines.items()]
    vault = Vault(DataDirectory(data_dir), repositories, state_dir=tmp_path / "state")
    vault.initialize()
    told = [each for each in vault.snapshot(tags=["upgrade"]).warnings if "spare" in each]
    assert len(told) == 1
    assert "'upgrade' (pruned)" in told[0]
    assert "keep.tags" in told[0]
    assert "owui-vault pin" in told[0]
    assert not any("spare" in each for each in vault.snapshot(to=["marked", "kept"], tags=["upgrade"]).warnings)
