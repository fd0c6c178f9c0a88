"""One operation at a time, none that waits for itself, and none that fails unheard."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import (
    CancelledError,
    ConfigError,
    DataDirectory,
    InstanceNotFoundError,
    Limits,
    Progress,
    Quiesce,
    Repository,
    RepositoryMissingError,
    RetentionPolicy,
    Secret,
    StalePlanError,
    Vault,
    VaultError,
    open_vault,
)
from owui_vault.model import Event
from owui_vault.secrets.sources import FileSource
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance
from tests.operations.house import FakeApplication


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def heard(self) -> list[tuple[str, str]]:
        found = [(event.operation, event.kind.value) for event in self.events]
        self.events.clear()
        return found


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_small_instance(folder / "data")
        (folder / "unit").mkdir()
        self.listener = Listener()
        self.key = folder / "key"
        self.passphrase = folder / "pass"
        for path in (self.key, self.passphrase, folder / "cloud"):
            path.write_text("x")
            path.chmod(0o600)
        self.engine = FaultyEngine(DirectoryEngine(folder / "repository", Secret("x")))
        self.vault = Vault(
            DataDirectory(folder / "data", secret_key=FileSource(self.key)),
            [
                Repository(
                    "nas",
                    self.engine,
                    RetentionPolicy(last=1),
                    passphrase=FileSource(self.passphrase),
                    secrets=(FileSource(folder / "cloud"),),
                )
            ],
            quiescer=FakeQuiescer(folder / "unit"),
            application=FakeApplication(known=None),  # one that cannot be asked is watched for ten seconds
            notifiers=[self.listener],
            state_dir=folder / "state",
            limits=Limits(lock_wait_seconds=0.3),
        )
        self.vault.initialize()
        self.id = self.vault.snapshot().id
        self.listener.events.clear()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def within(seconds: float, work: Callable[[], object]) -> None:
    """Fail where the work would never end, instead of never ending too."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for itself"
    if failure:
        raise failure[0]


def test_inside_a_hold_one_may_look_and_nothing_else(house: House) -> None:
    def work() -> None:
        with house.vault.hold(Quiesce.PAUSE):
            assert [each.id for each in house.vault.snapshots()] == [house.id]
            assert house.vault.manifest("latest").id == house.id
            assert house.vault.inspect().data_dir == house.folder / "data"
            plan = house.vault.plan_prune()
            for refused in (house.vault.snapshot, house.vault.recover, lambda: house.vault.prune(plan)):
                with pytest.raises(ConfigError, match="inside another operation"):
                    refused()
        assert house.vault.snapshot().repositories[0].error is None

    within(60, work)


def test_a_progress_callback_may_look(house: House) -> None:
    seen: list[int] = []

    def listen(_progress: Progress) -> None:
        if not seen:
            seen.append(len(house.vault.snapshots()))

    within(60, lambda: house.vault.restore("latest", house.folder / "copy", progress=listen))
    assert seen == [1]


def test_another_thread_waits_for_its_turn(house: House) -> None:
    order: list[str] = []

    def other() -> None:
        house.vault.snapshots()
        order.append("looked")

    with house.vault.hold(Quiesce.PAUSE):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        order.append("held")
    thread.join(60)
    assert order == ["held", "looked"]


def test_every_operation_that_fails_is_told_once(house: House) -> None:
    vault = house.vault
    plan = vault.plan_prune()
    replacement = vault.plan_replacement()
    (house.folder / "repository").rename(house.folder / "away")
    for operation, call in {
        "initialize": vault.initialize,
        "snapshot": vault.snapshot,
        "prune": lambda: vault.prune(plan),
        "verify": vault.verify,
        "restore": lambda: vault.restore("latest", house.folder / "copy"),
        "replace": lambda: vault.replace(replacement),
        "undo": vault.undo,
    }.items():
        with pytest.raises(VaultError):
            call()  # type: ignore[operator]
        assert house.listener.heard() == [(operation, "failure")]
    (house.folder / "data").rename(house.folder / "gone")
    for operation in ("snapshot", "recover", "discard"):
        with pytest.raises(InstanceNotFoundError):
            getattr(vault, operation)()
        assert house.listener.heard() == [(operation, "failure")]


