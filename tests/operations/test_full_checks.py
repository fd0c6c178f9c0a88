"""A damaged index passes SQLite's quick check: it is found beside the store, and carried on until it is mended."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Engine, Event, FullCheck, Outcome, Repository, Secret, SnapshotReport, Vault
from owui_vault.model import CURED
from owui_vault.operations import full_checks
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.damage import lose_an_index_entry
from owui_vault.testing.instances.small import make_small_instance, use_small_instance


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def notify(self, event: Event) -> None:
        self.heard.append(event)

    def kinds(self) -> list[str]:
        kinds = [event.kind.value for event in self.heard]
        self.heard.clear()
        return kinds


class Place:
    """An instance whose messages have an index, and its vault."""

    def __init__(self, folder: Path, engine: Engine | None = None) -> None:
        self.folder, self.data_dir, self.listener = folder, folder / "data", Listener()
        make_small_instance(self.data_dir)
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, chat TEXT)")
            connection.execute("CREATE INDEX ix_message_chat ON message (chat)")
            connection.executemany("INSERT INTO message (chat) VALUES (?)", ((f"c{n}",) for n in range(200)))
            connection.commit()
        use_small_instance(self.data_dir, "first")
        self.engine = engine or DirectoryEngine(folder / "repository", Secret("x"))
        self.vault = Vault(
            DataDirectory(self.data_dir),
            [Repository("nas", self.engine)],
            state_dir=folder / "state",
            notifiers=[self.listener],
        )
        self.vault.initialize()

    @property
    def database(self) -> Path:
        return self.data_dir / "webui.db"

    def mend(self) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("REINDEX")
            connection.commit()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def check_of(report: SnapshotReport) -> FullCheck:
    (check,) = [each for each in report.full_checks if each.path == "webui.db"]
    return check


def damage_warnings(warnings: tuple[str, ...]) -> list[str]:
    return [each for each in warnings if "DAMAGED AT THE SOURCE" in each]


def test_a_damaged_index_is_a_loud_warning_with_its_name_and_the_remedy(place: Place) -> None:
    lose_an_index_entry(place.database, "ix_message_chat")
    before = place.database.read_bytes()
    report = place.vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert check_of(report).reindex == CURED
    (warning,) = damage_warnings(report.warnings)
    for words in ("webui.db", "ix_message_chat", "REINDEX", "cures it: tried on a copy"):
        assert words in warning
    assert place.listener.kinds() == ["success", "warning"]
    assert place.database.read_bytes() == before
    assert list((place.folder / "state/scratch").iterdir()) == []


def test_the_state_the_ledger_and_the_next_manifest_know_of_it_until_it_is_mended(place: Place) -> None:
    lose_an_index_entry(place.database, "ix_message_chat")
    first = place.vault.snapshot()
    assert first.manifest
    assert first.manifest.databases[0].checked == "quick"
    known = json.loads((place.folder / "state/instances/open-webui/checks.json").read_text())["checks"]
    assert [(each["path"], each["sha256"]) for each in known] == [("webui.db", first.manifest.databases[0].sha256)]

    same = place.vault.snapshot()
    assert same.manifest
    (record,) = same.manifest.databases
    assert (record.checked, record.check, bool(record.damage)) == ("full", "ok", True)
    assert len(damage_warnings(same.manifest.warnings)) == len(damage_warnings(same.warnings)) == 1
    entries = [(each.snapshot, each.kind, each.ok) for each in same.manifest.ledger]
    assert entries == [(first.id, "check", False)]

    use_small_instance(place.data_dir, "second")
    changed = place.vault.snapshot()
    assert changed.manifest
    (carried,) = damage_warnings(changed.manifest.warnings)
    assert "when it was last checked in full" in carried
    (now,) = damage_warnings(changed.warnings)
    assert "when it was last checked" not in now

    place.mend()
    place.listener.heard.clear()
    mended = place.vault.snapshot()
    assert check_of(mended).is_sound
    assert damage_warnings(mended.warnings) == []
    assert place.listener.kinds() == ["success"]
    last = place.vault.snapshot()
    assert last.manifest
    assert [(each.ok, each.kind) for each in last.manifest.ledger] == [(False, "check"), (True, "check")]
    assert damage_warnings(last.manifest.warnings) == []


def test_equal_bytes_are_not_checked_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_of(place.vault.snapshot()).is_sound
    monkeypatch.setattr(full_checks, "check_in_full", lambda *_, **__: pytest.fail("they are known"))
    again = place.vault.snapshot()
    assert check_of(again).is_sound
    assert again.manifest
    assert again.manifest.databases[0].checked == "full"


def test_a_large_database_is_left_to_verify_which_does_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_an_index_entry(place.database, "ix_message_chat")
    monkeypatch.setattr(full_checks, "ALWAYS_BYTES", 1000)
    monkeypatch.setattr(full_checks, "_SHARE", 0.0)
    (place.folder / "slow.py").write_text("import time\ntime.sleep(600)\n")
    with monkeypatch.context() as patch:  # a database that is large enough to be still checked when all is stored
        patch.setattr("owui_vault.components.database.full_check_main.__file__", str(place.folder / "slow.py"))
        report = place.vault.snapshot()
    assert check_of(report).not_done
    assert damage_warnings(report.warnings) == []
    assert report.outcome is Outcome.COMPLETE
    place.listener.heard.clear()
    verified = place.vault.verify("latest")
    assert verified.ok
    assert len(damage_warnings(verified.warnings)) == 1
    assert place.listener.kinds() == ["warning"]
    carried = place.vault.snapshot(dry_run=True)
    assert len(damage_warnings(carried.warnings)) == 1
    assert carried.manifest
    (entry,) = [each for each in carried.manifest.ledger if each.kind == "verify"]
    assert entry.ok
    assert "ix_message_chat" in entry.detail


def test_a_small_one_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_checks, "_SHARE", 0.0)
    assert check_of(place.vault.snapshot()).is_sound


def test_a_check_that_cannot_be_done_keeps_nobody_from_a_snapshot(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("owui_vault.components.database.full_check_main.__file__", str(place.folder / "gone.py"))
    report = place.vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert "status 2" in check_of(report).not_done
    assert not (place.folder / "state/instances/open-webui/checks.json").exists()


def test_a_run_that_is_ended_leaves_no_check_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place.engine, "store", fail)
    with pytest.raises(KeyboardInterrupt):
        place.vault.snapshot()
    assert list((place.folder / "state/scratch").iterdir()) == []
