"""The run ledger outlives whoever writes it: cut off, damaged, on a full disk, or killed between two of its lines."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault.context.state import StateDirectory
from owui_vault.errors import ConfigError, LockHeldError, NoSpaceError
from owui_vault.model import PlanStep, RunOutcome, StepRecord, StepResult
from owui_vault.service import run_ledger
from owui_vault.service.run_entries import Entry, PlanNoted, RunBegan, RunEnded, StepBegan, StepEnded, line, parse
from owui_vault.service.run_ledger import RunLedger
from owui_vault.testing.children import mounted

AT = datetime(2026, 6, 1, 3, tzinfo=UTC)


def ledger_in(folder: Path) -> RunLedger:
    return RunLedger(StateDirectory(folder), "open-webui")


def a_run(number: int, *, plan: str = "nightly", repository: str = "nas", at: datetime | None = None) -> list[Entry]:
    id_, at = f"{number:08x}", at or AT + timedelta(days=number)
    done = StepResult(repository=repository, outcome=RunOutcome.SUCCESS, snapshot=id_, instant=at, size_bytes=5)
    record = StepRecord(step=PlanStep.SNAPSHOT, began=at, outcome=RunOutcome.SUCCESS, results=(done,), captured=True)
    return [
        RunBegan(run=id_, plan=plan, at=at, because="due", holder="1-a"),
        StepBegan(run=id_, step=PlanStep.SNAPSHOT, at=at),
        StepEnded(run=id_, record=record),
        RunEnded(run=id_, at=at, outcome=RunOutcome.SUCCESS, exit_code=0, took_seconds=2.5),
    ]


def write(ledger: RunLedger, entries: list[Entry]) -> None:
    for each in entries:
        ledger.append(each)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    noted = PlanNoted(plan="nightly", at=AT, since=AT, schedule="0 3 * * *")
    write(ledger, [noted, *a_run(1), *a_run(2)])
    history = ledger.read()
    assert [each.id for each in history.runs] == ["00000001", "00000002"]
    assert history.runs[0].outcome is RunOutcome.SUCCESS
    assert history.runs[0].took_seconds == 2.5
    assert history.runs[0].steps[0].results[0].instant == AT + timedelta(days=1)
    assert history.noted == {"nightly": noted}
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    assert all(json.loads(each)["format"] == 1 for each in ledger.path.read_text().splitlines())


def test_reading_creates_nothing(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path / "state")
    assert ledger.read().runs == ()
    assert ledger.read_all().runs == ()
    assert ledger.holder() is None
    assert not (tmp_path / "state").exists()


def test_cut_off_anywhere_it_says_what_had_been_on_disk(tmp_path: Path) -> None:
    """A power failure leaves any number of bytes of the last line; the next line is not swallowed by it."""
    ledger = ledger_in(tmp_path)
    write(ledger, [*a_run(1), *a_run(2)[:2]])
    data = ledger.path.read_bytes()
    start = data.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(start, len(data), 3):
        ledger.path.write_bytes(data[:end])
        history = ledger.read()
        assert (len(history.runs), history.damaged) == (2, 0)
        assert history.runs[1].steps == ()
        ledger.append(RunEnded(run="00000002", at=AT, outcome=RunOutcome.FAILED, exit_code=1))
        assert ledger.read().runs[1].outcome is RunOutcome.FAILED
        ledger.path.write_bytes(data[:end])
        assert ledger.mend() == ()
        assert ledger.path.read_bytes() == data[:start]


def test_damaged_lines_are_set_aside_and_told_once(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    write(ledger, [*a_run(1), *a_run(2)])
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    damaged = [b"\0" * 40 + b"\n", b'{"format": 1, "entry": "run-ended"}\n', b"[" * 100_000 + b"\n", b"7\n"]
    ledger.path.write_bytes(b"".join([lines[0], *damaged, *lines[1:]]))
    assert (len(ledger.read().runs), ledger.read().damaged) == (2, 4)
    (said,) = ledger.mend()
    assert "4 lines of the run ledger could not be read" in said
    assert (ledger.path.parent / "runs-damaged.jsonl").read_bytes() == b"".join(damaged)
    assert ledger.path.read_bytes() == b"".join(lines)
    assert ledger.mend() == ()


def test_what_a_later_version_wrote_is_left_alone(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    write(ledger, a_run(1))
    later = [b'{"format": 2, "entry": "run-began", "run": 5}\n', b'{"format": 1, "entry": "drill-began"}\n']
    data = ledger.path.read_bytes() + b"".join(later)
    ledger.path.write_bytes(data)
    assert (len(ledger.read().runs), ledger.read().damaged) == (1, 0)
    assert ledger.mend() == ()
    assert ledger.path.read_bytes() == data


@pytest.mark.root
@pytest.mark.parametrize("options", ["size=64k", "size=1m,ro"], ids=["full", "read-only"])
def test_where_it_cannot_be_written_nothing_is(tmp_path: Path, options: str) -> None:
    """No half line stays behind, and what had been written is still read."""
    with mounted("tmpfs", Path("none"), tmp_path, options.removesuffix(",ro")):
        ledger = ledger_in(tmp_path)
        write(ledger, a_run(1))
        if options.endswith("ro"):
            subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        else:
            with suppress(OSError), (tmp_path / "full").open("wb", buffering=0) as file:
                while file.write(bytes(512)):
                    pass
        before = ledger.path.read_bytes()
        more = [entry for number in range(2, 60) for entry in a_run(number)]
        with pytest.raises((NoSpaceError, ConfigError)) as raised:
            write(ledger, more)
        assert isinstance(raised.value, ConfigError) is options.endswith("ro")
        assert str(tmp_path) in raised.value.message
        after = ledger.path.read_bytes()
        assert after.startswith(before)
        assert after.endswith(b"\n")
        assert ledger.read().damaged == 0
        assert ledger.read().runs[0].outcome is RunOutcome.SUCCESS


HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from owui_vault.context.state import StateDirectory
from owui_vault.service.run_ledger import RunLedger
from owui_vault.service.run_entries import RunBegan
ledger = RunLedger(StateDirectory(Path(sys.argv[1])), "open-webui")
now = datetime(2026, 6, 1, 3, tzinfo=UTC)
with ledger.held(["nightly"], now) as name:
    ledger.append(RunBegan(run="00000009", plan="nightly", at=now, because="due", holder=name))
    print("held", flush=True)
    time.sleep(60)
"""


