"""Quiet for the length of a block, back whatever happens."""

# ruff: noqa: PT012 - the claims are about blocks that fail at their end

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from owui_vault.context.context import DataDirectory, OperationContext
from owui_vault.context.state import StateDirectory
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.bounded_hold import Hold, Holding, HoldLimits, _HeldByUs, recover
from owui_vault.guardian.guardian import Guardian
from owui_vault.guardian.journal import Journal
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.operations.hold import hold_quiet
from owui_vault.operations.recovery.recover import recover as recover_all
from owui_vault.operations.recovery.rollback_quiescer import guarded_hold
from owui_vault.operations.recovery.swap import in_place
from owui_vault.ports import Quiet
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.system.procfs import ProcessIdentity, alive
from owui_vault.testing.fakes import FakeClock, FakeQuiescer
from owui_vault.testing.quiescer_suite import eventually

LIMITS = HoldLimits(resume_seconds=5, pause_grace_seconds=0.1, stop_grace_seconds=0.1)
MODES = pytest.mark.parametrize("mode", [Quiesce.PAUSE, Quiesce.STOP])


@pytest.fixture
def quiescer(tmp_path: Path) -> FakeQuiescer:
    (tmp_path / "instance").mkdir()
    return FakeQuiescer(tmp_path / "instance")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def hold(quiescer: FakeQuiescer, journal: Journal) -> Hold:
    return Hold(quiescer, journal, None, SystemClock(), LIMITS)


def state(quiescer: FakeQuiescer) -> InstanceState:
    return quiescer.observe().state


def guardian_of(held: Holding) -> Guardian:
    assert isinstance(held, _HeldByUs)
    return held.guardian


@MODES
def test_quiet_inside_running_outside(hold: Hold, quiescer: FakeQuiescer, journal: Journal, mode: Quiesce) -> None:
    quiet: Quiet = hold
    with quiet(mode, 5.0) as held:
        assert state(quiescer) in (InstanceState.PAUSED, InstanceState.STOPPED)
        assert [record.action for record in journal.records()] == [mode.value]
        held.confirm()
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


@MODES
def test_an_error_in_the_block_goes_through_and_the_instance_is_back(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal, mode: Quiesce
) -> None:
    with pytest.raises(ZeroDivisionError), hold(mode, 5.0):
        raise ZeroDivisionError
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


def test_what_somebody_else_paused_is_refused_and_stays_paused(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal
) -> None:
    quiescer.instance.set(InstanceState.PAUSED)
    with pytest.raises(QuiesceError, match="already paused, not by owui_vault"), hold(Quiesce.PAUSE, 5.0):
        pytest.fail("the block must not run")
    assert state(quiescer) is InstanceState.PAUSED
    assert journal.records() == ()


@MODES
def test_what_was_stopped_is_quiet_enough_and_never_started(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal, mode: Quiesce
) -> None:
    quiescer.instance.set(InstanceState.STOPPED)
    with hold(mode, 5.0) as held:
        held.confirm()
        assert journal.records() == ()
    assert state(quiescer) is InstanceState.STOPPED


def test_a_start_of_what_was_stopped_is_noticed(hold: Hold, quiescer: FakeQuiescer) -> None:
    quiescer.instance.set(InstanceState.STOPPED)
    with hold(Quiesce.STOP, 5.0) as held:
        quiescer.instance.set(InstanceState.RUNNING)
        with pytest.raises(QuiesceError, match="started"):
            held.confirm()
    assert state(quiescer) is InstanceState.RUNNING


def test_there_is_nothing_to_renew_for_what_was_stopped_before(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal
) -> None:
    """Whoever begins a second stop inside the block says so, whoever made the first."""
    quiescer.instance.set(InstanceState.STOPPED)
    with hold(Quiesce.STOP, 5.0) as held:
        held.renew()
        assert journal.records() == ()
    assert state(quiescer) is InstanceState.STOPPED


def test_a_mode_that_is_not_offered_is_refused(tmp_path: Path, journal: Journal) -> None:
    quiescer = FakeQuiescer(tmp_path, frozenset({Quiesce.PAUSE}))
    hold = Hold(quiescer, journal, None, SystemClock(), LIMITS)
    assert hold.modes == {Quiesce.PAUSE}
    with pytest.raises(QuiesceError), hold(Quiesce.STOP, 5.0):
        pytest.fail("the block must not run")


