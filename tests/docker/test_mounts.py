"""Data that lie on several mounts, containers that see them from elsewhere, databases and settings beside the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault import (
    Container,
    InstanceReport,
    OllamaModels,
    Outcome,
    Providers,
    Quiesce,
    Repository,
    RestoreError,
    Secret,
    SecretError,
    TargetError,
    UnsupportedInstanceError,
    Vault,
)
from owui_vault.instance.container.container import find_container
from owui_vault.model import Component
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.ollama import make_models
from tests.docker.conftest import QUICK, Instance, broken_rules, docker, until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
ENGINE = ("unix:///var/run/docker.sock",)
DATA = "/app/backend/data"


@pytest.fixture
def volumes() -> Iterator[Callable[[str], str]]:
    """`volumes("x")`: the name of a volume that is gone after the test."""
    made: list[str] = []

    def remove(name: str) -> None:
        for each in docker("ps", "--all", "--quiet", "--filter", f"volume={name}").split():
            docker("rm", "--force", each)  # it would keep the volume, and its data would be there the next time
        docker("volume", "rm", "--force", name)

    def build(name: str) -> str:
        remove(name)
        made.append(name)
        return name

    yield build
    for name in made:
        remove(name)


def inspected(name: str, tmp_path: Path) -> InstanceReport:
    return Vault(Container(name), [], state_dir=tmp_path / "state").inspect()


@pytest.mark.parametrize("part", ["uploads", "vector_db"])
def test_a_part_of_the_data_that_is_a_volume_of_its_own_is_followed(
    run: Callable[..., Instance],
    vault_of: Callable[..., Vault],
    volumes: Callable[[str], str],
    tmp_path: Path,
    part: str,
) -> None:
    volume = volumes(f"owui-vault-nested-{part}")
    instance = run("--env=RATE=100", "--no-healthcheck", f"--volume={volume}:{DATA}/{part}")
    place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume))
    assert until(lambda: any(path.is_file() for path in place.rglob("*")))
    report = inspected(instance.name, tmp_path)
    assert report.container
    assert [each.volume for each in report.container.nested] == [volume]
    assert not any("no vector store" in each for each in report.warnings)
    assert dict(report.journal_modes)["vector_db/chroma.sqlite3"] == "delete"
    component = Component.UPLOADS if part == "uploads" else Component.VECTORS
    assert {each.name: each for each in report.components}[component].files > 0
    vault = vault_of(instance)
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        taken = vault.snapshot(quiesce=mode)
        assert taken.outcome is Outcome.COMPLETE, taken.problems
        assert taken.manifest
        assert {each.name: each for each in taken.manifest.components}[component].files > 0
        assert not any("missing at the source" in each for each in taken.warnings)
        assert broken_rules(vault.restore(taken.id, target=tmp_path / mode.value).data_dir) == ""


def test_a_part_that_is_a_volume_of_its_own_is_not_restored_in_place(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], volumes: Callable[[str], str]
) -> None:
    """What would be exchanged here is the empty mount point, and the container would go on as before."""
    options = (f"--volume={volumes('owui-vault-nested-swap')}:{DATA}/uploads", f"--tmpfs={DATA}/cache/embedding")
    instance = run("--no-healthcheck", *options)
    vault = vault_of(instance)
    vault.snapshot(quiesce=Quiesce.PAUSE)
    with pytest.raises(RestoreError, match="uploads is a separate mount") as caught:
        vault.plan_replacement("latest")
    assert "--target" in caught.value.hint
    uploads = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", "owui-vault-nested-swap"))
    with pytest.raises(TargetError, match="inside the data directory"):
        vault.restore("latest", target=uploads / "back")
    assert vault.plan_replacement("latest", components=[Component.DATABASE]).parts
    assert instance.runs()


def test_a_part_that_cannot_be_reached_makes_a_snapshot_incomplete(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    instance = run("--no-healthcheck", f"--tmpfs={DATA}/uploads", f"--tmpfs={DATA}/cache/embedding")
    said = "uploads is missing: it is in memory (tmpfs)"
    report = inspected(instance.name, tmp_path)
    assert said in " ".join(report.warnings)
    assert "cache/embedding is missing" not in " ".join(report.warnings), "it is left out anyway"
    taken = vault_of(instance).snapshot(quiesce=Quiesce.PAUSE)
    assert taken.outcome is Outcome.INCOMPLETE
    assert said in " ".join(taken.problems)


def test_a_database_that_is_mounted_by_itself_is_refused(run: Callable[..., Instance], tmp_path: Path) -> None:
    (tmp_path / "webui.db").touch()
    options = ("--no-healthcheck", f"--volume={tmp_path / 'webui.db'}:{DATA}/webui.db")
    instance = run(*options, command=("sleep", "600"))
    with pytest.raises(UnsupportedInstanceError, match=r"webui\.db .* is mounted separately"):
        find_container(instance.name, ENGINE)


def test_whoever_writes_to_a_part_is_held_too(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], volumes: Callable[[str], str]
) -> None:
    volume = volumes("owui-vault-nested-shared")
    first = run("--no-healthcheck", f"--volume={volume}:{DATA}/uploads")
    second = run("--no-healthcheck", f"--volume={volume}:/elsewhere", mount="layer", command=("sleep", "600"))
    with vault_of(first).hold(Quiesce.PAUSE):
        assert second.told()["Status"] == "paused"
    assert second.runs()


def test_an_instance_on_the_same_data_by_a_folder_above_is_held_too(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    above = tmp_path / "above"
    (above / "data").mkdir(parents=True)
    first = run("--no-healthcheck", mount=str(above / "data"))
    options = ("--no-healthcheck", f"--volume={above}:/srv/owui")
    same = run(*options, "--env=DATA_DIR=/srv/owui/data", mount="layer", command=("sleep", "600"))
    other = run(*options, mount="layer", command=("sleep", "600"))
    report = inspected(first.name, tmp_path)
    assert report.container
    assert report.container.together == (same.name,)
    assert f"{other.name} has a parent folder of the data" in " ".join(report.warnings)
    with vault_of(first).hold(Quiesce.PAUSE):
        assert same.told()["Status"] == "paused"
        assert other.runs()
    assert same.runs()


def test_a_container_whose_database_is_elsewhere_is_told_so_and_not_that_it_lost_one(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    settings = ("--env=DATABASE_URL=postgresql://u:secret@db/webui", "--env=VECTOR_DB=pgvector")
    make = ("sh", "-c", f"mkdir -p {DATA}/uploads {DATA}/cache; sleep 600")
    label = "--label=org.opencontainers.image.title=Open WebUI"
    instance = run("--no-healthcheck", label, *settings, command=make)
    vault = vault_of(instance)
    for operation in (vault.inspect, vault.snapshot):
        with pytest.raises(UnsupportedInstanceError, match="postgresql on db") as caught:
            operation()
        assert "pg_dump" in caught.value.hint
        assert "secret" not in str(caught.value)


def test_the_models_of_an_ollama_on_the_same_engine_are_found(
    run: Callable[..., Instance], volumes: Callable[[str], str], tmp_path: Path
) -> None:
    instance = run("--no-healthcheck")
    volume = volumes("owui-vault-ollama-models")
    docker("tag", "owui-vault-test", "owui-vault-test-ollama")
    name = f"{instance.name}-ollama"
    options = ("--detach", "--init", "--no-healthcheck", f"--name={name}", f"--volume={volume}:/root/.ollama")
    docker("run", *options, "owui-vault-test-ollama", "sleep", "600")
    try:
        place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume))
        folder = make_models(place, "llama3.2:3b")
        asked = Container(instance.name, ollama=OllamaModels.BLOBS)
        repository = Repository("one", DirectoryEngine(tmp_path / "repository", Secret("x")))
        vault = Vault(asked, [repository], state_dir=tmp_path / "state", limits=QUICK)
        vault.initialize()
        report = vault.inspect()
        assert report.container
        assert volume in report.container.ollama
        assert [each.name for each in report.ollama] == ["llama3.2:3b"]
        taken = vault.snapshot(quiesce=Quiesce.PAUSE)
        assert taken.outcome is Outcome.COMPLETE, taken.problems
        outside = vault.restore(taken.id, target=tmp_path / "back").target / "outside"
        blobs = {path.name for path in (outside / "ollama/models/blobs").iterdir()}
        assert blobs == {path.name for path in (folder / "blobs").iterdir()}
        assert inspected(instance.name, tmp_path).ollama == (), "named, and nothing else, unless asked for"
    finally:
        docker("rm", "--force", name)
        docker("rmi", "owui-vault-test-ollama", check=False)


def test_a_restore_elsewhere_needs_no_secret_of_the_instance(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    class Missing:
        def reveal(self) -> str:
            raise SecretError("there is no such variable")

    instance = run("--no-healthcheck")
    first = vault_of(instance)
    first.snapshot(quiesce=Quiesce.PAUSE)
    vault = Vault(Container(instance.name, database_url=Missing()), first.repositories, state_dir=tmp_path / "other")
    assert vault.restore("latest", target=tmp_path / "back").data_dir.is_dir()


def test_the_settings_file_above_the_backend_counts(
    run: Callable[..., Instance], vault_of: Callable[..., Vault], tmp_path: Path
) -> None:
    settings = tmp_path / "settings"
    settings.write_text("VECTOR_DB=qdrant\nSTORAGE_PROVIDER=s3\nDATABASE_URL='postgresql://u:p@db/webui'\n")
    options = ("--no-healthcheck", f"--volume={settings}:/app/.env:ro")
    instance = run(*options, "--env=STORAGE_PROVIDER=local")
    report = inspected(instance.name, tmp_path)
    warnings = " ".join(report.warnings)
    assert report.providers == Providers(database="postgresql on db", vectors="qdrant", storage="local")
    assert "postgresql on db" in warnings
    assert "Qdrant" in warnings
    assert "S3 bucket" not in warnings, "the environment wins"
    with pytest.raises(UnsupportedInstanceError, match="postgresql on db"):
        vault_of(instance).snapshot(quiesce=Quiesce.PAUSE)


def test_a_key_in_the_settings_file_is_found_last(run: Callable[..., Instance], tmp_path: Path) -> None:
    """The image's start script has made a key by the time that file is read."""
    settings = tmp_path / "settings"
    settings.write_text("WEBUI_SECRET_KEY=from the file\n")
    instance = run("--no-healthcheck", f"--volume={settings}:/app/.env:ro")
    made = find_container(instance.name, ENGINE).keys[0]
    assert made
    assert ".webui_secret_key of container" in made.source
    docker("exec", instance.name, "rm", "/app/backend/.webui_secret_key")
    found = find_container(instance.name, ENGINE).keys[0]
    assert found
    assert found.key.reveal() == "from the file"
    assert ".env file of container" in found.source
