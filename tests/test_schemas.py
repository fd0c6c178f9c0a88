"""What a real snapshot says about itself is what the published schemas say, and nothing less."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from owui_vault import DataDirectory, Repository, Secret, Vault
from owui_vault.model.json_codec import to_json
from owui_vault.testing import DirectoryEngine
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
        vault.snapshot(tags=["release"])
        newest = vault.snapshots()[0]
        vault.restore(newest, target=folder / "copy")
    manifest = json.loads((folder / "copy" / "manifest.json").read_text(encoding="utf-8"))
    return {"manifest": manifest, "label": to_json(newest.label)}


def test_what_a_real_snapshot_says_is_what_the_schemas_say(told: dict[str, Any]) -> None:
    for kind, value in told.items():
        assert [error.message for error in validator(kind).iter_errors(value)] == [], kind


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