@MODES
def test_what_cannot_be_written_down_is_not_done(
    quiescer: FakeQuiescer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Quiesce
) -> None:
    """A full disk under the state directory is a reason to go on without a pause, not to end as a mistake."""
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setattr(quiescer, "quiesce", lambda *_: pytest.fail("it must not be touched"))
    hold = Hold(quiescer, Journal(tmp_path / "file" / "journal"), None, SystemClock(), LIMITS)
    with pytest.raises(QuiesceError, match="in the journal: Not a directory"), hold(mode, 5.0):
        pytest.fail("the block must not run")
    assert state(quiescer) is InstanceState.RUNNING


@MODES
def test_failing_to_become_quiet_leaves_it_running(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal, mode: Quiesce
) -> None:
    quiescer.failures["quiesce"] = 1
    with pytest.raises(QuiesceError), hold(mode, 5.0):
        pytest.fail("the block must not run")
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


def test_somebody_else_waking_it_is_noticed(hold: Hold, quiescer: FakeQuiescer) -> None:
    with hold(Quiesce.PAUSE, 5.0) as held:
        quiescer.instance.set(InstanceState.RUNNING)
        quiescer.instance.set(InstanceState.PAUSED)
        with pytest.raises(QuiesceError):
            held.confirm()
    assert state(quiescer) is InstanceState.RUNNING


@MODES
def test_what_was_started_anew_since_the_rescue_was_written_down_is_not_touched(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal, monkeypatch: pytest.MonkeyPatch, mode: Quiesce
) -> None:
    """That rescue would not bring it back if we were killed: it leaves alone what somebody else has started."""
    command = quiescer.rescue_command

    def then_started_anew(mode: Quiesce) -> tuple[str, ...]:
        written = command(mode)
        quiescer.instance.set(InstanceState.STOPPED)
        quiescer.instance.set(InstanceState.RUNNING)
        return written

    monkeypatch.setattr(quiescer, "rescue_command", then_started_anew)
    monkeypatch.setattr(quiescer, "quiesce", lambda *_: pytest.fail("it must not be touched"))
    with pytest.raises(QuiesceError, match="was restarted"), hold(mode, 5.0):
        pytest.fail("the block must not run")
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


@MODES
def test_not_coming_back_outranks_everything_and_the_guardian_goes_on(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal, mode: Quiesce
) -> None:
    quiescer.failures["resume"] = 9
    with pytest.raises(ResumeError) as caught, hold(mode, 5.0):
        raise ZeroDivisionError
    assert caught.value.exit_code == 4
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert eventually(lambda: state(quiescer) is InstanceState.RUNNING)
    assert eventually(lambda: journal.records() == ()), "the guardian strikes the record when it has succeeded"


def test_past_the_limit_the_guardian_wakes_it_and_nothing_is_believed(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal
) -> None:
    with pytest.raises(QuiesceError, match="longer than the limit"), hold(Quiesce.PAUSE, 0.2) as held:
        held.confirm()
        assert eventually(lambda: state(quiescer) is InstanceState.RUNNING)
        with pytest.raises(QuiesceError):
            held.confirm()
        quiescer.instance.set(InstanceState.PAUSED)  # even if it looks quiet again
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


def test_what_brings_it_back_can_be_renewed_before_a_second_stop(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal
) -> None:
    with hold(Quiesce.STOP, 5.0) as held:
        quiescer.resume(Quiesce.STOP, Deadline(1, lambda: 0))
        (before,) = journal.records()
        held.renew()
        (after,) = journal.records()
        assert (after.id, after.action) == (before.id, before.action)
        assert after.rescue == quiescer.rescue_command(Quiesce.STOP)
        quiescer.quiesce(Quiesce.STOP, Deadline(1, lambda: 0))
    assert state(quiescer) is InstanceState.RUNNING


