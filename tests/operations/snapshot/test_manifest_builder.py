"""What a snapshot says of itself: what it lacks, and what of its surroundings could not be had."""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from owui_vault import (
    CaptureError,
    Container,
    DataDirectory,
    NoSpaceError,
    OllamaModels,
    Outcome,
    Repository,
    Secret,
    SnapshotReport,
    UnsupportedInstanceError,
    Vault,
    VaultError,
)
from owui_vault.components.database.facts import DatabaseFacts
from owui_vault.instance.container import container
from owui_vault.instance.container.container import FoundContainer
from owui_vault.instance.runtime import inspect_environment, require_database_here
from owui_vault.model import ComposeService, ContainerRecord, DataMount, Event
from owui_vault.operations.snapshot import manifest_builder
from owui_vault.operations.snapshot import snapshot as taking
from owui_vault.operations.snapshot.manifest_builder import stage_errors
from owui_vault.ports import Notifier
from owui_vault.secrets.sources import FileSource
from owui_vault.system.work_folder import Folder
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.operations.house import FakeApplication


@dataclass
class House:
    """An instance, and what is told of it."""

    folder: Path

    def __post_init__(self) -> None:
        self.data_dir = self.folder / "data"
        make_small_instance(self.data_dir)
        use_small_instance(self.data_dir, "mine")

    def vault(self, instance: DataDirectory | Container | None = None, notifiers: tuple[Notifier, ...] = ()) -> Vault:
        vault = Vault(
            instance or DataDirectory(self.data_dir),
            [Repository("nas", DirectoryEngine(self.folder / "repository", Secret("x")))],
            quiescer=FakeQuiescer(self.folder),
            application=FakeApplication(),
            notifiers=notifiers,
            state_dir=self.folder / "state",
        )
        vault.initialize()
        return vault

    def snapshot(self, instance: DataDirectory | Container | None = None) -> SnapshotReport:
        return self.vault(instance).snapshot()

    def seal(self) -> None:
        """Two tools with settings that only the secret key opens, and one without."""
        with closing(sqlite3.connect(self.data_dir / "webui.db")) as connection:
            connection.execute("CREATE TABLE tool (id TEXT PRIMARY KEY, valves TEXT)")
            cipher = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"a secret key").digest()))
            rows = [("a", cipher.encrypt(b"1").decode()), ("b", cipher.encrypt(b"2").decode()), ("c", "{}")]
            connection.executemany("INSERT INTO tool VALUES (?, ?)", rows)
            connection.commit()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_what_only_the_key_opens_makes_a_snapshot_without_the_key_incomplete(house: House) -> None:
    house.seal()
    report = house.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    (problem,) = report.problems
    assert "secret key was not found" in problem
    assert "encrypted valves of 2 tools" in problem


def test_with_the_key_it_is_complete(house: House) -> None:
    house.seal()
    key = house.folder / "key"
    key.touch(0o600)
    key.write_text("a secret key")
    report = house.snapshot(DataDirectory(house.data_dir, secret_key=FileSource(key)))
    assert (report.outcome, report.problems) == (Outcome.COMPLETE, ())
    assert not any("secret key" in warning for warning in report.warnings)


def test_what_is_no_file_is_left_out_and_said(house: House) -> None:
    """It would be waited for for ever: nobody writes into the pipe."""
    for number in range(4):
        os.mkfifo(house.data_dir / f"pipe{number}")
    report = house.snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert "4 sockets, pipes or devices were skipped: pipe0, pipe1, pipe2" in report.warnings
    assert report.manifest
    said = {each.path: each.reason for each in report.manifest.left_out if each.path.startswith("pipe")}
    assert said == {f"pipe{number}": "a socket, pipe or device" for number in range(4)}


def found_container(house: House) -> FoundContainer:
    """One that Compose made of two files."""
    project = house.folder / "project"
    project.mkdir()
    (project / "compose.yaml").write_text("services: {}\n")
    mount = DataMount(kind="bind", source=house.data_dir, destination="/app/backend/data")
    files = (project / "compose.yaml", project / "compose.override.yaml")
    record = ContainerRecord(
        engine="unix:///nowhere.sock",
        id="c" * 64,
        name="open-webui",
        status="running",
        health="",
        started="2026-11-20T03:00:00Z",
        image="open-webui:main",
        image_id="sha256:1",
        digest="",
        data_dir="/app/backend/data",
        mount=mount,
        restart_policy="always",
        auto_remove=False,
        compose=ComposeService(project="chat", service="open-webui", working_dir=project, files=files),
    )
    return FoundContainer(
        record=record,
        data_dir=house.data_dir,
        nested=(),
        processes=(),
        ollama=(),
        environment={},
        working_dir="/app/backend",
        keys=(),
        version="0.6.43",
        inspected="{}",
        held={record.id: record.started},
        running=False,
        warnings=(),
    )


