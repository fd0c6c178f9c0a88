"""What is told to whom and when, over simulated weeks: one message for each episode, and never silence."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault import (
    Beat,
    BeatKind,
    CancelledError,
    ConfigError,
    CronSchedule,
    Event,
    EventKind,
    Outcome,
    Plan,
    PlanStep,
    RepositorySpace,
    ResumeError,
    RunOutcome,
    RunReport,
    Subscription,
    Vault,
    Verdict,
)
from owui_vault.operations import notifications
from owui_vault.service import run_plans, space, told
from owui_vault.service.run_entries import Entry, RunBegan, RunEnded, StepBegan, StepEnded
from owui_vault.service.run_ledger import RunLedger
from owui_vault.service.telling import announce
from owui_vault.service.telling.episodes import Look, messages_for
from owui_vault.service.telling.notification_text import Surroundings
from owui_vault.service.telling.troubles import Trouble, cannot_start, full_places
from owui_vault.service.told import Heard as MemoryOfOne
from owui_vault.service.told import ToldMemory
from tests.service.world import TICK, Heard, Killed, World

DAILY = CronSchedule(expression="0 3 * * *")
NIGHTLY = Plan(name="nightly", schedule=DAILY)
HOUR = timedelta(hours=1)
TROUBLES = (EventKind.FAILURE, EventKind.INCOMPLETE, EventKind.OVERDUE, EventKind.WARNING, EventKind.RECOVERY)


@pytest.fixture(autouse=True)
def own_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is remembered there would outlive the test."""
    place = tmp_path / "shm"
    place.mkdir()
    monkeypatch.setattr(told.ToldMemory.__init__, "__defaults__", (place,))
    return place


def at(day: int, time: str) -> datetime:
    return datetime.fromisoformat(f"2026-06-{day:02}T{time}:00").replace(tzinfo=UTC)


def listening(
    world: World, *when: EventKind, remind: timedelta = timedelta(days=3), plans: tuple[str, ...] = ()
) -> Heard:
    heard = Heard()
    world.notifiers.append(Subscription(heard, when=when, remind=remind, plans=plans, name="someone"))
    world.vault = world.a_vault(*world.plans)
    return heard


def kinds(heard: Heard) -> list[str]:
    return [f"{each.kind.value}{' again' if each.reminder else ''}" for each in heard.events]


def a_world(folder: Path, *plans: Plan, repositories: tuple[str, ...] = ("nas",)) -> World:
    world = World(folder / "world", *(plans or (NIGHTLY,)), repositories=repositories)
    world.notifiers.clear()
    return world


