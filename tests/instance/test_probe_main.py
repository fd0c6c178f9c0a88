"""The short process that looks at a living instance, run here in the tests' own, which holds no lock."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.components.database.facts import facts_of
from owui_vault.components.database.first_facts import fingerprint
from owui_vault.instance import probe_main


def seen(capsys: pytest.CaptureFixture[str], data_dir: Path, depth: str = "facts") -> dict[str, object]:
    assert probe_main.main([str(data_dir), depth, str(data_dir / "vector_db")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("depth", ["identity", "facts"])
def test_it_answers_one_line_of_json(left: Path, capsys: pytest.CaptureFixture[str], depth: str) -> None:
    answer = seen(capsys, left, depth)
    assert answer["ours"] is True
    assert (answer["unread"], answer["damage"], answer["vectors_unread"]) == ("", "", "")
    assert (answer["vectors"] is None) == (depth == "identity")


def test_a_missing_database_is_an_answer_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = seen(capsys, tmp_path)
    assert answer["databases"] == {"webui.db": {"state": "missing"}, "vector_db/chroma.sqlite3": {"state": "missing"}}
    assert answer["facts"] is None


def test_damage_is_an_answer_too(newest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("webui.db", "vector_db/chroma.sqlite3"):
        content = bytearray((newest / name).read_bytes())
        content[100:4096] = b"\xff" * 3996
        (newest / name).write_bytes(content)
    answer = seen(capsys, newest)
    assert answer["damage"]
    assert answer["vectors_unread"]


def test_what_never_rests_is_said_not_to_be_read(newest: Path, tmp_path: Path) -> None:
    database = newest / "webui.db"
    moment = iter(range(1, 1000))

    def read_while_somebody_writes(connection: sqlite3.Connection) -> str:
        os.utime(database, (next(moment), next(moment)))
        return fingerprint(connection)

    with pytest.raises(probe_main.UnreadableError, match="written without pause"):
        probe_main._between_writes(database, lambda: probe_main._read_at_rest(database, read_while_somebody_writes))


def test_a_journal_that_goes_while_it_is_copied_is_no_reason_to_give_up(
    newest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = newest / "webui.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    journal = newest / "webui.db-journal"
    journal.write_bytes(b"a transaction")
    original = shutil.copyfile

    def end_the_transaction_first(source: Path, target: Path) -> None:
        if source == journal:
            journal.unlink()
        original(source, target)

    monkeypatch.setattr(shutil, "copyfile", end_the_transaction_first)
    assert probe_main._read_copy(database, fingerprint)
    assert not journal.exists()


def test_a_wal_in_exclusive_use_is_read_from_a_copy_that_goes(
    left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `locking_mode = EXCLUSIVE` there is no shared memory, and no reader is let in."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with closing(sqlite3.connect(left / "webui.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE user SET name = 'only in the WAL'")
        read = probe_main.read_live(
            left / "webui.db", lambda each: each.execute("SELECT DISTINCT name FROM user").fetchall()
        )
        assert read == [("only in the WAL",)]
        assert list(scratch.iterdir()) == []


def test_no_room_for_a_copy_is_said(left: Path) -> None:
    (left / "webui.db-shm").unlink(missing_ok=True)
    with (left / "webui.db-wal").open("ab") as wal:
        wal.truncate(1 << 42)
    with pytest.raises(probe_main.UnreadableError, match="has no room"):
        probe_main.read_live(left / "webui.db", facts_of)
