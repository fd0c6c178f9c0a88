"""The log file: every line whole, in one of its files, whoever else writes; and a backup that never fails by it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from owui_vault.cli.log_file import LogFile, end_log, write_log_to
from owui_vault.config import LogFileSettings

Program = Any  # the class of that name in conftest.py
TRICKY = 'a "quote"\nand a second line, \x1b[31mred\u2028 \udcff'


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("owui_vault.somewhere", level, "", 0, message, (), None)


def lines(folder: Path, name: str = "vault.log") -> list[dict[str, Any]]:
    return [json.loads(each) for file in folder.glob(f"{name}*") for each in file.read_text().splitlines()]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    log = logging.getLogger("owui_vault")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


def test_each_record_is_one_line_of_json_that_others_cannot_read(tmp_path: Path) -> None:
    handler = LogFile(LogFileSettings(path=tmp_path / "vault.log"), "snapshot")
    handler.emit(record(TRICKY, logging.WARNING))
    (line,) = lines(tmp_path)
    assert line["message"] == TRICKY
    assert (line["level"], line["command"], line["logger"]) == ("warning", "snapshot", "owui_vault.somewhere")
    assert line["time"].endswith("Z")
    assert (tmp_path / "vault.log").stat().st_mode & 0o777 == 0o600


def test_so_many_older_ones_are_kept_and_none_is_longer_than_allowed(tmp_path: Path) -> None:
    handler = LogFile(LogFileSettings(path=tmp_path / "vault.log", size=1000, keep=2), "run")
    for number in range(40):
        handler.emit(record(str(number)))
    files = sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith("."))
    assert files == ["vault.log", "vault.log.1", "vault.log.2"]
    assert all((tmp_path / each).stat().st_size <= 1000 for each in files)
    found = sorted(int(each["message"]) for each in lines(tmp_path))
    assert found == list(range(found[0], 40))


def test_without_older_ones_it_begins_anew(tmp_path: Path) -> None:
    handler = LogFile(LogFileSettings(path=tmp_path / "vault.log", size=1000, keep=0), "run")
    for number in range(20):
        handler.emit(record(str(number)))
    assert [each.name for each in tmp_path.glob("vault*")] == ["vault.log"]
    assert lines(tmp_path)[-1]["message"] == "19"


WRITER = """
import logging, sys
from pathlib import Path
from owui_vault.cli.log_file import LogFile
from owui_vault.config import LogFileSettings
handler = LogFile(LogFileSettings(path=Path(sys.argv[1]), size=4000, keep=90), "run")
sys.stdin.readline()
for number in range(300):
    handler.emit(logging.LogRecord("x", 20, "", 0, f"{sys.argv[2]} {number}", (), None))
"""


def test_two_processes_that_write_and_rotate_lose_no_line(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WRITER, str(tmp_path / "vault.log")]
    writers = [subprocess.Popen([*argv, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for name in "ab"]
    said = [writer.communicate(b"go\n")[1] for writer in writers]
    assert said == [b"", b""]
    expected = sorted(f"{name} {number}" for name in "ab" for number in range(300))
    assert sorted(each["message"] for each in lines(tmp_path)) == expected
    assert len(list(tmp_path.glob("vault.log.*"))) > 10


@pytest.mark.parametrize("obstacle", ["absent folder", "folder", "link", "fifo"])
def test_what_cannot_be_written_is_said_once_and_nothing_is_raised(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], obstacle: str
) -> None:
    path = tmp_path / "vault.log"
    match obstacle:
        case "absent folder":
            path = tmp_path / "absent" / "vault.log"
        case "folder":
            path.mkdir()
        case "link":
            (tmp_path / "precious").write_text("precious")
            path.symlink_to(tmp_path / "precious")
        case "fifo":
            os.mkfifo(path)
    handler = LogFile(LogFileSettings(path=path), "run")
    for number in range(3):
        handler.emit(record(str(number)))
    assert capfd.readouterr().err.count("cannot be written") == 1
    assert obstacle != "link" or (tmp_path / "precious").read_text() == "precious"


def test_a_full_disk_cuts_one_line_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = LogFile(LogFileSettings(path=tmp_path / "vault.log"), "run")
    write = os.write
    handler.emit(record("before"))
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
    handler.emit(record("cut"))
    monkeypatch.undo()
    handler.emit(record("after"))
    first, cut, last = (tmp_path / "vault.log").read_text().splitlines()
    assert len(cut) == 10
    assert [json.loads(each)["message"] for each in (first, last)] == ["before", "after"]


def test_a_rotation_that_somebody_holds_up_keeps_nobody_waiting(tmp_path: Path) -> None:
    handler = LogFile(LogFileSettings(path=tmp_path / "vault.log", size=200), "run")
    handler.emit(record("first"))
    with (tmp_path / ".vault.log.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        handler.emit(record("second"))
    assert [each["message"] for each in lines(tmp_path)] == ["first", "second"]


def test_warnings_still_go_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import logging, sys; from pathlib import Path; from owui_vault.cli.log_file import *;"
        " from owui_vault.config import LogFileSettings;"
        f" write_log_to(LogFileSettings(path=Path({str(tmp_path / 'vault.log')!r})), 'run');"
        " log = logging.getLogger('owui_vault.x'); log.warning('look'); log.info('quiet')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "look\n"
    assert [each["message"] for each in lines(tmp_path)] == ["look", "quiet"]


@pytest.mark.parametrize(("code", "error", "expected"), [(0, "", []), (5, "", ["warning"]), (1, "no", ["error"])])
def test_a_tick_that_had_nothing_to_do_writes_nothing(
    tmp_path: Path, code: int, error: str, expected: list[str]
) -> None:
    handler = write_log_to(LogFileSettings(path=tmp_path / "vault.log"), "run")
    end_log(handler, code, error)
    assert [each["level"] for each in lines(tmp_path)] == expected


@pytest.mark.slow
def test_a_snapshot_leaves_its_story_and_no_secret(vault: Program) -> None:
    vault.configure((vault.folder / "vault.yaml").read_text() + "log_file: {path: vault.log, size: 1 MiB, keep: 2}\n")
    assert vault.run("snapshot").returncode == 0
    told = lines(vault.folder)
    assert any(each["message"].startswith("stored ") for each in told)
    assert (told[-1]["message"], told[-1]["command"]) == ("ended with 0", "snapshot")
    assert vault.run("verify", "nonsense").returncode != 0
    assert lines(vault.folder)[-1]["level"] == "error"
    assert "correct horse" not in (vault.folder / "vault.log").read_text()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_fails_no_backup(vault: Program) -> None:
    vault.configure((vault.folder / "vault.yaml").read_text() + "log_file: {path: absent/vault.log}\n")
    done = vault.run("snapshot")
    assert done.returncode == 0
    assert done.stderr.count("cannot be written") == 1
