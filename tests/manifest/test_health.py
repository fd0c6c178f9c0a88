"""A captured tree is looked at in the operator's words."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.components.database.facts import FileRow, file_rows, read_facts
from owui_vault.components.sqlite_files import open_at_rest
from owui_vault.components.uploads import UploadFindings, check_uploads, names, sha256_of
from owui_vault.manifest.application_facts import read_stage
from owui_vault.manifest.health import examine


def change(database: Path, *statements: tuple[str, tuple[object, ...]] | str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        for statement in statements:
            connection.execute(*([statement] if isinstance(statement, str) else statement))


def upload(data_dir: Path) -> Path:
    return next(each for each in sorted((data_dir / "uploads").iterdir()) if "document" in each.name)


def test_nothing_is_wrong_with_the_real_instances(at_rest: Path) -> None:
    found = examine(at_rest)
    assert (found.broken, found.problems, found.warnings) == ((), (), ())
    with open_at_rest(at_rest / "webui.db") as connection:
        uploads = check_uploads(file_rows(connection), at_rest / "uploads", hash_of=sha256_of)
    assert uploads == UploadFindings()
    assert len(found.collections) in (11, 12)


def test_looking_leaves_no_trace(at_rest: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in at_rest.rglob("*")}
    examine(at_rest)
    assert {path: path.stat().st_mtime_ns for path in at_rest.rglob("*")} == before


def test_a_row_without_upload_was_so_at_the_source(at_rest: Path) -> None:
    upload(at_rest).unlink()
    found = examine(at_rest)
    assert found.problems == ()
    assert "1 upload is missing at the source: " in found.warnings[0]
    assert "document-s-" in found.warnings[0]


def test_an_upload_of_the_wrong_size_is_a_problem(at_rest: Path) -> None:
    path = upload(at_rest)
    path.write_bytes(path.read_bytes()[:-1])
    assert "1 upload is not of the recorded size" in examine(at_rest).problems[0]


def test_a_flipped_byte_in_an_upload_is_found_by_who_reads_it(newest: Path) -> None:
    path = upload(newest)
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    assert examine(newest).problems == ()
    with open_at_rest(newest / "webui.db") as connection:
        found = check_uploads(file_rows(connection), newest / "uploads", hash_of=sha256_of)
    assert found == UploadFindings(wrong_hash=[path.name])


def test_a_missing_vector_store_is_a_warning(at_rest: Path) -> None:
    shutil.rmtree(at_rest / "vector_db")
    found = examine(at_rest)
    assert "there is no vector store" in found.warnings[0]
    assert found.broken == ()


def test_lost_vectors_break_the_capture(mixed: Callable[[str, str], Path], newest: Path) -> None:
    shutil.rmtree(newest / "vector_db")
    shutil.copytree(mixed("c", "a") / "vector_db", newest / "vector_db")
    found = examine(newest)
    assert "collection knowledge: 1,999 of 3,700 vectors are lost" in found.broken[0]
    assert found.collections[0].lost == 1999


@pytest.mark.parametrize("name", ["webui.db", "vector_db/chroma.sqlite3"])
def test_a_damaged_database_is_named_and_does_not_stop_the_look(at_rest: Path, name: str) -> None:
    path = at_rest / name
    content = bytearray(path.read_bytes())
    content[100:4096] = os.urandom(3996)
    path.write_bytes(content)
    found = examine(at_rest)
    assert f"{name} cannot be read" in found.broken[0]
    assert read_stage(at_rest).database.fingerprint == ("" if name == "webui.db" else read_facts(at_rest).fingerprint)


HOSTILE = [
    "../../../etc/passwd",
    "/etc/passwd",
    "/app/backend/data/uploads/../../../etc/passwd",
    "/app/backend/data/uploads/..",
    "/app/backend/data/uploads/",
    "uploads",
    "new\nline",
    "\udcff",
    "{0}%s,;'\"",
    "/app/backend/data/uploads/x\0y",
]


def test_hostile_paths_are_shown_on_one_line_and_never_followed(newest: Path) -> None:
    for number, path in enumerate(HOSTILE):
        raw = path.encode(errors="surrogateescape")
        change(newest / "webui.db", ("INSERT INTO file (id, path) VALUES (?, CAST(? AS TEXT))", (f"h{number}", raw)))
    found = examine(newest)
    assert found.problems == ()
    text = next(each for each in found.warnings if "outside uploads/" in each)
    assert text.startswith(f"{len(HOSTILE)} rows of `file` point to something outside uploads/: ")
    assert "\n" not in "".join(found.warnings)


@pytest.mark.parametrize(
    "meta",
    ["", "null", "[]", '{"size": -1}', '{"size": "12"}', '{"size": true}', '{"size": 1e99}', "{", "[" * 100_000, '"x"'],
)
def test_hostile_metadata_says_nothing(newest: Path, meta: str) -> None:
    change(newest / "webui.db", ("UPDATE file SET meta = ?", (meta,)))
    found = examine(newest)
    assert (found.problems, found.broken) == ((), ())


def test_buckets_and_older_places_are_told(newest: Path) -> None:
    change(
        newest / "webui.db",
        ("INSERT INTO file (id, path) VALUES ('s', ?)", ("s3://bucket/key",)),
        ("INSERT INTO file (id, path) VALUES ('o', ?)", ("/old/place/uploads/x",)),
    )
    warnings = examine(newest).warnings
    assert any("1 uploads are in a bucket" in each for each in warnings)
    assert any("some below /old/place" in each for each in warnings)
    assert read_facts(newest).app_data_dir == "/app/backend/data"


def test_who_it_is_survives_the_upgrade_of_everything_but_the_first_user(at_rest: Path) -> None:
    before = read_facts(at_rest)
    change(at_rest / "webui.db", "DELETE FROM chat", "UPDATE user SET name = 'x', email = id, updated_at = 0")
    assert read_facts(at_rest).fingerprint == before.fingerprint
    change(at_rest / "webui.db", "DELETE FROM user WHERE role = 'admin'")
    assert read_facts(at_rest).fingerprint != before.fingerprint
    change(at_rest / "webui.db", "DELETE FROM user")
    assert read_facts(at_rest).fingerprint == ""


def test_the_real_facts_are_read(at_rest: Path) -> None:
    facts = read_facts(at_rest)
    assert facts.alembic_head in ("0bd252b206fb", "c440947495f3")
    assert facts.app_data_dir == "/app/backend/data"
    assert facts.tables["file"] == 8
    assert facts.sealed == ()


def test_what_is_sealed_with_the_key_is_named(newest: Path) -> None:
    token = "gAAAAABn" + "x" * 90
    change(
        newest / "webui.db",
        ("UPDATE auth SET mfa = ? WHERE rowid = 1", (json.dumps({"secret": token}),)),
        ("UPDATE function SET valves = ?", (json.dumps(token),)),
        ("INSERT INTO oauth_session VALUES ('a', 'b', 'c', ?, 1, 1, 1)", (token,)),
        ("UPDATE config SET value = ? WHERE key = 'tool_server.connections'", (json.dumps([{"info": token}]),)),
    )
    assert read_facts(newest).sealed == (
        "second factors (MFA) of 1 people",
        "encrypted valves of 1 functions",
        "1 OAuth sessions",
        "1 encrypted settings",
    )


def test_a_relative_data_directory_is_known_as_such() -> None:
    row = FileRow(id="1", path="rel/data/uploads/a_b.txt")
    assert (row.data_dir, row.upload) == ("rel/data", "a_b.txt")
    assert FileRow(id="1", path="https://x.blob.core/uploads/a").upload == ""


def test_many_names_are_cut() -> None:
    assert names(["a", "b\n", "\udcff"]) == "a, b\\n, \\udcff"
    assert names(map(str, range(1006))) == "0, 1, 2, 3, 4 and 1,001 more"


def test_a_knowledge_base_without_vectors_is_told(at_rest: Path) -> None:
    chroma = at_rest / "vector_db" / "chroma.sqlite3"
    with closing(sqlite3.connect(at_rest / "webui.db")) as connection:
        ((id_, name),) = connection.execute("SELECT id, name FROM knowledge ORDER BY name LIMIT 1").fetchall()
    change(chroma, ("DELETE FROM collections WHERE name = ?", (id_,)))
    (text,) = examine(at_rest).warnings
    assert text == f"knowledge bases with files but without vectors, where searches find nothing: {name}"


def test_what_was_left_out_on_purpose_is_no_flaw(mixed: Callable[[str, str], Path], newest: Path) -> None:
    shutil.rmtree(newest / "vector_db")
    shutil.copytree(mixed("b", "b") / "vector_db", newest / "vector_db")
    (pickle,) = newest.glob("vector_db/*/index_metadata.pickle")
    shutil.rmtree(pickle.parent)
    gone = upload(newest)
    gone.unlink()
    assert "vectors are lost" in " ".join(examine(newest).broken)
    names_left_out = (f"vector_db/{pickle.parent.name}/", f"uploads/{gone.name}")
    found = examine(newest, is_left_out=lambda name: name.startswith(names_left_out))
    assert (found.broken, found.problems) == ((), ())
    assert f"1 upload is left out, as configured: {gone.name}" in found.warnings
    assert any("the vector index of knowledge was left out, as configured" in each for each in found.warnings)
    assert not any("missing at the source" in each for each in found.warnings)
    assert (found.collections[0].vectors, found.collections[0].lost) == (2600, 0)
    shutil.rmtree(newest / "vector_db")
    (told,) = [each for each in examine(newest, is_left_out=lambda _: True).warnings if "vector store" in each]
    assert told.startswith("the vector store was left out, as configured")


def test_each_collection_has_the_name_of_its_knowledge_base(at_rest: Path) -> None:
    with closing(sqlite3.connect(at_rest / "webui.db")) as connection:
        known = dict(connection.execute("SELECT id, name FROM knowledge").fetchall())
    found = {each.name: each.knowledge for each in examine(at_rest).collections}
    assert known.keys() & found.keys()
    assert {name: told for name, told in found.items() if told} == {
        name: told for name, told in known.items() if name in found
    }


def test_collections_are_known_where_the_database_cannot_be_read(at_rest: Path) -> None:
    (at_rest / "webui.db").write_bytes(b"nonsense" * 4096)
    found = examine(at_rest)
    assert found.broken
    assert len(found.collections) in (11, 12)
