"""A restored instance fires by itself: what is due is told, and switched off where that was asked for."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from owui_vault import Component, ConfigError, DataDirectory, Deadline, Repository, ScheduledWork, Secret, Vault
from owui_vault.components.database.scheduled import SWITCH_ON, hold_back, read_scheduled
from owui_vault.operations.restore.quiet_start import Scheduled, settle_schedule
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeQuiescer
from tests.operations.house import QUICK, FakeApplication

HOUR_NS = 3600 * 10**9
WEBHOOKS = [
    {"id": "a", "name": "a", "url": "https://hooks.example.org/secret", "enabled": True, "events": ["*"]},
    {"id": "b", "name": "b", "url": "https://hooks.example.org/off", "enabled": False, "events": ["*"]},
]
TABLES = ("config", "automation", "function")
TIMERS = "SELECT id, timer_at, meta FROM chat ORDER BY id"


def schedule(data_dir: Path) -> None:
    """Three automations, two timers and a webhook; of each kind one is not due or is off."""
    now = time.time_ns()
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        for number, (active, at) in enumerate([(1, now - HOUR_NS), (1, now - 1), (1, now + HOUR_NS), (0, now - 1)]):
            connection.execute(
                "INSERT INTO automation (id, user_id, name, data, is_active, next_run_at, created_at, updated_at)"
                " VALUES (?, 'u', 'a', '{}', ?, ?, 0, 0)",
                (f"a{number}", active, at),
            )
        chats = [row[0] for row in connection.execute("SELECT id FROM chat ORDER BY id LIMIT 3")]
        for chat, status, at in zip(chats, ("pending", "pending", "done"), (now - 1, now + HOUR_NS, now), strict=True):
            meta = json.dumps({"status": status})
            connection.execute("UPDATE chat SET timer_at = ?, meta = ? WHERE id = ?", (at, meta, chat))
        connection.execute("INSERT INTO config VALUES ('events.webhooks', ?, 0)", (json.dumps(WEBHOOKS),))
        connection.execute("DELETE FROM config WHERE key = 'calendar.enable'")
        connection.execute(
            "INSERT INTO function (id, user_id, name, type, content, is_active, is_global, updated_at, created_at)"
            " VALUES ('e', 'u', 'e', 'event', '', 1, 0, 0, 0)"
        )
        connection.commit()


def rows(data_dir: Path, *statements: str) -> list[list[Any]]:
    with closing(sqlite3.connect(f"file:{data_dir / 'webui.db'}?immutable=1", uri=True)) as connection:
        return [connection.execute(each).fetchall() for each in statements]


def everything(data_dir: Path) -> list[list[Any]]:
    return rows(data_dir, TIMERS, *(f"SELECT * FROM {table} ORDER BY 1" for table in TABLES))


class Site:
    """The real instance, with work waiting; one snapshot of it."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        self.folder, self.data_dir = folder, data_dir
        schedule(data_dir)
        self.application = FakeApplication(known=frozenset({"0bd252b206fb"}))
        self.quiescer = FakeQuiescer(folder)
        self.vault = Vault(
            DataDirectory(data_dir),
            [Repository("one", DirectoryEngine(folder / "repository", Secret("x")))],
            quiescer=self.quiescer,
            application=self.application,
            state_dir=folder / "state",
            limits=QUICK,
        )
        self.vault.initialize()
        self.snapshot = self.vault.snapshot(quiesce=None)
        self.before = everything(data_dir)


@pytest.fixture
def site(tmp_path: Path, small_instance: Callable[[Path], Path]) -> Site:
    data = small_instance(tmp_path / "instance")
    with closing(sqlite3.connect(data / "webui.db")) as connection:  # what its log holds belongs to it
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Site(tmp_path, data)


def test_what_is_switched_on_stands_in_the_manifest(site: Site) -> None:
    manifest = site.vault.manifest("latest")
    assert manifest.scheduled == ScheduledWork(automations=3, timers=2, webhooks=1, event_functions=1)


def test_a_restore_says_what_is_due_and_leaves_it_on(site: Site) -> None:
    report = site.vault.restore("latest", site.folder / "copy")
    assert report.scheduled == ScheduledWork(automations=2, timers=1, webhooks=1, event_functions=1)
    (told,) = [each for each in report.warnings if "within seconds of its first start" in each]
    assert "2 automations, 1 timer, 1 webhook and 1 event function" in told
    assert "--quiet-start" in told
    assert everything(report.data_dir) == site.before
    assert report.held is None
    assert "5. What runs by itself" in (report.target / "RESTORE.txt").read_text()


def test_a_quiet_start_switches_it_off_and_says_how_it_comes_back(site: Site) -> None:
    report = site.vault.restore("latest", site.folder / "copy", quiet_start=True)
    assert read_scheduled(report.data_dir) == ScheduledWork(event_functions=1)
    assert report.scheduled.automations == 2
    assert report.held == report.target / "outside/held.json"
    assert report.held.stat().st_mode & 0o777 == 0o600  # addresses of webhooks are secrets
    settings = dict(rows(report.data_dir, "SELECT key, value FROM config")[0])
    for key, quiet in (("automations.enable", "false"), ("calendar.enable", "false"), ("events.webhooks", "[]")):
        assert settings[key] == quiet
    timers = rows(report.data_dir, TIMERS)[0]
    assert [at is None for _, at, meta in timers if meta == '{"status": "pending"}'] == [True, True]
    held = json.loads(report.held.read_text())
    assert {each["what"] for each in held["held"]} >= {"automations.enable", "calendar.enable", "events.webhooks"}
    assert "hooks.example.org" not in "".join(report.warnings)
    assert any("SAFE_MODE=true" in each for each in report.warnings)
    text = (report.target / "RESTORE.txt").read_text()
    assert "5. What was switched off (--quiet-start)" in text
    program = re.search(r"<<'END'\n(.*?)  END\n", text, re.DOTALL)
    assert program
    way_back = "\n".join(line.removeprefix("  ") for line in program[1].splitlines())
    subprocess.run([sys.executable, "-c", way_back], cwd=report.target, check=True)
    assert everything(report.data_dir) == site.before