def test_a_compose_file_that_cannot_be_read_here_is_said_and_the_others_are_stored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = found_container(house)
    monkeypatch.setattr(container, "find_container", lambda *_: found)
    monkeypatch.setattr(taking, "started_anew", lambda _: "")
    vault = house.vault(Container("open-webui"))
    report = vault.snapshot()
    override = house.folder / "project" / "compose.override.yaml"
    assert f"the Compose file {override} cannot be read here and is not in the snapshot" in report.warnings
    assert report.outcome is Outcome.COMPLETE, report.problems
    restored = vault.restore("latest", house.folder / "copy").target
    assert sorted(path.name for path in (restored / "outside").glob("compose*")) == ["compose.yaml"]


def test_models_of_ollama_that_may_not_be_read_make_a_snapshot_incomplete(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_place: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(manifest_builder, "models_folder", refuse)
    place = house.folder / "ollama"
    report = house.snapshot(DataDirectory(house.data_dir, ollama=OllamaModels.MODELS, ollama_dir=place))
    assert report.outcome is Outcome.INCOMPLETE
    assert report.problems == (f"Ollama's models in {place} cannot be read: Permission denied",)


class Mute:
    """Somebody who cannot be told anything."""

    def notify(self, event: Event) -> None:
        raise RuntimeError(f"no way to say {event.kind}")


class Listener:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def notify(self, event: Event) -> None:
        self.heard.append(event.kind)


@pytest.mark.parametrize(("number", "kind"), [(28, NoSpaceError), (5, CaptureError)])
def test_a_disk_that_fails_while_the_manifest_is_written_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[VaultError]
) -> None:
    def fails(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), os.fspath(path))

    monkeypatch.setattr("owui_vault.operations.snapshot.manifest_builder.write_durably", fails)
    with pytest.raises(kind, match=os.strerror(number)) as caught:
        house.snapshot()
    assert caught.value.hint
    assert not list(house.folder.glob("**/stage"))


def test_who_cannot_be_told_is_on_the_report_and_the_others_are_told(house: House) -> None:
    """And a snapshot that is stored is no failure."""
    listener = Listener()
    report = house.vault(notifiers=(Mute(), listener)).snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert "Mute failed: no way to say success" in report.warnings
    assert listener.heard == ["success"]


def test_the_settings_of_a_container_say_where_its_state_lies(house: House) -> None:
    """As its engine tells them, whether or not it runs."""
    postgres = {"TYPE": "postgresql", "USER": "webui", "HOST": "db", "PORT": "5432", "NAME": "webui"}
    moved = replace(found_container(house), environment={f"DATABASE_{name}": each for name, each in postgres.items()})
    with pytest.raises(UnsupportedInstanceError, match="postgresql on db"):
        require_database_here(moved)
    settings = {
        "USE_SLIM_DOCKER": "true",
        "STORAGE_PROVIDER": "gcs",
        "MFA_ENCRYPTION_KEY": "s3cr3t",
        "TERMINAL_SERVER_CONNECTIONS": '[{"url": "http://u:s3cr3t@term:8000", "key": "s3cr3t"}]',
        "WHISPER_MODEL_DIR": "/models",
        "TIKTOKEN_CACHE_DIR": "/app/backend/data/cache/tiktoken",
    }
    around = inspect_environment(house.data_dir, container=replace(moved, environment=settings))
    assert (around.providers.vectors, around.bucket) == ("pgvector", "gcs")
    text = "\n".join((*around.warnings, *around.neighbour_warnings(DatabaseFacts())))
    for words in ("PostgreSQL (pgvector)", "Google Cloud Storage", "Open Terminal at term:8000", "WHISPER_MODEL_DIR"):
        assert words in text
    assert "TIKTOKEN_CACHE_DIR" not in text
    assert "s3cr3t" not in text


UNREADABLE = """
import sys
from pathlib import Path
from owui_vault import DataDirectory, Repository, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
folder, file = Path(sys.argv[1]), Path(sys.argv[1], "data", "vault.yaml")
repositories = [Repository("nas", DirectoryEngine(folder / "repository", Secret("x")))]
vault = Vault(DataDirectory(folder / "data"), repositories, state_dir=folder / "state", config_file=file)
vault.initialize()
report = vault.snapshot()
print(report.outcome.value, *report.problems, *report.warnings, sep="\\n")
"""


@pytest.mark.root
def test_a_configuration_that_may_not_be_read_is_named_itself(house: House) -> None:
    """In the data directory, too, where the stage lies too: what is stored lacks it, and the stage is not blamed."""
    file = house.data_dir / "vault.yaml"
    file.touch(0)
    no_rights = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    done = subprocess.run(
        [*no_rights, sys.executable, "-c", UNREADABLE, str(house.folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome, *told = done.stdout.splitlines()
    assert outcome == "incomplete"
    assert "vault.yaml cannot be read" in told
    assert f"the configuration {file} cannot be read here and is not in the snapshot" in told
    assert not [each for each in told if "stage" in each]


def test_what_cannot_be_read_for_the_description_is_named_and_not_the_stage(house: House, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    file = house.data_dir / "vault.yaml"
    with (
        Folder.hold(tmp_path / "work") as work,
        pytest.raises(CaptureError) as caught,
        stage_errors(work),
    ):
        raise PermissionError(13, "Permission denied", os.fspath(file))
    assert str(caught.value) == f"the snapshot could not be described: {file}: Permission denied"
    assert "stage" not in caught.value.hint
