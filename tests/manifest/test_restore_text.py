"""RESTORE.txt alone brings an instance back."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from owui_vault.components.database.facts import read_facts
from owui_vault.manifest.restore_text import Restored, restore_text
from owui_vault.model import Component, ComponentKind, ComponentRecord, Manifest, Outcome, SecretKeyRecord

Describe = Callable[[Path], Manifest]
WHOLE = Restored(outside=frozenset({"webui_secret_key", "vault.yaml"}))


def test_it_says_what_a_stranger_needs(at_rest: Path, manifest_of: Describe) -> None:
    text = restore_text(manifest_of(at_rest), WHOLE)
    for words in (
        "2026-11-20T03:00:00Z",
        "Open WebUI version: 0.12.4",
        "outside/webui_secret_key",
        "pip install open-webui==0.12.4",
        "ghcr.io/open-webui/open-webui:v0.12.4",
        "/app/backend/data/uploads",
        "NEVER start an older version",
    ):
        assert words in text
    assert "INCOMPLETE" not in text
    assert "Everything in it belongs to one moment: 2026-11-20" in text
    assert "the program sqlite3 must be installed" in text


def test_only_what_is_there_is_listed_and_its_sections_are_counted(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    for outside, said in (
        ({"webui_secret_key", "environment"}, "  outside/        the secret key, the settings\n"),
        ({"vault.yaml"}, "  outside/        the backup's configuration\n"),
        (set(), ""),
    ):
        text = restore_text(manifest, Restored(outside=frozenset(outside)))
        assert said in text
        assert ("  outside/   " in text) is bool(said)
        numbers = [int(number) for number in re.findall(r"^(\d)\. .*\n---", text, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_how_to_give_the_key_is_said_where_there_is_one(at_rest: Path, manifest_of: Describe) -> None:
    """An empty WEBUI_SECRET_KEY would keep Open WebUI from starting."""
    manifest = manifest_of(at_rest)
    cat = 'WEBUI_SECRET_KEY="$(cat outside/webui_secret_key)"'
    found = restore_text(replace(manifest, secret_key=SecretKeyRecord(found=True)), WHOLE)
    assert f"    -v /absolute/path/to/data:/app/backend/data \\\n    -e {cat} \\\n    ghcr.io" in found
    assert f"  export DATA_DIR=/absolute/path/to/data\n  export {cat}\n  open-webui serve\n" in found
    missing = restore_text(replace(manifest, secret_key=SecretKeyRecord(found=False)), WHOLE)
    assert cat not in missing
    assert "    -v /absolute/path/to/data:/app/backend/data \\\n    ghcr.io" in missing
    assert "  export DATA_DIR=/absolute/path/to/data\n  open-webui serve\n" in missing


def test_its_statement_really_moves_the_uploads(at_rest: Path, manifest_of: Describe) -> None:
    text = restore_text(manifest_of(at_rest), WHOLE)
    match = re.search(r'sqlite3 NEW/webui.db "(UPDATE .*?;)"', text, re.DOTALL)
    assert match
    with closing(sqlite3.connect(at_rest / "webui.db")) as connection:
        assert connection.execute(match[1].replace("NEW", str(at_rest))).rowcount == 8
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    assert read_facts(at_rest).app_data_dir == str(at_rest)


def test_a_missing_key_is_not_hidden(at_rest: Path, manifest_of: Describe) -> None:
    key = SecretKeyRecord(found=False, needed_because=("second factors (MFA) of 1 people",))
    text = restore_text(replace(manifest_of(at_rest), secret_key=key), WHOLE)
    assert "The secret key is NOT here" in text
    assert "second factors (MFA) of 1 people" in text


def test_an_incomplete_one_begins_with_that(at_rest: Path, manifest_of: Describe) -> None:
    manifest = replace(manifest_of(at_rest), outcome=Outcome.INCOMPLETE, problems=("not proven",))
    text = restore_text(manifest, WHOLE)
    assert "ATTENTION: this snapshot is INCOMPLETE.\n  - not proven" in text
    assert "belongs to one moment" not in text
    assert "It was taken at 2026-11-20" in text


def test_settings_are_mentioned_where_they_are(at_rest: Path, manifest_of: Describe) -> None:
    """The component holds other files too: a configuration of ours is no list of settings."""
    manifest = manifest_of(at_rest)
    settings = ComponentRecord(name=Component.CONFIGURATION, kind=ComponentKind.FILES, files=1, size_bytes=1, digest="")
    configured = replace(manifest, components=(*manifest.components, settings))
    assert "outside/environment" not in restore_text(configured, WHOLE)
    assert "outside/environment" in restore_text(configured, Restored(outside=frozenset({"environment"})))


def test_a_part_is_not_called_a_whole(at_rest: Path, manifest_of: Describe) -> None:
    manifest = replace(manifest_of(at_rest), secret_key=SecretKeyRecord(found=True))
    uploads = restore_text(manifest, Restored(only=(Component.UPLOADS,)))
    assert "Only a part of the snapshot was restored: uploads." in uploads
    for untrue in ("a complete DATA_DIR:", "docker run", "cat outside/webui_secret_key"):
        assert untrue not in uploads
    database = restore_text(manifest, Restored(only=(Component.DATABASE, Component.UPLOADS)))
    assert "Only a part of the snapshot was restored: database, uploads." in database
    assert "UPDATE file SET path" in database
    assert "cat outside/webui_secret_key" not in database
    assert "The secret key was not restored with it" in database


def test_nothing_known_about_the_application_still_makes_a_text(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    bare = replace(manifest.application, version="", data_dir="", alembic_head="")
    text = restore_text(replace(manifest, application=bare), WHOLE)
    assert "pip install open-webui\n" in text
    assert "Where the data must lie" not in text
