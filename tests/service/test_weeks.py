"""Weeks in which anything may happen: what is told is true, and what is healthy is fine."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from owui_vault.model import CronSchedule, Outcome, Plan, RunOutcome, Verdict
from owui_vault.service import run_plans
from tests.service.world import START, Killed, World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NIGHTLY = Plan(name="nightly", schedule=CronSchedule(expression="0 3 * * *"), jitter=HOUR)
GRACE = 6 * HOUR


class Weeks:
    """A world with troubles: a repository away, nights asleep, a clock that jumps, INCOMPLETE nights, kills."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.world = World(folder, NIGHTLY, repositories=("nas",))
        self.chance = chance
        self.away = False
        self.captured: list[datetime] = []
        self.troubled = START
        self.world.run()  # from here on the plan is known

    def day(self) -> None:
        """One day, tick by tick, with what today's trouble is."""
        trouble = self.chance.choice(["none"] * 6 + ["away", "asleep", "incomplete", "killed", "back", "forward"])
        world = self.world
        world.outcome = Outcome.INCOMPLETE if trouble == "incomplete" else Outcome.COMPLETE
        world.meanwhile = self._die if trouble == "killed" else lambda _step: None
        if trouble == "away":
            world.carry_away("nas")
        if trouble != "none":
            self.troubled = max(world.clock.now(), self.troubled)
        until = world.clock.now() + DAY
        if trouble == "asleep":
            world.clock.set(until)
        if trouble == "back":
            world.clock.set(world.clock.now() - timedelta(hours=self.chance.randrange(1, 30)))
        if trouble == "forward":
            world.clock.set(world.clock.now() + timedelta(hours=self.chance.randrange(1, 60)))
            until = max(until, world.clock.now() + DAY)
        while world.clock.now() < until:
            self._tick()
        if trouble == "away":
            world.bring_back("nas")
        if trouble != "none":
            self.troubled = max(world.clock.now(), self.troubled)

    def _tick(self) -> None:
        before = len(self.world.taken)
        try:
            self.world.run()
        except Killed:
            self.world.meanwhile = lambda _step: None
        if len(self.world.taken) > before:
            self.captured.append(self.world.taken[-1].instant)
        if self.chance.random() < 0.3:
            self.judge()
        self.world.to_the_next_tick(HOUR)

    def _die(self, _step: str) -> None:
        raise Killed

    def judge(self) -> None:
        """What status says is so, whatever happened before."""
        now = self.world.clock.now()
        report = self.world.vault.status()
        offline = self.world.vault.status(offline=True)
        complete = [each.instant for each in self.world.taken if each.is_restore_point and each.instant <= now]
        newest = max(complete, default=START)
        if now - newest > DAY + GRACE + 2 * HOUR:
            assert report.verdict is not Verdict.FINE, (now, newest)
            assert offline.verdict is not Verdict.FINE, (now, newest)
        if now - self.troubled > 2 * DAY:
            assert report.verdict is Verdict.FINE, (now, report.plans)
            assert offline.verdict is Verdict.FINE, (now, offline.plans)


@pytest.mark.parametrize(
    "days", [5, pytest.param(14, marks=pytest.mark.thorough), pytest.param(28, marks=pytest.mark.rare)]
)
def test_status_says_what_is_so_and_nothing_runs_too_often(tmp_path: Path, seed: random.Random, days: int) -> None:
    weeks = Weeks(tmp_path, random.Random(seed.random() + days))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_plans, "_note", _as_if_killed(run_plans._note))
        for _ in range(days):
            weeks.day()
    history = weeks.world.vault.history()
    assert {each.outcome for each in history} <= {
        RunOutcome.SUCCESS, RunOutcome.FAILED, RunOutcome.INCOMPLETE, RunOutcome.KILLED,
    }  # fmt: skip
    runs = [each for each in weeks.world.service().ledger.read_all().runs if each.ended]
    before = [None, *(each.outcome for each in runs)]
    begun = [run for run, last in zip(runs, before, strict=False) if RunOutcome.KILLED is run.outcome is not last]
    heard = [each for each in weeks.world.heard.events if not each.reminder]
    told = [each for each in heard if each.kind == "failure" and "did not end" in each.detail]
    assert len(told) == len(begun), "each episode is told once"
    assert len(weeks.captured) <= 3 * days, (
        "one a night, one more after a kill, and what a clock that went back repeats"
    )


def _as_if_killed(note: Callable[..., None]) -> Callable[..., None]:
    """A process that is killed writes nothing on its way out; an exception in a test would."""

    def forgetful(ledger: object, entry: object, unwritten: list[str]) -> None:
        error = getattr(getattr(entry, "record", None), "error", None)
        interrupted = error is not None and error.type == "CancelledError"
        if not interrupted and not (getattr(entry, "exit_code", 0) == 1 and getattr(entry, "took_seconds", 1) == 0):
            note(ledger, entry, unwritten)

    return forgetful
