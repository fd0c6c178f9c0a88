"""What a real snapshot says about itself is what the published schemas say, and nothing less."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from owui_vault import VERSION, ContentMismatchError, DataDirectory, LaterFormatError, Repository, Secret, Vault
from owui_vault.engines.common.labels import label_from_json, label_to_json
from owui_vault.manifest.documents import manifest_from_bytes
from owui_vault.model import KINDS
from owui_vault.model.json_codec import to_json
from owui_vault.testing import DirectoryEngine
from owui_vault.testing.engines.bench import make_label
from tests.operations.earlier import VERSIONS, unpack
from tests.pages import ROOT


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    described = json.loads((ROOT / "docs" / f"{kind}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(described)
    checker = jsonschema.FormatChecker(formats=())
    checker.checks("date-time", raises=ValueError)(lambda text: bool(datetime.fromisoformat(text)))
    return jsonschema.Draft202012Validator(described, format_checker=checker)


@pytest.fixture(scope="module")
def told(small_instance: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Manifest, from the file in the restored tree, and label, as `snapshots --json` prints it, of a real instance.

    It is the second snapshot, after a verification, so that the ledger is not empty.
    """
    folder = tmp_path_factory.mktemp("schemas")
    engine = DirectoryEngine(folder / "repository", Secret("x"))
    instance = DataDirectory(small_instance(folder / "instance"), exclude=("*.log",))
    with Vault(instance, [Repository("one", engine)], state_dir=folder / "state") as vault:
        vault.initialize()
        vault.snapshot()
        assert vault.verify("latest").ok
        vault.snapshot(tags=["release"], plan="nightly")
        newest = vault.snapshots()[0]
        vault.restore(newest, target=folder / "copy")
    manifest = json.loads((folder / "copy" / "manifest.json").read_text(encoding="utf-8"))
    return {"manifest": manifest, "label": to_json(newest.label)}


def test_what_a_real_snapshot_says_is_what_the_schemas_say(told: dict[str, Any]) -> None:
    for kind, value in told.items():
        assert [error.message for error in validator(kind).iter_errors(value)] == [], kind


def test_it_says_who_took_it_and_how_much_there_was(told: dict[str, Any]) -> None:
    manifest, label = told["manifest"], told["label"]
    numbers = {"plan": "nightly", "users": 4, "chats": 20, "uploads": 8, "format": 2}
    for value in told.values():
        assert {name: value[name] for name in numbers} == numbers
    assert label["version"] == VERSION
    assert manifest["sqlite"] == sqlite3.sqlite_version
    assert {each["name"]: (each["kind"], each["schema"]) for each in manifest["components"]} == {
        "database": ("sqlite", manifest["application"]["alembic_head"]),
        "vectors": ("chroma", manifest["application"]["chroma_migration"]),
        "uploads": ("files", ""),
        "secret_key": ("key", ""),
    }
    assert {each["checked"] for each in manifest["databases"]} == {"full"}  # by the first run, of the very same bytes


@pytest.mark.parametrize("version", VERSIONS)
def test_what_earlier_versions_said_is_what_the_schemas_of_their_format_say(version: str, tmp_path: Path) -> None:
    site = unpack(version, "restic", tmp_path)
    (path,) = (site.folder / "state").glob("work/*/stage/manifest.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    own, other = ("manifest-1", "manifest") if version == "written_by_0.1" else ("manifest", "manifest-1")
    assert [error.message for error in validator(own).iter_errors(written)] == []
    assert not validator(other).is_valid(written)
    manifest = manifest_from_bytes(path.read_bytes())
    numbers = (manifest.users, manifest.chats, manifest.uploads)
    assert (manifest.format, numbers) == ((1, (None, None, None)) if own == "manifest-1" else (2, (1, 5, 5)))
    assert {each.name: each.kind for each in manifest.components} == {
        each.name: KINDS[each.name] for each in manifest.components
    }


def test_a_label_of_format_1_is_what_its_schema_says() -> None:
    label = make_label(format=1, plan=None)
    assert label_from_json(label_to_json(label)) == label
    assert [error.message for error in validator("label-1").iter_errors(to_json(label))] == []
    assert not validator("label").is_valid(to_json(label))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3, "created_by": "owui_vault 7.1.0"}, "has format 3"),
        ({"components": [{"name": "notes", "kind": "files"}]}, "holds a component 'notes'"),
        ({"components": [{"name": "database", "kind": "postgres"}]}, "holds database of kind 'postgres'"),
    ],
)
def test_a_manifest_that_says_what_is_not_known_here_names_the_version(
    told: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(LaterFormatError, match=said) as caught:
        manifest_from_bytes(json.dumps(told["manifest"] | change).encode())
    wanted = change.get("created_by", f"owui_vault {VERSION}")
    assert f"Install {wanted} or later" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [{"format": None}, {"format": "2"}, {"format": True}, {"format": 0}, {"components": 7}, {"components": [7]}],
)
def test_what_is_no_manifest_is_called_so(told: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(ContentMismatchError, match="cannot be read"):
        manifest_from_bytes(json.dumps(told["manifest"] | change).encode())


def test_the_manifest_that_was_looked_at_has_something_in_every_list(told: dict[str, Any]) -> None:
    """An empty list would fit any description of what is in it."""
    lists = ("databases", "components", "vector_files", "collections", "ledger", "tags")
    assert {name for name in lists if not told["manifest"][name]} == set()


def test_nothing_that_is_written_may_be_missing(told: dict[str, Any]) -> None:
    """A reader can rely on every field: which format it is first of all."""
    for kind, value in told.items():
        described = validator(kind).schema
        assert isinstance(described, Mapping)
        assert set(described["required"]) == set(described["properties"]) == set(value), kind
        for field in value:
            lacking = {key: each for key, each in value.items() if key != field}
            assert not validator(kind).is_valid(lacking), (kind, field)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("manifest", {"outcome": "perfect"}),
        ("manifest", {"instant": "yesterday"}),
        ("manifest", {"sequence": "7"}),
        ("manifest", {"databases": [{"path": "webui.db"}]}),
        ("label", {"mode": "hopeful"}),
        ("label", {"format": None}),
    ],
)
def test_the_schemas_refuse_what_is_wrong(told: dict[str, Any], kind: str, wrong: dict[str, Any]) -> None:
    assert not validator(kind).is_valid(told[kind] | wrong)