def test_what_an_operator_types_from_the_text_keeps_it_quiet(site: Site) -> None:
    """For whoever restored with restic or borg alone."""
    report = site.vault.restore("latest", site.folder / "copy")
    text = (report.target / "RESTORE.txt").read_text()
    statements = re.search(r'To start without:\n\n  sqlite3 data/webui.db "(.*?)"\n\n', text, re.DOTALL)
    assert statements
    with closing(sqlite3.connect(report.data_dir / "webui.db")) as connection:
        connection.executescript(statements[1].replace('\\"', '"'))
    assert read_scheduled(report.data_dir) == ScheduledWork(event_functions=1)


def test_in_place_it_is_switched_off_before_anything_runs_on_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    loud = site.vault.plan_replacement("latest")
    assert any("3 automations, 2 timers" in each and "--quiet-start" in each for each in loud.warnings)
    plan = site.vault.plan_replacement("latest", quiet_start=True)
    assert not any("automations" in each for each in plan.warnings)
    seen: list[ScheduledWork | None] = []

    def look(_application: FakeApplication, _deadline: Deadline) -> str:
        seen.append(read_scheduled(site.data_dir))
        return "answers"

    monkeypatch.setattr(FakeApplication, "wait_until_healthy", look)
    report = site.vault.replace(plan)
    assert seen == [ScheduledWork(event_functions=1)]
    assert report.scheduled.automations == 2
    assert report.held
    assert report.held.is_relative_to(site.folder / "state")
    assert report.held.stat().st_mode & 0o777 == 0o600
    command = [sys.executable, "-c", SWITCH_ON, str(report.held), str(site.data_dir / "webui.db")]
    subprocess.run(command, check=True)
    assert SWITCH_ON in json.loads(report.held.read_text())["switch_on"]
    assert everything(site.data_dir) == site.before
    site.vault.undo()
    assert everything(site.data_dir) == site.before


def test_without_the_database_there_is_nothing_to_switch_off(site: Site) -> None:
    uploads = (Component.UPLOADS,)
    with pytest.raises(ConfigError, match="not among the components"):
        site.vault.restore("latest", site.folder / "copy", components=uploads, quiet_start=True)
    assert not (site.folder / "copy").exists()
    with pytest.raises(ConfigError, match="not among the components"):
        site.vault.plan_replacement("latest", components=uploads, quiet_start=True)


def test_a_disk_that_takes_no_record_leaves_everything_on(site: Site) -> None:
    """The old values are written down first: what could not be noted is not changed."""
    report = site.vault.restore("latest", site.folder / "copy")

    def full(_document: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        hold_back(report.data_dir, "00000000", full)
    assert everything(report.data_dir) == site.before


def test_settings_of_the_environment_are_told_where_they_win(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    report = site.vault.restore("latest", site.folder / "plain", quiet_start=True)
    assert not any("ENABLE_PERSISTENT_CONFIG" in each for each in report.warnings)
    (site.data_dir.parent / ".env").write_text("")
    fetch = DirectoryEngine.fetch

    def with_settings(*given: Any, **more: Any) -> Any:
        done = fetch(*given, **more)
        target = next(each for each in given if isinstance(each, Path))
        (target / "outside").mkdir(exist_ok=True)
        (target / "outside/environment").write_text("ENABLE_PERSISTENT_CONFIG=False\n")
        return done

    monkeypatch.setattr(DirectoryEngine, "fetch", with_settings)
    report = site.vault.restore("latest", site.folder / "copy", quiet_start=True)
    assert any("ENABLE_AUTOMATIONS=false" in each for each in report.warnings)
    assert "The settings it ran with are in outside/environment" in (report.target / "RESTORE.txt").read_text()


@pytest.mark.parametrize("flaw", ["not asked for", "damaged"])
def test_nothing_of_a_database_is_settled_that_cannot_be(site: Site, flaw: str) -> None:
    """Asked once, for every kind of restore: a damaged database is not opened, one of another snapshot not changed."""
    site.vault.snapshot()
    restored = site.vault.restore("latest", target=site.folder / "out")
    manifest, components = restored.manifest, list(restored.components)
    if flaw == "damaged":
        manifest = replace(manifest, databases=tuple(replace(each, check="broken") for each in manifest.databases))
    else:
        components.remove(Component.DATABASE)

    def unexpected() -> Path:
        raise AssertionError("nothing is to be written")

    settled = settle_schedule(
        restored.data_dir, manifest, components, now=datetime.now(UTC), held=unexpected, environment=dict
    )
    assert settled == Scheduled()
    assert everything(restored.data_dir) == site.before