def test_whoever_holds_it_is_named_and_when_it_is_killed_its_run_did_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says whether somebody runs: no pid is believed, from whichever namespace or boot it is."""
    monkeypatch.setattr(run_ledger, "_READER_SECONDS", 0.2)
    ledger = ledger_in(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        assert ledger.read().runs[0].outcome is RunOutcome.RUNNING
        holder = ledger.holder()
        assert holder
        assert (holder.pid, holder.plans) == (other.pid, ("nightly",))
        with pytest.raises(LockHeldError) as raised, ledger.held(["weekly"], AT):
            pass
        assert raised.value.exit_code == 11
        assert str(other.pid) in raised.value.message
        assert "nightly" in raised.value.message
        os.kill(other.pid, signal.SIGKILL)
    assert ledger.read().runs[0].outcome is RunOutcome.KILLED
    with ledger.held(["weekly"], AT) as name:
        assert ledger.read(name).runs[0].outcome is RunOutcome.KILLED
        ledger.append(RunBegan(run="00000010", plan="weekly", at=AT, because="due", holder=name))
        assert [each.outcome for each in ledger.read().runs] == [RunOutcome.KILLED, RunOutcome.RUNNING]


def test_what_one_process_began_under_an_earlier_hold_does_not_run_any_more(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    with ledger.held(["nightly"], AT) as name:
        ledger.append(RunBegan(run="00000001", plan="nightly", at=AT, because="due", holder=name))
    with ledger.held(["nightly"], AT) as name:
        assert ledger.read(name).runs[0].outcome is RunOutcome.KILLED


def test_looking_at_it_does_not_keep_anybody_from_running(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    with ledger.held([], AT):
        pass
    descriptor = os.open(ledger.path.parent / "runs.lock", os.O_RDONLY)
    try:
        assert ledger.holder() is None
        with ledger.held([], AT):
            assert ledger.holder()
    finally:
        os.close(descriptor)


def test_it_is_shortened_and_what_decides_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A yearly plan is not due again because a frequent one filled the ledger; older ledgers are kept, so many."""
    monkeypatch.setattr(run_ledger, "LONGEST_BYTES", 3000)
    monkeypatch.setattr(run_ledger, "OLDER_KEPT", 3)
    ledger = ledger_in(tmp_path)
    noted = PlanNoted(plan="yearly", at=AT, since=AT, schedule="0 3 1 1 *")
    write(ledger, [noted, *a_run(1, plan="yearly"), *a_run(2, repository="away")])
    for number in range(3, 40):
        with ledger.held([], AT):
            ledger.shorten()
        write(ledger, a_run(number))
    assert ledger.path.stat().st_size < 6000
    history = ledger.read()
    assert history.noted["yearly"] == noted
    assert [each.id for each in history.of("yearly")] == ["00000001"]
    assert history.of("nightly")[0].id == "00000002", "the only one that served `away`"
    assert history.of("nightly")[-1].id == f"{39:08x}"
    everything = ledger.read_all()
    assert len(everything.runs) == len({each.id for each in everything.runs}) > len(history.runs)
    assert sorted(path.name for path in ledger.path.parent.glob("runs*.jsonl")) == [
        "runs.1.jsonl", "runs.2.jsonl", "runs.3.jsonl", "runs.jsonl",
    ]  # fmt: skip


def test_a_line_is_one_line_whatever_is_in_it() -> None:
    noted = PlanNoted(plan="a\nb\udce9", at=AT, since=AT, schedule="\0")
    assert line(noted).count(b"\n") == 1
    assert parse(line(noted)) == noted
