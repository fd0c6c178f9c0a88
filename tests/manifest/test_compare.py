"""Whatever differs from the manifest is found, and said so that an operator understands it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault.errors import CancelledError
from owui_vault.manifest.compare import Comparison, compare_with_manifest
from owui_vault.model import Component, ComponentKind, ComponentRecord, Entry, Manifest

Describe = Callable[[Path], Manifest]
List = Callable[[Path], list[Entry]]


def flip(path: Path, at: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def problems(data_dir: Path, manifest: Manifest) -> str:
    found = compare_with_manifest(data_dir, manifest)
    assert found.problems, "the difference was not noticed"
    return "\n".join(found.problems)


def test_what_came_back_whole_has_no_problem(at_rest: Path, manifest_of: Describe, entries_of: List) -> None:
    manifest = manifest_of(at_rest)
    assert compare_with_manifest(at_rest, manifest).problems == ()
    assert compare_with_manifest(at_rest, manifest, listing=entries_of(at_rest)).problems == ()
    assert compare_with_manifest(at_rest, manifest).doubtful == ()


def test_looking_leaves_no_trace(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    before = {path: path.stat().st_mtime_ns for path in at_rest.rglob("*")}
    compare_with_manifest(at_rest, manifest)
    assert {path: path.stat().st_mtime_ns for path in at_rest.rglob("*")} == before


def test_a_flipped_byte_in_the_database(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    flip(at_rest / "webui.db", 9000)
    assert problems(at_rest, manifest) == "webui.db is not what was stored: same size, other content (SHA-256 differs)"


@pytest.mark.parametrize("name", ["webui.db", "vector_db/chroma.sqlite3"])
def test_a_database_cut_short_or_missing(at_rest: Path, manifest_of: Describe, name: str) -> None:
    manifest = manifest_of(at_rest)
    content = (at_rest / name).read_bytes()
    for kept in (len(content) - 1, 50, 0):
        (at_rest / name).write_bytes(content[:kept])
        assert f"{name} is cut short: {kept:,} of {len(content):,} bytes" in problems(at_rest, manifest)
    (at_rest / name).unlink()
    assert f"{name} is missing" in problems(at_rest, manifest)
    (at_rest / name).symlink_to("/etc/passwd")
    assert f"{name} is not a file" in problems(at_rest, manifest)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_stray_file_beside_a_database(at_rest: Path, manifest_of: Describe, suffix: str) -> None:
    manifest = manifest_of(at_rest)
    (at_rest / f"webui.db{suffix}").write_bytes(b"x")
    assert f"webui.db{suffix} is beside webui.db" in problems(at_rest, manifest)


def test_a_truncated_index_file(newest: Path, mixed: Callable[[str, str], Path], manifest_of: Describe) -> None:
    shutil.rmtree(newest / "vector_db")
    shutil.copytree(mixed("b", "b") / "vector_db", newest / "vector_db")
    manifest = manifest_of(newest)
    (level0,) = (path for path in newest.glob("vector_db/*/data_level0.bin"))
    level0.write_bytes(level0.read_bytes()[:1000])
    text = problems(newest, manifest)
    assert "data_level0.bin is cut short: 1,000 of " in text
    assert "collection knowledge: data_level0.bin of its index is cut short" in text


def test_a_stale_index_directory(newest: Path, mixed: Callable[[str, str], Path], manifest_of: Describe) -> None:
    shutil.rmtree(newest / "vector_db")
    shutil.copytree(mixed("b", "b") / "vector_db", newest / "vector_db")
    manifest = manifest_of(newest)
    shutil.rmtree(newest / "vector_db")
    shutil.copytree(mixed("b", "a") / "vector_db", newest / "vector_db")
    assert "collection knowledge: 999 of 2,600 vectors are lost" in problems(newest, manifest)


def test_a_missing_upload(at_rest: Path, manifest_of: Describe, entries_of: List) -> None:
    manifest = manifest_of(at_rest)
    (path,) = at_rest.glob("uploads/*document-s-3*")
    path.unlink()
    for listing in (None, entries_of(at_rest)):
        text = "\n".join(compare_with_manifest(at_rest, manifest, listing=listing).problems)
        assert "uploads: 7 files with " in text
        assert f"1 uploads in the database are missing: {path.name}" in text


def test_an_upload_that_was_missing_at_the_source_is_no_problem(at_rest: Path, manifest_of: Describe) -> None:
    next((at_rest / "uploads").iterdir()).unlink()
    assert compare_with_manifest(at_rest, manifest_of(at_rest)).problems == ()


def test_an_upload_of_another_size(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    (path,) = at_rest.glob("uploads/*document-s-3*")
    path.write_bytes(path.read_bytes() + b"x")
    assert f"1 uploads differ in size from what the database says: {path.name}" in problems(at_rest, manifest)


def test_an_upload_of_another_name(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    (path,) = at_rest.glob("uploads/*document-s-3*")
    path.rename(path.with_name("x" + path.name[1:]))
    assert "uploads: other names or sizes than the manifest lists (8 files)" in problems(at_rest, manifest)


def test_an_upload_with_a_flipped_byte_has_changed(newest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(newest)
    (path,) = newest.glob("uploads/*document-s-3*")
    flip(path)
    found = compare_with_manifest(newest, manifest)
    assert found.problems == ()
    (text,) = found.changed
    assert text.startswith("1 uploads are not what the application received (SHA-256)")
    assert text.endswith(path.name)


def test_names_that_an_engine_cannot_list_are_no_problem(
    at_rest: Path, manifest_of: Describe, entries_of: List
) -> None:
    """borg lists a `?` for each byte that is no UTF-8. What is more or less than was stored is one all the same."""
    (at_rest / "uploads/not-\udcff\udcfe-utf8").write_bytes(b"xx")
    manifest, entries = manifest_of(at_rest), entries_of(at_rest)
    veiled = [replace(each, path=each.path.replace("\udcff", "?").replace("\udcfe", "?")) for each in entries]
    assert replace(compare_with_manifest(at_rest, manifest, listing=entries), identical=()) == Comparison()
    found = compare_with_manifest(at_rest, manifest, listing=veiled)
    assert found.problems == ()
    assert [text.partition(":")[0] for text in found.doubtful] == ["uploads"]
    assert "verify --read-data" in found.doubtful[0]
    shorter = [each for each in veiled if not each.path.endswith("document-s-1.txt")]
    assert "uploads: 8 files" in "".join(compare_with_manifest(at_rest, manifest, listing=shorter).problems)


def test_only_what_was_fetched_is_asked_for(
    at_rest: Path, manifest_of: Describe, entries_of: List, tmp_path: Path
) -> None:
    manifest, entries = manifest_of(at_rest), entries_of(at_rest)
    shutil.rmtree(at_rest / "uploads")
    shutil.rmtree(at_rest / "cache")
    fetched = (Component.DATABASE, Component.VECTORS)
    assert compare_with_manifest(at_rest, manifest, components=fetched).problems == ()
    assert compare_with_manifest(at_rest, manifest, components=fetched, listing=entries).problems == ()
    shorter = [each for each in entries if not each.path.endswith("document-s-1.txt")]
    found = compare_with_manifest(at_rest, manifest, components=fetched, listing=shorter)
    assert "document-s-1.txt" in found.problems[-1]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert compare_with_manifest(empty, manifest, components=(), listing=entries).problems == ()


def test_single_components_need_no_database(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    (at_rest / "webui.db").unlink()
    assert compare_with_manifest(at_rest, manifest, components=(Component.UPLOADS,)).problems == ()


def test_a_damaged_snapshot_that_came_back_as_it_was_stored_has_no_problem(
    at_rest: Path, manifest_of: Describe
) -> None:
    """INCOMPLETE ones can be restored too: their manifest says what was wrong."""
    flip(at_rest / "webui.db", 9000)
    content = bytearray((at_rest / "webui.db").read_bytes())
    content[5000:9000] = os.urandom(4000)
    (at_rest / "webui.db").write_bytes(content)
    assert compare_with_manifest(at_rest, manifest_of(at_rest)).problems == ()


def test_a_missing_component_is_told(at_rest: Path, manifest_of: Describe) -> None:
    (at_rest / "config.json").write_text("{}")
    manifest = manifest_of(at_rest)
    (at_rest / "config.json").unlink()
    assert problems(at_rest, manifest) == "legacy: 0 files with 0 bytes instead of 1 with 2"


def test_names_in_messages_stay_on_their_line(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    record = replace(manifest.vector_files[0], path="vector_db/new\nline\udcff")
    text = problems(at_rest, replace(manifest, vector_files=(record,)))
    assert "new\\nline\\udcff is missing" in text


def test_a_manifest_cannot_lead_outside(at_rest: Path, manifest_of: Describe) -> None:
    manifest = manifest_of(at_rest)
    for path in ("/etc/passwd", "../../../../etc/passwd"):
        record = replace(manifest.vector_files[0], path=f"vector_db/{path}" if path.startswith(".") else path)
        text = "\n".join(compare_with_manifest(at_rest, replace(manifest, vector_files=(record,))).problems)
        assert "is not in the data directory" in text


@pytest.mark.parametrize("listed", [False, True])
def test_a_missing_secret_key_is_told(at_rest: Path, manifest_of: Describe, entries_of: List, listed: bool) -> None:
    manifest = manifest_of(at_rest)
    records = [
        ComponentRecord(name=Component.SECRET_KEY, kind=ComponentKind.KEY, files=1, size_bytes=32, digest="x"),
        ComponentRecord(name=Component.CONFIGURATION, kind=ComponentKind.FILES, files=2, size_bytes=30, digest="x"),
    ]
    manifest = replace(manifest, components=(*manifest.components, *records))
    outside = at_rest.parent / "outside"
    outside.mkdir()
    sizes = {"webui_secret_key": 32, "environment": 10, "vault.yaml": 20}

    def found() -> tuple[str, ...]:
        entries = [
            *entries_of(at_rest),
            *(Entry(path=f"outside/{name}", kind="file", size_bytes=size) for name, size in sizes.items()),
        ]
        return compare_with_manifest(at_rest, manifest, listing=entries if listed else None).problems

    for name, size in sizes.items():
        (outside / name).write_bytes(bytes(size))
    assert found() == ()
    (outside / "webui_secret_key").unlink()
    del sizes["webui_secret_key"]
    assert found() == ("outside/: secret_key: 0 files with 0 bytes instead of 1 with 32",)


def test_comparing_ends_when_it_is_cancelled(at_rest: Path, manifest_of: Describe, entries_of: List) -> None:
    manifest = manifest_of(at_rest)
    cancel = threading.Event()
    cancel.set()
    for listing in (None, entries_of(at_rest)):
        with pytest.raises(CancelledError):
            compare_with_manifest(at_rest, manifest, listing=listing, cancel=cancel)