def test_a_dead_guardian_can_be_told_nothing(hold: Hold, quiescer: FakeQuiescer) -> None:
    with pytest.raises(QuiesceError, match="killed"), hold(Quiesce.STOP, 5.0) as held:
        os.kill(guardian_of(held).pid, signal.SIGKILL)
        held.renew()
    assert state(quiescer) is InstanceState.RUNNING


def test_without_a_guardian_nothing_is_begun(
    hold: Hold, quiescer: FakeQuiescer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_task: object) -> None:
        raise QuiesceError("the guardian did not start")

    monkeypatch.setattr("owui_vault.guardian.bounded_hold.Guardian", refuse)
    with pytest.raises(QuiesceError, match="did not start"), hold(Quiesce.STOP, 5.0):
        pytest.fail("the block must not run")
    assert quiescer.instance.read().sleeps == 0
    assert journal.records() == ()


def test_without_its_guardian_nothing_is_believed(hold: Hold, quiescer: FakeQuiescer, journal: Journal) -> None:
    with pytest.raises(QuiesceError, match="killed"), hold(Quiesce.PAUSE, 5.0) as held:
        os.kill(guardian_of(held).pid, signal.SIGKILL)
        time.sleep(0.2)
        held.confirm()
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


def test_whatever_keeps_it_from_coming_back_is_told_as_that(
    hold: Hold, quiescer: FakeQuiescer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers know by the type that it is down, and how to bring it back from the hint."""

    def vanish(*_: object) -> None:
        raise InstanceNotFoundError("the engine does not answer", hint="Start the engine.")

    monkeypatch.setattr(quiescer, "resume", vanish)
    words = "could not be resumed: the engine does not answer"
    with pytest.raises(ResumeError, match=words) as caught, hold(Quiesce.PAUSE, 5.0):
        pass
    assert caught.value.hint == "Start the engine."
    assert isinstance(caught.value.__cause__, InstanceNotFoundError)
    assert eventually(lambda: state(quiescer) is InstanceState.RUNNING), "the guardian goes on"


def test_a_start_between_the_look_and_the_pause_is_noticed(
    hold: Hold, quiescer: FakeQuiescer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at before says nothing of the one that is paused now."""
    pause = quiescer.quiesce

    def restarted_and_paused(mode: Quiesce, deadline: Deadline) -> None:
        quiescer.instance.set(InstanceState.STOPPED)
        quiescer.instance.set(InstanceState.RUNNING)
        pause(mode, deadline)

    monkeypatch.setattr(quiescer, "quiesce", restarted_and_paused)
    with pytest.raises(QuiesceError, match="restarted while it was being paused"), hold(Quiesce.PAUSE, 5.0):
        pytest.fail("the block must not run")
    assert state(quiescer) is InstanceState.RUNNING


def test_the_time_it_was_quiet_is_added_up(quiescer: FakeQuiescer, journal: Journal) -> None:
    clock = FakeClock()
    hold = Hold(quiescer, journal, None, clock, LIMITS)
    for seconds in (2, 3):
        with hold(Quiesce.STOP, 60.0):
            clock.sleep(seconds)
    assert hold.quiet_seconds == 5


def test_interrupted_while_resuming_it_is_resumed_all_the_same(quiescer: FakeQuiescer, journal: Journal) -> None:
    class Interrupted(FakeQuiescer):
        interrupts = 1

        def resume(self, mode: Quiesce, deadline: Deadline) -> None:
            if self.interrupts:
                self.interrupts = 0
                raise KeyboardInterrupt
            super().resume(mode, deadline)

    fragile = Interrupted(quiescer.instance.path.parent)
    with pytest.raises(KeyboardInterrupt), Hold(fragile, journal, None, SystemClock(), LIMITS)(Quiesce.PAUSE, 5.0):
        pass
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()


def test_the_lock_is_free_when_the_block_is_over(quiescer: FakeQuiescer, journal: Journal, tmp_path: Path) -> None:
    clock = SystemClock()
    for _ in range(3):
        with directory_lock(tmp_path, wait_seconds=0, clock=clock, what="it") as descriptor:
            hold = Hold(quiescer, journal, descriptor, clock, LIMITS)
            with hold(Quiesce.PAUSE, 5.0) as held:
                held.confirm()


def test_the_guardian_ignores_polite_signals(hold: Hold, quiescer: FakeQuiescer) -> None:
    with hold(Quiesce.PAUSE, 5.0) as held:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guardian_of(held).pid, number)
        time.sleep(0.1)
        held.confirm()
    assert state(quiescer) is InstanceState.RUNNING


