"""Ollama's models as a part of a snapshot: nothing unless asked for, their list, or all of them; and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import (
    Component,
    ContentMismatchError,
    DataDirectory,
    OllamaModels,
    Outcome,
    Repository,
    ResticEngine,
    Secret,
    Vault,
)
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.ollama import make_models
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.restic_templates import PlaceRestic


@pytest.fixture
def make_vault(tmp_path: Path, place_restic: PlaceRestic) -> Callable[..., Vault]:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "hello")

    def make(ollama: OllamaModels, place: Path | None, engine: str = "directory") -> Vault:
        place_of_it, passphrase = tmp_path / "repository", Secret("x")
        directory = DirectoryEngine(place_of_it, passphrase)
        if engine == "restic" and not place_of_it.exists():
            place_restic(place_of_it, "restic", "x")
        kind = directory if engine == "directory" else ResticEngine(str(place_of_it), passphrase)
        repository = Repository("one", kind)
        instance = DataDirectory(tmp_path / "data", ollama=ollama, ollama_dir=place)
        (tmp_path / "vault.yaml").write_text("instance: {}\n")
        vault = Vault(instance, [repository], state_dir=tmp_path / "state", config_file=tmp_path / "vault.yaml")
        vault.initialize()
        return vault

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_of_it_is_stored_unless_asked_for(make_vault: Callable[..., Vault], tmp_path: Path) -> None:
    make_models(tmp_path / "ollama", "llama3.2:3b")
    vault = make_vault(OllamaModels.OFF, tmp_path / "ollama")
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert report.manifest.ollama == ()
    assert Component.OLLAMA not in {each.name for each in report.manifest.components}
    assert vault.inspect().ollama == ()
    restored = vault.restore("latest", target=tmp_path / "back")
    assert not (restored.target / "outside" / "ollama").exists()


def test_their_list_goes_with_the_snapshot(make_vault: Callable[..., Vault], tmp_path: Path) -> None:
    make_models(tmp_path / "ollama", "llama3.2:3b", "someone/tuned:latest")
    vault = make_vault(OllamaModels.MODELS, tmp_path / "ollama")
    assert [each.name for each in vault.inspect().ollama] == ["llama3.2:3b", "someone/tuned:latest"]
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert [(each.name, each.stored) for each in report.manifest.ollama] == [
        ("llama3.2:3b", False),
        ("someone/tuned:latest", False),
    ]
    restored = vault.restore("latest", target=tmp_path / "back")
    assert not (restored.target / "outside/ollama/models/blobs").exists()
    text = (restored.target / "RESTORE.txt").read_text()
    assert "ollama pull llama3.2:3b" in text
    assert "ollama pull someone/tuned:latest" in text
    assert vault.verify("latest", read_data=1.0).ok


@pytest.mark.parametrize("engine", ["directory", pytest.param("restic", marks=pytest.mark.slow)])
def test_all_of_them_come_back_as_a_models_folder(
    make_vault: Callable[..., Vault], tmp_path: Path, engine: str
) -> None:
    folder = make_models(tmp_path / "ollama", "llama3.2:3b", "b:1")
    vault = make_vault(OllamaModels.BLOBS, tmp_path / "ollama", engine)
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert all(each.stored for each in report.manifest.ollama)
    (record,) = [each for each in report.manifest.components if each.name is Component.OLLAMA]
    assert record.files == len(content(folder))
    assert record.size_bytes == sum(map(len, content(folder).values()))
    restored = vault.restore("latest", target=tmp_path / "back")
    assert content(restored.target / "outside/ollama/models") == content(folder)
    assert "outside/ollama/models/ is a models folder" in (restored.target / "RESTORE.txt").read_text()
    for share in (0.0, 1.0):
        assert vault.verify("latest", read_data=share).ok
    assert "outside" not in {path.name for path in (tmp_path / "data").iterdir()}


def test_they_can_be_restored_alone_and_left_away(make_vault: Callable[..., Vault], tmp_path: Path) -> None:
    folder = make_models(tmp_path / "ollama", "a:1")
    vault = make_vault(OllamaModels.BLOBS, tmp_path / "ollama")
    vault.snapshot()
    alone = vault.restore("latest", target=tmp_path / "alone", components=[Component.OLLAMA])
    assert content(alone.target / "outside/ollama/models") == content(folder)
    assert not (alone.target / "data" / "webui.db").exists()
    rest = vault.restore("latest", target=tmp_path / "rest", components=[Component.DATABASE, Component.CONFIGURATION])
    assert (rest.target / "outside" / "vault.yaml").exists()
    assert not (rest.target / "outside" / "ollama").exists()


def test_an_in_place_restore_does_not_touch_them(make_vault: Callable[..., Vault], tmp_path: Path) -> None:
    make_models(tmp_path / "ollama", "a:1")
    vault = make_vault(OllamaModels.BLOBS, tmp_path / "ollama")
    vault.snapshot()
    before = content(tmp_path / "ollama")
    plan = vault.plan_replacement("latest")
    assert Component.OLLAMA not in plan.components
    vault.replace(plan)
    assert content(tmp_path / "ollama") == before
    assert not (tmp_path / "data" / "outside").exists()


def test_a_blob_with_other_bytes_is_found(make_vault: Callable[..., Vault], tmp_path: Path) -> None:
    folder = make_models(tmp_path / "ollama", "a:1")
    blob = max((folder / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(bytes(blob.stat().st_size))  # on the disk already, of the same size
    vault = make_vault(OllamaModels.BLOBS, tmp_path / "ollama")
    vault.snapshot()
    with pytest.raises(ContentMismatchError, match=f"{blob.name} is not what its name says"):
        vault.restore("latest", target=tmp_path / "back")


@pytest.mark.parametrize(
    ("place", "said"), [(None, "set instance.ollama_dir"), ("nowhere", "does not hold Ollama's models")]
)
def test_what_is_asked_for_and_is_not_there_makes_a_snapshot_incomplete(
    make_vault: Callable[..., Vault], tmp_path: Path, place: str | None, said: str
) -> None:
    vault = make_vault(OllamaModels.MODELS, tmp_path / place if place else None)
    report = vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert any(said in problem for problem in report.problems)


def test_a_model_that_is_not_whole_makes_a_snapshot_incomplete_and_is_named(
    make_vault: Callable[..., Vault], tmp_path: Path
) -> None:
    folder = make_models(tmp_path / "ollama", "a:1", "b:1")
    layer = json.loads((folder / "manifests/registry.ollama.ai/library/a/1").read_bytes())["layers"][0]
    (folder / "blobs" / layer["digest"].replace(":", "-")).unlink()
    report = make_vault(OllamaModels.BLOBS, tmp_path / "ollama").snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    assert any(problem.startswith("Ollama's model a:1 is incomplete") for problem in report.problems)
    assert report.manifest
    assert [(each.name, each.stored) for each in report.manifest.ollama] == [("a:1", False), ("b:1", True)]
