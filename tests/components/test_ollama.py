"""Ollama's models: listed by their manifests, kept with or without their blobs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from owui_vault.components.ollama import copy
from owui_vault.components.ollama.copy import keep_models
from owui_vault.components.ollama.models import find_models, models_folder
from owui_vault.testing.instances.ollama import make_models


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_models_have_the_names_that_ollama_pulls_them_by(tmp_path: Path) -> None:
    folder = make_models(tmp_path, "llama3.2:3b", "someone/tuned:latest", "hf.co/bartowski/Tiny-GGUF:Q4")
    assert models_folder(tmp_path) == folder == tmp_path / "models"
    assert models_folder(folder) == folder
    found = find_models(folder)
    assert [each.name for each in found] == ["hf.co/bartowski/Tiny-GGUF:Q4", "llama3.2:3b", "someone/tuned:latest"]
    manifest = (folder / "manifests/registry.ollama.ai/library/llama3.2/3b").read_bytes()
    record = next(each for each in found if each.name == "llama3.2:3b").record(stored=False)
    assert record.digest == hashlib.sha256(manifest).hexdigest()
    layers = [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]
    assert record.size_bytes == sum(each["size"] for each in layers)


def test_where_there_are_no_models_there_is_no_folder(tmp_path: Path) -> None:
    assert models_folder(tmp_path / "nowhere") is None
    assert models_folder(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"config": {"digest": "sha256:../../etc/passwd", "size": 1}, "layers": []}',
        json.dumps({"config": {"digest": f"sha256:{'0' * 64}", "size": "1"}, "layers": []}).encode(),
        json.dumps({"config": {"digest": f"sha256:{'0' * 64}", "size": -1}, "layers": []}).encode(),
    ],
)
def test_what_is_no_manifest_is_passed_over(tmp_path: Path, text: bytes) -> None:
    folder = make_models(tmp_path, "good:1")
    (folder / "manifests/registry.ollama.ai/library/good/2").write_bytes(text)
    (folder / "manifests/stray").write_bytes(text)
    assert [each.name for each in find_models(folder)] == ["good:1"]


def test_the_list_alone_is_small(tmp_path: Path) -> None:
    folder = make_models(tmp_path / "ollama", "a:1", "b:1")
    kept = keep_models(folder, find_models(folder), tmp_path / "target", with_blobs=False)
    assert [(each.name, each.stored) for each in kept.models] == [("a:1", False), ("b:1", False)]
    assert kept.problems == ()
    assert {path.split("/")[1] for path in content(tmp_path / "target")} == {"manifests"}


def test_with_the_blobs_it_is_a_models_folder_of_ollamas(tmp_path: Path) -> None:
    folder = make_models(tmp_path / "ollama", "a:1", "b:1")
    (folder / "blobs/sha256-unfinished-partial").write_bytes(b"half")
    kept = keep_models(folder, find_models(folder), tmp_path / "target", with_blobs=True)
    assert all(each.stored for each in kept.models)
    assert kept.problems == ()
    expected = content(folder)
    del expected["blobs/sha256-unfinished-partial"]
    assert content(tmp_path / "target/models") == expected
    for path in (tmp_path / "target/models/blobs").iterdir():
        assert path.stat().st_ino == (folder / "blobs" / path.name).stat().st_ino, "large, and never changed: a link"


def test_where_no_link_is_possible_blobs_are_copied_with_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_models(tmp_path / "ollama", "a:1")
    for path in (folder / "blobs").iterdir():
        os.utime(path, ns=(1, 1_600_000_000_123_456_789))

    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    kept = keep_models(folder, find_models(folder), tmp_path / "target", with_blobs=True)
    assert kept.problems == ()
    assert content(tmp_path / "target/models") == content(folder)
    for path in (tmp_path / "target/models/blobs").iterdir():
        assert path.stat().st_mtime_ns == 1_600_000_000_123_456_789


@pytest.mark.parametrize("damage", ["missing", "short", "folder"])
def test_a_model_that_is_not_whole_is_named_and_the_others_are_kept(tmp_path: Path, damage: str) -> None:
    folder = make_models(tmp_path / "ollama", "a:1", "b:1")
    layer = json.loads((folder / "manifests/registry.ollama.ai/library/a/1").read_bytes())["layers"][0]
    blob = folder / "blobs" / layer["digest"].replace(":", "-")
    blob.unlink()
    if damage == "short":
        blob.write_bytes(b"x")
    if damage == "folder":
        blob.mkdir()
    kept = keep_models(folder, find_models(folder), tmp_path / "target", with_blobs=True)
    (problem,) = kept.problems
    assert problem.startswith("Ollama's model a:1 is incomplete")
    assert [(each.name, each.stored) for each in kept.models] == [("a:1", False), ("b:1", True)]


def test_no_room_for_copies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_models(tmp_path / "ollama", "a:1")
    monkeypatch.setattr(copy, "on_one_mount", lambda *_: False)
    monkeypatch.setattr("owui_vault.system.durable_files.free_bytes", lambda _: 10)
    kept = keep_models(folder, find_models(folder), tmp_path / "target", with_blobs=True)
    assert "copies of Ollama's models needs" in kept.problems[0]
    assert not kept.models[0].stored
    assert list((tmp_path / "target/models/blobs").iterdir()) == []


def test_blobs_that_are_links_are_followed(tmp_path: Path) -> None:
    """As people move large models to another disk."""
    folder = make_models(tmp_path / "ollama", "a:1")
    (folder / "blobs").rename(tmp_path / "disk")
    (folder / "blobs").symlink_to(tmp_path / "disk")
    kept = keep_models(folder, find_models(folder), tmp_path / "target", with_blobs=True)
    assert kept.problems == ()
    assert content(tmp_path / "target/models/blobs") == content(tmp_path / "disk")