@MODES
def test_recover_brings_back_what_a_dead_run_left(quiescer: FakeQuiescer, journal: Journal, mode: Quiesce) -> None:
    record = journal.begin(mode.value, quiescer.name, SystemClock(), rescue=quiescer.rescue_command(mode))
    quiescer.instance.set(InstanceState.PAUSED if mode is Quiesce.PAUSE else InstanceState.STOPPED)
    (action,) = recover(journal)
    assert record.subject in action
    assert state(quiescer) is InstanceState.RUNNING
    assert journal.records() == ()
    assert recover(journal) == ()


def test_a_failed_resume_is_recovered_by_the_process_that_failed(
    quiescer: FakeQuiescer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may live for months, and nobody else may ever run."""
    hold = Hold(quiescer, journal, None, SystemClock(), LIMITS)

    def fail(*_: object) -> None:
        raise ResumeError("it is down")

    with monkeypatch.context() as patch:
        patch.setattr(quiescer, "rescue_command", lambda _mode: ("/bin/false",))
        patch.setattr(quiescer, "resume", fail)
        with pytest.raises(ResumeError), hold(Quiesce.PAUSE, 5.0):
            pass
    (record,) = journal.records()
    journal.renew(record, quiescer.rescue_command(Quiesce.PAUSE))
    assert state(quiescer) is InstanceState.PAUSED
    (action,) = recover(journal)
    assert "is as it was before" in action
    assert state(quiescer) is InstanceState.RUNNING


def test_becoming_quiet_counts_as_frozen(hold: Hold, quiescer: FakeQuiescer, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first signal on nobody answers; the limit is what users see."""
    quiesce = quiescer.quiesce

    def slowly(mode: Quiesce, deadline: Deadline) -> None:
        assert deadline.remaining() <= 1.0
        quiesce(mode, deadline)
        time.sleep(0.7)

    monkeypatch.setattr(quiescer, "quiesce", slowly)
    with pytest.raises(QuiesceError, match="longer than the limit"), hold(Quiesce.PAUSE, 1.0):
        time.sleep(0.7)


def test_recover_touches_nothing_that_the_journal_does_not_name(quiescer: FakeQuiescer, journal: Journal) -> None:
    quiescer.instance.set(InstanceState.STOPPED)
    assert recover(journal) == ()
    assert state(quiescer) is InstanceState.STOPPED


def test_recover_leaves_records_of_other_acts_alone(journal: Journal) -> None:
    journal.begin("replace", "/data", SystemClock())
    assert recover(journal) == ()
    assert len(journal.records()) == 1


def test_a_rescue_that_fails_is_told_and_kept_and_the_others_are_done(quiescer: FakeQuiescer, journal: Journal) -> None:
    journal.begin("pause", "a lost one", SystemClock(), rescue=("/bin/false",))
    journal.begin("pause", "a missing one", SystemClock(), rescue=("/nonexistent/program",))
    journal.begin("pause", "ours", SystemClock(), rescue=quiescer.rescue_command(Quiesce.PAUSE))
    quiescer.instance.set(InstanceState.PAUSED)
    with pytest.raises(ResumeError, match="a lost one"):
        recover(journal)
    assert state(quiescer) is InstanceState.RUNNING
    assert sorted(record.subject for record in journal.records()) == ["a lost one", "a missing one"]


def test_no_guardian_outlives_a_block(hold: Hold) -> None:
    with hold(Quiesce.PAUSE, 5.0) as held:
        pid = guardian_of(held).pid
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    assert not alive(ProcessIdentity(pid, int(start)))


@pytest.fixture
def context(quiescer: FakeQuiescer, tmp_path: Path) -> OperationContext:
    """What `vault.hold` and the command `hold` work with."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "webui.db").touch()
    state_directory = StateDirectory(tmp_path / "state")
    return OperationContext(
        instance=DataDirectory(tmp_path / "data"), repositories=(), state=state_directory, quiescer=quiescer
    )


@MODES
def test_whoever_asks_for_quiet_is_told_when_somebody_else_ended_it(
    context: OperationContext, quiescer: FakeQuiescer, mode: Quiesce
) -> None:
    with pytest.raises(QuiesceError) as caught, hold_quiet(context, mode, 5.0):
        quiescer.instance.set(InstanceState.RUNNING)
    assert caught.value.exit_code == 1
    assert state(quiescer) is InstanceState.RUNNING


def test_a_start_of_what_was_stopped_breaks_the_quiet_that_was_asked_for(
    context: OperationContext, quiescer: FakeQuiescer
) -> None:
    quiescer.instance.set(InstanceState.STOPPED)
    with pytest.raises(QuiesceError, match="started meanwhile"), hold_quiet(context, Quiesce.STOP, 5.0):
        quiescer.instance.set(InstanceState.RUNNING)
    assert state(quiescer) is InstanceState.RUNNING


@MODES
def test_quiet_that_was_asked_for_and_lasted_is_no_error(
    context: OperationContext, quiescer: FakeQuiescer, mode: Quiesce
) -> None:
    with hold_quiet(context, mode, 5.0):
        assert state(quiescer) is not InstanceState.RUNNING
    assert state(quiescer) is InstanceState.RUNNING


@pytest.mark.parametrize(("mode", "asleep", "fits"), [("r+b", False, False), ("r+b", True, True), ("rb", False, True)])
def test_whoever_works_on_the_data_and_is_not_held_breaks_the_quiet(
    context: OperationContext, tmp_path: Path, mode: str, asleep: bool, fits: bool
) -> None:
    """As with a stale pid file: nobody that it names runs, and the instance goes on writing."""
    with (tmp_path / "data/webui.db").open(mode) as opened, subprocess.Popen(["sleep", "60"], stdin=opened) as other:
        try:
            if asleep:
                other.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
            told = pytest.raises(QuiesceError, match=rf"sleep \({other.pid}\) is using the data")
            with nullcontext() if fits else told, hold_quiet(context, Quiesce.PAUSE, 5.0):
                pass
        finally:
            other.kill()


def test_an_error_in_the_block_is_not_hidden_by_a_quiet_that_broke(
    context: OperationContext, quiescer: FakeQuiescer
) -> None:
    with pytest.raises(ZeroDivisionError), hold_quiet(context, Quiesce.PAUSE, 5.0):
        quiescer.instance.set(InstanceState.RUNNING)
        raise ZeroDivisionError


def test_a_start_during_an_exchange_is_noticed(
    context: OperationContext, quiescer: FakeQuiescer, tmp_path: Path
) -> None:
    with (
        pytest.raises(QuiesceError, match="did not stay quiet"),
        directory_lock(tmp_path / "data", wait_seconds=0, clock=context.clock, what="it") as lock,
        in_place(tmp_path / "data", lock, make=True) as place,
        guarded_hold(context, quiescer, place, lock)(Quiesce.STOP, 5.0) as held,
    ):
        held.confirm()
        quiescer.instance.set(InstanceState.RUNNING)
        held.confirm()
    assert state(quiescer) is InstanceState.RUNNING


def test_two_instances_of_one_name_do_not_wake_each_other(
    tmp_path: Path, small_instance: Callable[[Path], Path]
) -> None:
    """Both called open-webui, with one state directory: each has its own lock, and so its own journal."""
    mine, other = (small_instance(tmp_path / name) for name in ("mine", "other"))
    quiescer = FakeQuiescer(mine.parent)
    context = OperationContext(
        instance=DataDirectory(mine), repositories=(), state=StateDirectory(tmp_path / "state"), quiescer=quiescer
    )
    beside = OperationContext(instance=DataDirectory(other), repositories=(), state=context.state)
    with hold_quiet(context, Quiesce.PAUSE, 30.0):
        assert recover_all(beside).actions == ()
        assert state(quiescer) is InstanceState.PAUSED
    assert state(quiescer) is InstanceState.RUNNING