@pytest.mark.slow
def test_a_failure_is_told_once_reminded_of_and_recovered_from_once(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    heard = listening(world, *TROUBLES)
    world.ticks(at(3, "00:00"), HOUR)
    assert heard.events == [], "silence while all is well"
    world.carry_away("nas")
    world.ticks(at(11, "00:00"), HOUR)
    assert kinds(heard) == ["failure", "overdue", "failure again", "failure again"]
    world.bring_back("nas")
    world.ticks(at(15, "00:00"), HOUR)
    assert kinds(heard)[4:] == ["recovery"]
    first = heard.events[0]
    assert (first.instance, first.plan, first.operation) == ("open-webui", "nightly", "run")
    assert first.title == "open-webui: plan nightly FAILED"
    for part in (
        "What happened:",
        "What it means:",
        "Newest restore points:",
        "What to do:",
        "nas: 00000002 of",
        "24 h old",
    ):
        assert part in first.text
    assert "owui-vault run nightly" in first.text


@pytest.mark.parametrize("kind", list(EventKind))
def test_each_hears_what_it_wants_to_and_nothing_else(tmp_path: Path, kind: EventKind) -> None:
    world = a_world(tmp_path)
    heard = listening(world, kind)
    world.ticks(at(2, "00:00"), 6 * HOUR)
    world.outcome = Outcome.INCOMPLETE
    world.ticks(at(4, "00:00"), 6 * HOUR)
    world.outcome = Outcome.COMPLETE
    world.carry_away("nas")
    world.ticks(at(6, "00:00"), 6 * HOUR)
    world.bring_back("nas")
    world.ticks(at(9, "12:00"), 6 * HOUR)
    expected = {
        EventKind.FAILURE: 1,
        EventKind.INCOMPLETE: 1,
        EventKind.OVERDUE: 1,
        EventKind.WARNING: 0,
        EventKind.RECOVERY: 2 if kind is EventKind.RECOVERY else 0,
        EventKind.SUCCESS: 6,
        EventKind.SUMMARY: 2,
    }
    assert {each.kind for each in heard.events} <= {kind}
    first_time = [each for each in heard.events if not each.reminder]
    if kind is EventKind.RECOVERY:
        assert 1 <= len(first_time) <= 2
    else:
        assert len(first_time) == expected[kind]


def test_overdue_is_told_by_a_tick_though_nothing_ran(tmp_path: Path) -> None:
    world = a_world(tmp_path, Plan(name="nightly", schedule=DAILY, catch_up=False))
    heard = listening(world, *TROUBLES)
    world.ticks(at(2, "12:00"), HOUR)
    world.clock.set(at(4, "12:00"))
    report = world.run()
    assert report == RunReport(), "nothing is said, and nothing done"
    (event,) = heard.events
    assert (event.kind, event.plan) == ("overdue", "nightly")
    assert "nas: overdue" in event.detail
    assert world.run() == RunReport()
    assert len(heard.events) == 1


def test_a_machine_that_another_one_does_the_plan_for_is_not_alarmed_and_is_once_nobody_does(tmp_path: Path) -> None:
    """As the label of the restore points says it; the repository is asked once, and only before anybody is alarmed."""
    plan = Plan(name="nightly", schedule=DAILY, catch_up=False)
    world = a_world(tmp_path, plan)
    heard = Heard()
    standby = Vault(
        None,
        world.vault.repositories,
        notifiers=[Subscription(heard, when=TROUBLES, name="someone")],
        clock=world.clock,
        state_dir=tmp_path / "standby",
        series="open-webui",
        environ={"TZ": "UTC"},
        plans=[plan],
    )
    standby.run()
    for day in (2, 3, 4):
        world.ticks(at(day, "14:00"), HOUR)
        standby.run()
        standby.run()
        assert heard.events == []
        status = standby.status(offline=True)
        assert status.verdict is Verdict.FINE
        assert status.plans[0].repositories[0].newest == standby.status().plans[0].repositories[0].newest
    ledger = (tmp_path / "standby/instances/open-webui/runs.jsonl").read_text()
    assert ledger.count("point-seen") == 3, "once for each night"
    world.clock.set(at(5, "14:00"))
    standby.run()
    standby.run()
    assert kinds(heard) == ["overdue"]
    world.carry_away("nas")
    world.clock.set(at(9, "14:00"))
    standby.run()
    assert kinds(heard) == ["overdue", "overdue again"], "one that cannot be asked proves nothing"


def test_overdue_is_told_while_a_run_hangs_and_holds_the_lock(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    world.ticks(at(2, "12:00"), HOUR)
    heard = listening(world, *TROUBLES)
    with world.service().ledger.held(["nightly"], world.clock.now()):
        world.clock.set(at(4, "12:00"))
        assert world.run() == RunReport()
    assert kinds(heard) == ["overdue"]


def test_a_first_run_is_not_called_overdue_while_it_runs(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    heard = listening(world, *TROUBLES)
    world.run()
    world.clock.set(at(1, "03:00"))

    def look(_step: str) -> None:
        world.meanwhile = lambda _s: None
        world.clock.advance(2 * HOUR)
        world.run()
        assert heard.events == []

    world.meanwhile = look
    (record,) = world.run().runs
    assert record.outcome is RunOutcome.SUCCESS
    assert heard.events == []


@pytest.mark.slow
def test_only_what_is_new_is_told_and_what_else_is_so_stands_below(tmp_path: Path) -> None:
    world = a_world(tmp_path, repositories=("nas", "offsite"))
    heard = listening(world, EventKind.FAILURE, EventKind.RECOVERY)
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.ticks(at(3, "00:00"), HOUR)
    world.carry_away("offsite")
    world.ticks(at(4, "00:00"), HOUR)
    first, second = heard.events
    assert "nas" in first.detail
    assert "offsite" not in first.detail
    assert "offsite" in second.detail
    assert "snapshot, nas" not in second.detail
    assert "Told before, and still so:" in second.text
    world.bring_back("nas")
    world.ticks(at(5, "00:00"), HOUR)
    assert "recovered in part" in heard.events[2].title
    assert "offsite" in heard.events[2].text.partition("Still so:")[2]
    world.bring_back("offsite")
    world.ticks(at(6, "00:00"), HOUR)
    assert heard.events[3].title.endswith("is well again")


def test_a_run_that_began_and_has_no_end_is_told_as_a_failure(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    heart = Heart()
    world.heartbeat = heart
    heard = listening(world, EventKind.FAILURE)
    world.ticks(at(2, "02:00"), HOUR)
    world.clock.set(at(2, "03:00"))
    with killed_in_the_snapshot(world), pytest.raises(Killed):
        world.run()
    heart.beats.clear()
    world.clock.advance(TICK)
    (killed,) = world.run().killed
    assert killed.plan == "nightly"
    (event,) = heard.events
    assert "did not end: it was killed, ran out of memory, or the machine went down" in event.detail
    assert [each.kind for each in heart.beats] == [BeatKind.FAILURE]


class killed_in_the_snapshot:  # noqa: N801  used as a function
    """As if by -9: nothing is written on the way out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.patch = pytest.MonkeyPatch()

    def __enter__(self) -> None:
        def die(_step: str) -> None:
            raise Killed

        self.world.meanwhile = die
        real = run_plans._note

        def forgetful(ledger: RunLedger, entry: StepBegan | StepEnded | RunEnded, unwritten: list[str]) -> None:
            if not isinstance(entry, StepEnded | RunEnded):
                real(ledger, entry, unwritten)

        self.patch.setattr(run_plans, "_note", forgetful)

    def __exit__(self, *_: object) -> None:
        self.patch.undo()
        self.world.meanwhile = lambda _step: None


@dataclass
class Heart:
    """A heartbeat that keeps its beats."""

    beats: list[Beat] = field(default_factory=list)

    def beat(self, beat: Beat) -> None:
        self.beats.append(beat)


def test_killed_between_telling_and_remembering_it_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(tmp_path)
    heard = listening(world, EventKind.FAILURE)
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.clock.set(at(2, "03:00"))
    with monkeypatch.context() as patch:
        patch.setattr(ToldMemory, "write", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            world.run()
    assert kinds(heard) == ["failure"]
    world.clock.advance(TICK)
    world.run()
    assert kinds(heard) == ["failure", "failure"], "at least once"
    world.ticks(at(3, "00:00"), HOUR)
    assert kinds(heard) == ["failure", "failure"]


def test_killed_before_telling_the_next_tick_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(tmp_path)
    heard = listening(world, EventKind.FAILURE)
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.clock.set(at(2, "03:00"))

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run_plans, "announce", die)
        with pytest.raises(Killed):
            world.run()
    assert heard.events == []
    world.clock.advance(TICK)
    world.run()
    assert kinds(heard) == ["failure"]


@dataclass
class Deaf:
    """A notifier that fails while it is told to."""

    trouble: Exception | None
    tries: int = 0
    heard: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.tries += 1
        if self.trouble:
            raise self.trouble
        self.heard.append(event)


def test_a_dead_notifier_makes_no_good_backup_bad_and_is_named_everywhere(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    deaf = Deaf(OSError("no route to smtp://user:s3cr3t@mail.example"))
    world.notifiers.append(Subscription(deaf, when=(EventKind.SUCCESS,), name="notifications[1]"))
    other = listening(world, EventKind.SUCCESS)
    world.run()
    world.clock.set(at(1, "03:00"))
    report = world.run()
    (record,) = report.runs
    assert (record.outcome, record.exit_code) == (RunOutcome.SUCCESS, 0)
    (warning,) = report.warnings
    assert warning == "notifications[1] could not be told: no route to …"
    assert len(other.events) == 1, "one that is dead keeps nobody else from hearing"
    (run,) = world.vault.history()
    assert run.untold == ("notifications[1]: no route to …",)
    assert any("notifications[1] cannot be told since" in each for each in world.vault.status().warnings)
    world.clock.advance(TICK)
    assert world.run() == RunReport(), "said once, and tried at each tick"
    assert deaf.tries == 2
    deaf.trouble = None
    world.clock.advance(TICK)
    world.run()
    assert len(deaf.heard) == 1
    assert not any("cannot be told" in each for each in world.vault.status().warnings)
    assert len(world.vault.history()[0].untold) == 1


def test_a_hanging_notifier_is_waited_for_no_longer_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications.in_time, "__defaults__", (0.3,))
    released = threading.Event()

    class Hanging:
        def notify(self, event: Event) -> None:
            released.wait(30)

        def beat(self, beat: Beat) -> None:
            released.wait(30)

    world = a_world(tmp_path)
    world.heartbeat = Hanging()
    world.notifiers.append(Subscription(Hanging(), when=(EventKind.SUCCESS,), name="slow"))
    world.vault = world.a_vault(*world.plans)
    world.run()
    world.clock.set(at(1, "03:00"))
    started = time.monotonic()
    report = world.run()
    assert time.monotonic() - started < 10
    assert {each.partition(":")[0] for each in report.warnings} == {
        "slow could not be told",
        "heartbeat could not be told",
    }
    assert [each.exit_code for each in report.runs] == [0]
    released.set()


def test_two_at_once_do_not_tell_twice(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    world.ticks(at(2, "12:00"), HOUR)
    told_to: list[str] = []
    entered, go_on = threading.Event(), threading.Event()

    class Slow:
        def notify(self, event: Event) -> None:
            told_to.append(event.kind)
            entered.set()
            go_on.wait(10)

    world.notifiers.append(Subscription(Slow(), name="slow"))
    world.vault = world.a_vault(*world.plans)
    world.clock.set(at(4, "02:00"))
    service = world.service()
    first = threading.Thread(target=lambda: announce.announce(service))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=lambda: announce.announce(world.service()))
    second.start()
    second.join(10)
    go_on.set()
    first.join(10)
    assert told_to == ["overdue"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": 3}', b'{"key": "x", "heard": {"a": {"episodes": 5}}}'])
def test_a_memory_that_cannot_be_read_is_said_and_all_that_is_so_is_told_again(tmp_path: Path, damage: bytes) -> None:
    world = a_world(tmp_path)
    heard = listening(world, *TROUBLES)
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.ticks(at(2, "06:00"), HOUR)
    assert kinds(heard) == ["failure"]
    memory = world.folder / "state/instances/open-webui/told.json"
    assert memory.exists()
    memory.write_bytes(damage)
    (warning,) = world.run().warnings
    assert "cannot be read" in warning
    assert memory.with_name("told-damaged.json").read_bytes() == damage
    assert kinds(heard) == ["failure", "failure"]
    assert not world.run().warnings
    memory.unlink()
    world.run()
    assert kinds(heard) == ["failure", "failure", "failure"], "lost: told again, too"


@pytest.mark.slow
def test_a_clock_that_was_set_back_silences_nobody(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    heard = listening(world, *TROUBLES)
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.clock.set(at(25, "03:00"))  # it ran ahead for weeks
    world.run()
    begun = len(heard.events)
    assert begun >= 1
    world.clock.set(at(3, "03:10"))
    world.run()
    assert [each.reminder for each in heard.events[begun:]].count(True) == 1, "not only on the 28th"
    world.ticks(at(7, "04:00"), HOUR)
    assert [each.reminder for each in heard.events].count(True) == 2


def test_a_run_that_cannot_be_recorded_is_told_once_and_not_called_over_by_a_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(tmp_path)
    heard = listening(world, *TROUBLES)
    world.ticks(at(2, "00:00"), HOUR)
    real = RunLedger.append

    def full(ledger: RunLedger, entry: Entry) -> None:
        if isinstance(entry, RunBegan):
            raise ConfigError("no space left")
        real(ledger, entry)

    with monkeypatch.context() as patch:
        patch.setattr(RunLedger, "append", full)
        for minutes in (0, 10, 20):
            world.clock.set(at(2, "03:00") + timedelta(minutes=minutes))
            assert [each.exit_code for each in world.run().runs] == [1]
    assert kinds(heard) == ["failure"]
    world.clock.set(at(2, "03:30"))
    assert [each.exit_code for each in world.run().runs] == [0]
    assert kinds(heard) == ["failure", "recovery"]


@pytest.mark.parametrize("error", [ResumeError("open-webui is DOWN"), CancelledError("stopped on request")])
def test_what_is_nobodys_result_is_told_all_the_same(tmp_path: Path, error: ResumeError | CancelledError) -> None:
    world = a_world(tmp_path)
    heart = Heart()
    world.plan_heartbeats["nightly"] = heart
    heard = listening(world, EventKind.FAILURE)
    world.ticks(at(2, "00:00"), HOUR)
    heart.beats.clear()
    world.clock.set(at(2, "03:00"))
    world.refusal = error
    with pytest.raises(type(error)):
        world.run()
    (event,) = heard.events
    assert error.message in event.detail
    assert ("THE INSTANCE MAY NOT BE RUNNING" in event.text) is isinstance(error, ResumeError)
    assert [each.kind for each in heart.beats] == [BeatKind.START, BeatKind.FAILURE]


def test_heartbeats_say_success_only_while_every_plan_is_well(tmp_path: Path) -> None:
    later = Plan(name="later", schedule=CronSchedule(expression="0 5 * * *"))
    world = a_world(tmp_path, NIGHTLY, later)
    whole, own = Heart(), Heart()
    world.heartbeat = whole
    world.plan_heartbeats["later"] = own
    world.vault = world.a_vault(*world.plans)
    world.ticks(at(2, "00:00"), HOUR)
    good = [BeatKind.START, BeatKind.SUCCESS]
    assert [each.kind for each in whole.beats] == good * 2
    assert [each.kind for each in own.beats] == good
    whole.beats.clear()
    own.beats.clear()
    world.outcome = Outcome.INCOMPLETE
    world.ticks(at(2, "04:30"), HOUR)
    world.outcome = Outcome.COMPLETE
    world.ticks(at(3, "00:00"), HOUR)
    told = [BeatKind.START, BeatKind.FAILURE]
    assert [each.kind for each in whole.beats] == [*told, *told, BeatKind.FAILURE]
    assert [each.summary for each in whole.beats[3:]] == ["later: success; nightly is not well", "nightly: overdue"]
    assert [each.kind for each in own.beats] == good


def test_a_tick_that_finds_something_overdue_stops_the_heart_once(tmp_path: Path) -> None:
    world = a_world(tmp_path, Plan(name="nightly", schedule=DAILY, catch_up=False))
    heart = Heart()
    world.heartbeat = heart
    world.vault = world.a_vault(*world.plans)
    world.ticks(at(2, "12:00"), HOUR)
    heart.beats.clear()
    world.clock.set(at(3, "14:00"))
    world.run()
    world.run()
    assert [(each.kind, each.summary) for each in heart.beats] == [(BeatKind.FAILURE, "nightly: overdue")]


def test_nothing_due_and_nothing_to_tell_writes_nothing_but_when_it_was(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    listening(world, *TROUBLES)
    world.ticks(at(2, "06:00"), HOUR)

    def written() -> dict[Path, int]:
        found = (world.folder / "state").rglob("*")
        return {path: path.stat().st_mtime_ns for path in found if path.name != "runs.called"}

    before = written()
    assert world.run() == RunReport()
    assert written() == before


@pytest.mark.slow
def test_a_subscription_hears_only_of_its_plans(tmp_path: Path) -> None:
    later = Plan(name="later", schedule=CronSchedule(expression="0 5 * * *"), repositories=("offsite",))
    world = a_world(tmp_path, Plan(name="nightly", schedule=DAILY, repositories=("nas",)), later,
                    repositories=("nas", "offsite"))  # fmt: skip
    mine = listening(world, *TROUBLES, plans=("later",))
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.ticks(at(3, "00:00"), HOUR)
    assert mine.events == []
    world.carry_away("offsite")
    world.ticks(at(4, "00:00"), HOUR)
    assert {each.plan for each in mine.events} == {"later"}
    assert mine.events


@pytest.mark.slow
def test_the_summary_comes_once_a_week_on_monday_morning(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    heard = listening(world, EventKind.SUMMARY)
    world.ticks(at(22, "23:00"), 4 * HOUR)
    assert kinds(heard) == ["summary"] * 4, "of the week before, too, of which there is little to say"
    last = heard.events[-1]
    assert last.title == "open-webui: the week's backups: all is well"
    assert "nightly: 7 of 7 runs succeeded" in last.text


def test_the_memory_holds_no_address_and_follows_one_that_moved_in_the_list(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    first, second = Heard(), Heard()
    mails = Subscription(first, name="notifications[1]", remembered_as="mailto://admin:hunter2@example.org")
    world.notifiers.append(mails)
    world.vault = world.a_vault(*world.plans)
    world.ticks(at(2, "00:00"), HOUR)
    world.carry_away("nas")
    world.ticks(at(2, "06:00"), HOUR)
    assert kinds(first) == ["failure"]
    world.notifiers.insert(0, Subscription(second, name="notifications[1]", remembered_as="json://new"))
    world.vault = world.a_vault(*world.plans)
    world.run()
    assert kinds(first) == ["failure"], "known again"
    assert kinds(second) == ["failure"], "and the new one hears what is so"
    for path in (world.folder / "state").rglob("*"):
        if path.is_file():
            assert not any(word in path.read_bytes() for word in (b"hunter2", b"admin", b"example.org", b"json://new"))
            assert path.stat().st_mode & 0o077 == 0
    memory = json.loads((world.folder / "state/instances/open-webui/told.json").read_bytes())
    assert len(memory["heard"]) == 2


def test_somebody_elses_folder_in_shared_memory_is_not_believed(tmp_path: Path, own_shared_memory: Path) -> None:
    world = a_world(tmp_path)
    memory = ToldMemory(world.vault._context.state, "open-webui")
    planted = memory._spare
    planted.parent.mkdir(mode=0o777)
    planted.parent.chmod(0o777)
    planted.write_text('{"key": "planted", "heard": {}}')
    known, warning = memory.read()
    assert known.key != "planted"
    assert warning == ""
    elsewhere = own_shared_memory / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    planted.unlink()
    planted.parent.rmdir()
    planted.parent.symlink_to(elsewhere)
    with pytest.raises(PermissionError):
        memory._own_spare()
    assert os.listdir(elsewhere) == []


def test_what_nobody_foresaw_in_the_telling_makes_no_good_backup_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_world(tmp_path)
    listening(world, *TROUBLES)
    world.run()
    world.clock.set(at(1, "03:00"))

    def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(announce, "status", stumble)
    report = world.run()
    assert [each.exit_code for each in report.runs] == [0]
    (warning,) = report.warnings
    assert warning.startswith("nobody could be told anything: ")
    assert "hunter2" not in warning


def test_a_dry_run_tells_nobody(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    heart = Heart()
    world.heartbeat = heart
    heard = listening(world, *EventKind)
    world.run()
    world.clock.set(at(3, "14:00"))
    world.run(dry_run=True)
    assert heard.events == []
    assert heart.beats == []


def test_a_place_that_will_be_full_soon_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(tmp_path)
    heard = listening(world, *TROUBLES, remind=timedelta(days=5))

    def measure(*_: object) -> space.DiskSpace:
        return space.DiskSpace(size_bytes=1, free_bytes=int((at(24, "00:00") - world.clock.now()) / HOUR))

    monkeypatch.setattr(space, "measure", measure)
    world.ticks(at(9, "00:00"), HOUR)
    assert heard.events == [], "more than two weeks are left"
    world.ticks(at(14, "00:00"), HOUR)
    assert kinds(heard) == ["warning"]
    (event,) = heard.events
    assert event.plan == "nightly"
    assert "the place of nas is full in about" in event.text
    assert "no new restore point can be stored there" in event.text
    world.ticks(at(16, "00:00"), HOUR)
    assert kinds(heard) == ["warning", "warning again"]
    assert any("full in about" in each for each in world.vault.status(offline=True).warnings)


def the_recovery(first: Trouble, then: Sequence[Trouble], *when: EventKind) -> Event:
    """What somebody hears, after the first trouble, of the moment at which these are there instead."""
    someone, heard = Subscription(Heard(), when=(*when, EventKind.RECOVERY), name="someone"), MemoryOfOne()
    around = Surroundings(instance="open-webui", host="server", now=at(1, "03:00"), report=None, plans=(NIGHTLY,))
    for message in messages_for(someone, heard, Look(around=around, troubles=(first,))):
        heard = message.heard
    events = [each.event for each in messages_for(someone, heard, Look(around=around, troubles=then)) if each.event]
    (event,) = [each for each in events if each.kind is EventKind.RECOVERY]
    return event


AWAY = Trouble(
    plan="nightly",
    kind=EventKind.FAILURE,
    key="snapshot nas",
    what="snapshot, nas: there is no repository at /mnt/nas",
    hint="Is it mounted?",
    step=PlanStep.SNAPSHOT,
    repository="nas",
)
LATE = Trouble(plan="nightly", kind=EventKind.OVERDUE, key="nas", what="nas: overdue: no complete snapshot since …")


def test_that_runs_can_be_started_again_is_no_good_news_while_they_fail() -> None:
    event = the_recovery(cannot_start(ConfigError("the state directory cannot be used"), "start"), [AWAY], *TROUBLES)
    assert event.title == "open-webui: owui-vault recovered in part"
    for part in ("NOT ALL IS WELL", f"Still so:\n- {AWAY.what}", "No new restore point was stored", "Is it mounted?"):
        assert part in event.text
    assert AWAY.what in event.detail


def test_whoever_hears_of_failures_alone_does_not_take_an_overdue_plan_for_a_good_one() -> None:
    event = the_recovery(AWAY, [LATE], EventKind.FAILURE)
    assert event.title == "open-webui: plan nightly recovered in part"
    assert f"Still so:\n- {LATE.what}" in event.text
    assert the_recovery(AWAY, [], EventKind.FAILURE).title == "open-webui: plan nightly is well again"


def test_a_place_around_the_limit_is_not_told_each_night() -> None:
    someone = Subscription(Heard(), when=TROUBLES, remind=timedelta(days=99), name="someone")
    heard, told = MemoryOfOne(), []
    for night, days in enumerate((30, 13, 15, 13, 20, 13, 22, 15, 12), start=1):
        space = RepositorySpace(repository="nas", until_full_seconds=timedelta(days=days).total_seconds())
        around = Surroundings(instance="open-webui", host="server", now=at(night, "03:00"), report=None)
        look = Look(around=around, troubles=tuple(full_places({"nightly": ["nas"]}, [space])))
        for message in messages_for(someone, heard, look):
            heard = message.heard
            told += [night] if message.event else []
    assert told == [2, 9], "anew only after it was far away"