def test_what_nobody_foresaw_is_told_without_its_text(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold anything, a secret for one."""

    def fails(*_: object) -> None:
        raise ValueError("correct horse")

    monkeypatch.setattr("owui_vault.operations.snapshot.snapshot.snapshot", fails)
    with pytest.raises(ValueError, match="horse"):
        house.vault.snapshot()
    ((operation, kind, detail),) = [(each.operation, each.kind, each.detail) for each in house.listener.events]
    assert (operation, kind, detail) == ("snapshot", "failure", "unexpected ValueError")


def test_looking_and_cancelling_are_no_news(house: House) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        house.vault.snapshot(cancel=cancel)
    (house.folder / "repository").rename(house.folder / "away")
    for look in (house.vault.snapshots, house.vault.plan_prune):
        with pytest.raises(RepositoryMissingError):
            look()
    assert house.listener.heard() == []


def test_a_stale_plan_is_told(house: House) -> None:
    plan = house.vault.plan_prune()
    house.vault.snapshot()
    house.listener.events.clear()
    with pytest.raises(StalePlanError):
        house.vault.prune(plan)
    assert house.listener.heard() == [("prune", "failure")]


def test_secrets_that_others_can_read_are_said_on_every_report(house: House) -> None:
    paths = [house.folder / place for place in ("key", "pass", "cloud")]
    for path in paths:
        path.chmod(0o644)
    vault = house.vault
    plan = vault.plan_replacement()
    reports = (
        vault.inspect(),
        vault.initialize(),
        vault.snapshot(),
        vault.verify(),
        vault.restore("latest", house.folder / "copy"),
        plan,
        vault.replace(plan),
    )
    for report in reports:
        for path in paths:
            told = [text for text in report.warnings if os.fspath(path) in text]
            assert len(told) == 1, (type(report).__name__, path)
            assert "chmod 600" in told[0]


def test_every_secret_of_a_configuration_is_looked_at(tmp_path: Path) -> None:
    make_small_instance(tmp_path / "data")
    places = ("key", "url", "pass", "cloud", "unlock")
    for name in places:
        (tmp_path / name).write_text("sqlite:///data/webui.db" if name == "url" else "x")
        (tmp_path / name).chmod(0o640)
    file = tmp_path / "vault.yaml"
    file.write_text("""\
state_dir: state
instance: {data_dir: data, secret_key: key, database_url: {file: url}}
repositories:
  near: {engine: restic, location: r, passphrase: {file: pass}, environment: {AWS_SECRET_ACCESS_KEY: {file: cloud}}}
  far: {engine: restic, location: s, passphrase: {sealed: keys, name: far, unlock: {file: unlock}}}
""")
    file.chmod(0o600)
    warnings = open_vault(file).inspect().warnings
    for name in places:
        assert [text for text in warnings if f"{tmp_path / name} is open to its group" in text], name


@pytest.mark.parametrize("operation", ["verify", "restore", "replace"])
def test_comparing_is_ended_by_cancelling(house: House, operation: str) -> None:
    """A signal that comes while the fetched files are read, which may take hours."""
    cancel = threading.Event()

    def listen(progress: Progress) -> None:
        if "manifest" in progress.text:
            cancel.set()

    plan = house.vault.plan_replacement()
    calls: dict[str, Callable[[], object]] = {
        "verify": lambda: house.vault.verify(read_data=1.0, progress=listen, cancel=cancel),
        "restore": lambda: house.vault.restore("latest", house.folder / "copy", progress=listen, cancel=cancel),
        "replace": lambda: house.vault.replace(plan, progress=listen, cancel=cancel),
    }
    with pytest.raises(CancelledError):
        calls[operation]()
    assert house.listener.heard() == []
    assert house.vault.verify().ok
