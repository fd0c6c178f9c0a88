"""Downloads work after a restore, and nothing but the paths of uploads is changed for that."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from owui_vault.components.database.facts import file_rows
from owui_vault.components.database.upload_paths import called_here, decide_paths, rewrite_paths
from owui_vault.components.sqlite_files import open_at_rest, read_header
from owui_vault.errors import ConfigError, RestoreError
from owui_vault.model import ApplicationRecord

IMAGE = "/app/backend/data"
CONTAINER = ApplicationRecord(data_dir=IMAGE, data_dir_here="/var/lib/docker/volumes/open-webui/_data")
PIP = ApplicationRecord(data_dir=IMAGE, data_dir_here=IMAGE)


def rows(data_dir: Path, query: str = "SELECT id, path FROM file ORDER BY id") -> list[tuple[object, ...]]:
    with open_at_rest(data_dir / "webui.db") as connection:
        return connection.execute(query).fetchall()


def everything_but_paths(data_dir: Path) -> dict[str, list[tuple[object, ...]]]:
    with open_at_rest(data_dir / "webui.db") as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall() for name in tables}
        columns = [row[1] for row in connection.execute("PRAGMA table_info(file)") if row[1] != "path"]
        found["file"] = connection.execute(f"SELECT {', '.join(columns)} FROM file ORDER BY id").fetchall()
    return found


def insert(data_dir: Path, *paths: str) -> None:
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        for path in paths:
            raw = path.encode(errors="surrogateescape")
            connection.execute("INSERT INTO file (id, path) VALUES (?, CAST(? AS TEXT))", (f"new {path!r}", raw))
        connection.commit()


@pytest.mark.parametrize(
    ("application", "wanted", "seen", "rewritten"),
    [
        (CONTAINER, None, IMAGE, False),
        (PIP, None, "/srv/copy/data", True),
        (CONTAINER, "/data", "/data", True),
        (CONTAINER, IMAGE + "/", IMAGE, False),
        (PIP, IMAGE, IMAGE, False),
        (ApplicationRecord(data_dir="rel/data", data_dir_here="/home/u/rel/data"), None, "/srv/copy/data", True),
        (ApplicationRecord(data_dir="rel/data", data_dir_here="/srv/x"), None, "rel/data", False),
        (ApplicationRecord(data_dir="/a/", data_dir_here="/a"), None, "/srv/copy/data", True),
        (ApplicationRecord(), None, "/srv/copy/data", False),
        (ApplicationRecord(data_dir="/srv/copy/data", data_dir_here="/srv/copy/data"), None, "/srv/copy/data", False),
    ],
)
def test_when_the_recorded_path_is_kept(
    application: ApplicationRecord, wanted: str | None, seen: str, rewritten: bool
) -> None:
    decision = decide_paths(Path("/srv/copy/data"), application, wanted)
    assert (decision.app_data_dir, decision.rewrite) == (seen, rewritten)


def test_a_pip_install_behind_a_symlink_is_known_as_such(at_rest: Path, tmp_path: Path) -> None:
    (tmp_path / "door").symlink_to(at_rest)
    assert called_here(at_rest, str(tmp_path / "door")) == str(tmp_path / "door")
    for elsewhere in (IMAGE, "", "rel/data", str(tmp_path), "/x\0y"):
        assert called_here(at_rest, elsewhere) == str(at_rest)


@pytest.mark.parametrize("wanted", ["", "relative", "./x", "/a\0b"])
def test_only_an_absolute_path_can_be_asked_for(at_rest: Path, wanted: str) -> None:
    with pytest.raises(ConfigError, match="is not a path at which the application can see its data"):
        rewrite_paths(at_rest, CONTAINER, app_data_dir=wanted)


def test_a_pip_install_finds_its_uploads_in_the_new_place(at_rest: Path) -> None:
    before, mode = everything_but_paths(at_rest), read_header(at_rest / "webui.db").journal_mode
    assert rewrite_paths(at_rest, PIP) == (8, str(at_rest))
    for _id, path in rows(at_rest):
        assert Path(str(path)).is_file()
        assert Path(str(path)).parent == at_rest / "uploads"
    assert everything_but_paths(at_rest) == before
    assert read_header(at_rest / "webui.db").journal_mode == mode
    assert sorted(path.name for path in at_rest.glob("webui.db*")) == ["webui.db"]


def test_twice_is_the_same_as_once(at_rest: Path) -> None:
    rewrite_paths(at_rest, PIP, app_data_dir="/one")
    there = ApplicationRecord(data_dir="/one", data_dir_here="/x")
    assert rewrite_paths(at_rest, there, app_data_dir="/one") == (0, "/one")
    assert rewrite_paths(at_rest, there, app_data_dir=IMAGE) == (8, IMAGE)


def test_a_container_keeps_its_paths_and_not_a_byte_changes(at_rest: Path) -> None:
    before = (at_rest / "webui.db").read_bytes()
    assert rewrite_paths(at_rest, CONTAINER) == (0, IMAGE)
    assert (at_rest / "webui.db").read_bytes() == before


def test_buckets_and_paths_to_elsewhere_stay_as_they_are(newest: Path) -> None:
    foreign = [
        "s3://bucket/uploads/x",
        "/etc/passwd",
        f"{IMAGE}/uploads/../../../etc/passwd",
        f"{IMAGE}/uploads/..",
        "../../uploads/y",
        "/other/place/uploads/not-here",
        "'; DROP TABLE file; --",
        "",
    ]
    insert(newest, *foreign)
    assert rewrite_paths(newest, PIP)[0] == 8
    paths = {str(path) for _id, path in rows(newest)}
    assert paths >= set(foreign)


def test_rows_of_an_older_place_whose_upload_is_here_come_along(newest: Path) -> None:
    (newest / "uploads" / "moved.txt").write_text("x")
    insert(newest, "/older/uploads/moved.txt", f"{IMAGE}/uploads/missing.txt")
    assert rewrite_paths(newest, PIP)[0] == 10
    paths = {str(path) for _id, path in rows(newest)}
    assert {f"{newest}/uploads/moved.txt", f"{newest}/uploads/missing.txt"} <= paths


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.text(min_size=1, max_size=300).filter(
        lambda text: "/" not in text and "\0" not in text and text not in (".", "..")
    )
)
def test_any_name_an_upload_can_have_survives(newest: Path, name: str) -> None:
    raw = f"{IMAGE}/uploads/{name}".encode(errors="surrogatepass")
    with closing(sqlite3.connect(newest / "webui.db")) as connection:
        connection.execute("INSERT OR REPLACE INTO file (id, path) VALUES ('odd', CAST(? AS TEXT))", (raw,))
        connection.commit()
    rewrite_paths(newest, PIP, app_data_dir="/n")
    with open_at_rest(newest / "webui.db") as connection:
        ((found,),) = connection.execute("SELECT CAST(path AS BLOB) FROM file WHERE id = 'odd'")
    assert found == b"/n/uploads/" + name.encode(errors="surrogatepass")
    rewrite_paths(newest, ApplicationRecord(data_dir="/n"), app_data_dir=IMAGE)


def test_undecodable_names_survive(newest: Path) -> None:
    name = os.fsdecode(b"raw-\xff\xfe.txt")
    insert(newest, f"{IMAGE}/uploads/{name}")
    rewrite_paths(newest, PIP, app_data_dir="/n")
    with open_at_rest(newest / "webui.db") as connection:
        assert f"/n/uploads/{name}" in {row.path for row in file_rows(connection)}


def test_hostile_triggers_and_types_touch_nothing_else(newest: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(newest / "webui.db")) as connection:
        connection.execute(
            f"CREATE TRIGGER hit AFTER UPDATE ON file BEGIN SELECT load_extension('{tmp_path}/evil.so'); END"
        )
        connection.execute("INSERT INTO file (id, path) VALUES ('blob', x'2f6574632f706173737764')")
        connection.execute("INSERT INTO file (id, path) VALUES ('number', 12)")
        connection.commit()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RestoreError, match="could not be rewritten"):
        rewrite_paths(newest, PIP)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_database_is_an_error_with_a_hint(newest: Path) -> None:
    (newest / "webui.db").write_bytes(b"x" * 9000)
    with pytest.raises(RestoreError, match="could not be rewritten") as caught:
        rewrite_paths(newest, PIP)
    assert caught.value.hint


def test_an_instance_without_the_table_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "webui.db")) as connection:
        connection.execute("CREATE TABLE user (id)")
        connection.commit()
    assert rewrite_paths(tmp_path, PIP) == (0, str(tmp_path))
