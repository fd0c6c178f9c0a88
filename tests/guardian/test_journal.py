"""What is written down before it is done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.errors import VaultError
from owui_vault.guardian.journal import Journal
from owui_vault.system import procfs
from owui_vault.testing.fakes import FakeClock


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "journal")


def test_nothing_written_means_nothing_left(journal: Journal) -> None:
    assert journal.records() == ()


def test_a_record_comes_back_as_it_was_written(journal: Journal) -> None:
    record = journal.begin("pause", "a thing", FakeClock(), rescue=("/bin/true", "é\n"), details={"a": "b"})
    record = journal.step(record, "swapped")
    assert journal.records() == (record,)
    assert record.steps == ("swapped",)
    assert record.boot == procfs.boot_id()
    assert record.owner.startswith(f"{os.getpid()}:")


def test_records_are_private(journal: Journal) -> None:
    record = journal.begin("pause", "a thing", FakeClock())
    path = journal.path(record)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_done_removes_it_and_may_be_said_twice(journal: Journal) -> None:
    record = journal.begin("pause", "a thing", FakeClock())
    journal.done(record)
    journal.done(record)
    assert journal.records() == ()


def test_records_come_oldest_first(journal: Journal) -> None:
    clock = FakeClock()
    records = []
    for _ in range(5):
        records.append(journal.begin("pause", "a thing", clock))
        clock.sleep(1)
    assert journal.records() == tuple(records)


MISSHAPEN = '{"format": 1, "rescue": 3, "steps": [], "details": {}}'


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "rescue": 3}', "null", MISSHAPEN]
)
def test_a_record_that_cannot_be_read_is_never_ignored(journal: Journal, text: str) -> None:
    record = journal.begin("pause", "a thing", FakeClock())
    journal.path(record).write_text(text)
    with pytest.raises(VaultError, match=record.id):
        journal.records()


def test_a_record_that_is_struck_while_others_are_read_is_none(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guardian may strike it between our look into the directory and our look at the file."""
    struck = journal.begin("pause", "a thing", FakeClock())
    stays = journal.begin("stop", "another", FakeClock())
    read = Path.read_bytes

    def too_late(path: Path) -> bytes:
        journal.done(struck)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", too_late)
    assert journal.records() == (stays,)


def test_a_half_written_record_of_a_crash_is_no_record(journal: Journal) -> None:
    record = journal.begin("pause", "a thing", FakeClock())
    path = journal.path(record)
    path.rename(path.with_name(f".{path.name}.new"))
    assert journal.records() == ()


@pytest.mark.slow
def test_file_and_directory_are_synced_before_it_returns(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    strace = program("strace", "it shows the order of system calls")
    code = (
        "import sys; from pathlib import Path; from owui_vault.guardian.journal import Journal\n"
        "from owui_vault.system.clock import SystemClock\n"
        "Journal(Path(sys.argv[1])).begin('pause', 'x', SystemClock()); print('RETURNED', flush=True)\n"
    )
    log = tmp_path / "log"
    subprocess.run(
        [
            strace,
            "-o",
            log,
            "-e",
            "trace=fsync,rename,renameat,renameat2,write",
            sys.executable,
            "-c",
            code,
            tmp_path / "j",
        ],
        check=True,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    calls = [line.split("(")[0] for line in log.read_text().splitlines() if "fsync" in line or "rename" in line]
    after = log.read_text().split("RETURNED")[0]
    assert "rename" in after
    position = next(index for index, call in enumerate(calls) if call.startswith("rename"))
    assert "fsync" in calls[:position], "the file"
    assert "fsync" in calls[position + 1 :], "the directory"
