"""Whoever waits for the test application waits until it is one: on a busy disk its files come one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.docker.begun import has_begun

APPLICATION = Path(__file__).parent / "application" / "application.py"


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_it_has_begun_with_its_first_chat_and_not_with_its_tables(tmp_path: Path, journal: str) -> None:
    program = """if True:
        import sys
        sys.path.insert(0, sys.argv[1])
        from application import Store
        print("no tables", flush=True), sys.stdin.readline()
        store = Store(sys.argv[2], sys.argv[3])
        print("tables", flush=True), sys.stdin.readline()
        store.chat()
        print("chat", flush=True), sys.stdin.readline()
    """
    argv = [sys.executable, "-c", program, str(APPLICATION.parent), str(tmp_path), journal]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as application:
        assert application.stdin is not None
        assert application.stdout is not None
        for told, begun in (("no tables\n", False), ("tables\n", False), ("chat\n", True)):
            assert application.stdout.readline() == told
            assert has_begun(tmp_path) is begun
            print(file=application.stdin, flush=True)


def test_nothing_and_an_empty_database_have_not_begun(tmp_path: Path) -> None:
    assert not has_begun(tmp_path)
    (tmp_path / "webui.db").touch()
    assert not has_begun(tmp_path)
