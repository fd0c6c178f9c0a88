"""A database of SQLCipher's, which Open WebUI could use up to 0.8: stored as it is, and never called damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Outcome, Repository, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance

SETTINGS = {
    "by type": "DATABASE_TYPE=sqlite+sqlcipher\nDATABASE_PASSWORD=s3cr3t\n",
    "by address": "DATABASE_URL=sqlite+sqlcipher:////app/backend/data/webui.db\nDATABASE_PASSWORD=s3cr3t\n",
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "mine")
    (data_dir / "webui.db").write_bytes(os.urandom(4096 * 9))  # pages and salt alike look so
    (tmp_path / ".env").write_text(SETTINGS["by type"])
    return data_dir


def a_vault(data_dir: Path) -> Vault:
    engine = DirectoryEngine(data_dir.parent / "repository", Secret("x"))
    vault = Vault(DataDirectory(data_dir), [Repository("one", engine)], state_dir=data_dir.parent / "state")
    vault.initialize()
    return vault


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_it_is_stored_whole_and_named_as_what_it_is(data_dir: Path, settings: str) -> None:
    (data_dir.parent / ".env").write_text(SETTINGS[settings])
    before = (data_dir / "webui.db").read_bytes()
    vault = a_vault(data_dir)
    report = vault.snapshot()
    assert (report.outcome, report.problems) == (Outcome.COMPLETE, ())
    assert any("encrypted (SQLCipher)" in each for each in report.warnings)
    assert not any("damaged" in each.lower() for each in report.warnings)
    assert report.manifest
    (record,) = [each for each in report.manifest.databases if each.path == "webui.db"]
    assert (report.manifest.users, report.manifest.chats) == (None, None)  # nobody can count them: not none at all
    label = report.repositories[0].snapshot.label if report.repositories[0].snapshot else None
    assert label
    assert (label.users, label.chats, label.uploads) == (None, None, report.manifest.uploads)
    assert record.check == "encrypted"
    checked = vault.verify("latest", read_data=1.0)
    assert checked.ok, checked.problems
    assert not any("DAMAGED" in each for each in checked.warnings)
    restored = vault.restore("latest", data_dir.parent / "copy")
    assert (restored.data_dir / "webui.db").read_bytes() == before
    assert any("encrypted (SQLCipher)" in each for each in restored.warnings)


def test_it_comes_back_in_place(data_dir: Path) -> None:
    vault = a_vault(data_dir)
    before = (data_dir / "webui.db").read_bytes()
    vault.snapshot()
    (data_dir / "webui.db").write_bytes(os.urandom(4096 * 10))
    plan = vault.plan_replacement("latest")
    assert not any("damaged" in each for each in plan.warnings)
    vault.replace(plan)
    assert (data_dir / "webui.db").read_bytes() == before


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_one_that_is_being_written_to_is_incomplete_with_the_reason(data_dir: Path, suffix: str) -> None:
    (data_dir / f"webui.db{suffix}").write_bytes(b"\x01" * 5000)
    report = a_vault(data_dir).snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    text = " ".join(report.problems)
    assert "was being written to" in text
    assert "damaged" not in text


def test_inspect_says_what_it_is(data_dir: Path) -> None:
    report = a_vault(data_dir).inspect()
    assert report.providers.database == "sqlcipher"
    text = "\n".join(report.warnings)
    assert "encrypted (SQLCipher)" in text
    assert "damaged" not in text
    assert "s3cr3t" not in text


def test_noise_without_such_settings_is_still_no_restore_point(data_dir: Path) -> None:
    (data_dir.parent / ".env").unlink()
    assert a_vault(data_dir).snapshot().outcome is Outcome.INCOMPLETE


def test_a_plain_database_under_such_settings_is_looked_into(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "mine")
    (tmp_path / ".env").write_text(SETTINGS["by type"])
    report = a_vault(data_dir).snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert report.manifest
    assert {each.check for each in report.manifest.databases} == {"ok"}
