"""Two months of two plans with all that happens to a home server: what is heard and kept is what `two_months.txt` says.

The calendar is written by hand, from the rules in docs/scheduling.md and docs/monitoring.md. Its zone has both clock
changes within them: back on 15 February at 03:00, on again on 22 March at 02:00.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from owui_vault import (
    Beat,
    BeatKind,
    BorgEngine,
    CronSchedule,
    Event,
    EventKind,
    Outcome,
    Plan,
    Quiesce,
    ResticEngine,
    RetentionPolicy,
    RunReport,
    Secret,
    Subscription,
    TagPolicy,
    VaultError,
)
from owui_vault.ports import Engine
from owui_vault.service import told
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.borg_templates import WITHOUT_SELFTEST
from tests.service.world import World

CALENDAR = Path(__file__).with_name("two_months.txt")
ZONE = ZoneInfo("Africa/Casablanca")
DAY = timedelta(days=1)
BEGIN = date(2026, 2, 1)
KEEP = RetentionPolicy(last=3, daily=7, weekly=4, tag_policies=(TagPolicy(tag="cold", keep=RetentionPolicy(weekly=8)),))
NIGHTLY = Plan(name="nightly", schedule=CronSchedule(expression="30 2 * * *", timezone=ZONE.key))
COLD = Plan(
    name="cold",
    schedule=CronSchedule(expression="0 4 * * 0", timezone=ZONE.key),
    quiesce=Quiesce.STOP,
    tags=("cold",),
    verify=True,
)
TROUBLES = (EventKind.FAILURE, EventKind.INCOMPLETE, EventKind.OVERDUE, EventKind.WARNING, EventKind.RECOVERY)
#: When the machine looks whether something is due: at the moments at which something changes, and seldom else.
SELDOM = ("02:30", "04:00", "08:00", "08:40", "20:00")
OFTEN = tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in range(0, 24 * 60, 10))


@dataclass(frozen=True, slots=True)
class Row:
    """A day of the calendar: what happens on it, what is heard, and what is stored."""

    day: date
    happens: tuple[tuple[str, str], ...]
    admin: str
    owner: str
    heart: str
    stored: str


@pytest.fixture(autouse=True)
def local_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = tmp_path / "shm"
    place.mkdir()
    monkeypatch.setattr(told.ToldMemory.__init__, "__defaults__", (place,))
    monkeypatch.setenv("TZ", ZONE.key)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def calendar() -> list[Row]:
    rows = []
    for line in CALENDAR.read_text(encoding="utf-8").splitlines():
        if line[:5] != "2026-":
            continue
        day, happens, *heard = (cell.strip() for cell in line.split("|"))
        scenes = tuple((scene[:5], scene[6:]) for scene in happens.split("; ") if scene)
        rows.append(Row(date.fromisoformat(day[:10]), scenes, *heard))
    return rows


def expected_at_the_end() -> dict[str, str]:
    lines = (line.partition(" at the end: ") for line in CALENDAR.read_text(encoding="utf-8").splitlines())
    return {name: days for name, _, days in lines if days}


@dataclass
class Listener:
    """A notifier, and a heartbeat, that tell when they heard what."""

    clock: Callable[[], datetime]
    dead: bool = False
    heard: list[tuple[datetime, str]] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        if self.dead:
            raise VaultError("nobody answers there")
        again = " again" if event.reminder else ""
        about = f" {event.plan}" if event.plan else ""
        self.heard.append((self.clock(), f"{event.kind.value}{again}{about}"))

    def beat(self, beat: Beat) -> None:
        if beat.kind is not BeatKind.START:
            self.heard.append((self.clock(), "ok" if beat.kind is BeatKind.SUCCESS else "bad"))

    def take(self) -> list[tuple[datetime, str]]:
        heard, self.heard = self.heard, []
        return heard


class Months:
    """The machine, and who hears of it."""

    def __init__(self, folder: Path, make_engine: Callable[[Path, Secret], Engine] = DirectoryEngine) -> None:
        self.world = World(
            folder / "world",
            NIGHTLY,
            COLD,
            repositories=("disk", "nas"),
            keep=KEEP,
            start=local(BEGIN, "12:00"),
            make_engine=make_engine,
        )
        self.admin, self.owner, self.heart = (Listener(self.world.clock.now) for _ in range(3))
        self._begin_anew()
        self.asleep_until: datetime | None = None
        self.dies_in = ""
        self.world.run()

    def _begin_anew(self) -> None:
        self.world.notifiers[:] = [
            Subscription(self.admin, when=TROUBLES, name="admin", remembered_as="json://admin"),
            Subscription(self.owner, when=(EventKind.SUMMARY,), name="owner", remembered_as="json://owner"),
        ]
        self.world.heartbeat = self.heart
        self.world.vault = self.world.a_vault(*self.world.plans)

    def live(self, row: Row, times: tuple[str, ...]) -> Row:
        """This day, with what happens on it; comes back as it was."""
        before = len(self.world.taken)
        moments = [(local(row.day, each), "") for each in times]
        moments += [(local(row.day, each, fold=1), "") for each in times]
        scenes = [(local(row.day, at), what) for at, what in row.happens]
        for moment, what in sorted({*moments, *scenes}, key=lambda each: (each[0], not each[1])):
            if self.asleep_until and moment < self.asleep_until:
                continue
            self.asleep_until = None
            if moment > self.world.clock.now() or what:
                self.world.clock.set(max(moment, self.world.clock.now()))
            if what:
                self.happen(what)
            elif moment == self.world.clock.now():
                self._tick()
        stored = zip(self.world.taken[before:], self.world.places[before:], strict=True)
        return Row(
            row.day,
            row.happens,
            said(self.admin, row.day),
            said(self.owner, row.day),
            said(self.heart, row.day),
            "; ".join(f"{one.plan} {'+'.join(places)}" for one, places in stored),
        )

    def happen(self, what: str) -> None:
        """A word of the calendar is a method of this name."""
        word, *rest = what.split()
        getattr(self, "on_" + word.replace("-", "_"))(*rest)

    def on_away(self, *names: str) -> None:
        for name in names:
            self.world.carry_away(name)

    def on_back(self, *names: str) -> None:
        for name in names:
            self.world.bring_back(name)

    def on_full(self, name: str) -> None:
        self.world.full.add(name)

    def on_room(self, name: str) -> None:
        self.world.full.discard(name)

    def on_incomplete(self) -> None:
        self.world.outcome = Outcome.INCOMPLETE

    def on_complete(self) -> None:
        self.world.outcome = Outcome.COMPLETE

    def on_asleep(self, day: str, at: str) -> None:
        self.asleep_until = local(date.fromisoformat(day), at)

    def on_wakes(self) -> None:
        self.world.run()

    def on_power_cut(self, step: str) -> None:
        self.dies_in = step

    def on_clock(self, hours: str) -> None:
        self.world.clock.set(self.world.clock.now() + timedelta(hours=float(hours.removesuffix("h"))))
        self.world.run()

    def on_unreachable(self) -> None:
        self.admin.dead = True

    def on_reachable(self) -> None:
        self.admin.dead = False

    def on_lost_state(self) -> None:
        shutil.rmtree(self.world.folder / "state")
        self._begin_anew()

    def on_two_daemons(self) -> None:
        """In the middle of the next run somebody else ticks."""

        def tick(_step: str) -> None:
            self.world.meanwhile = lambda _step: None
            assert self.world.run() == RunReport()

        self.world.meanwhile = tick

    def on_long_prune(self, hours: str) -> None:
        """The next run holds its lock so long, and whoever looks meanwhile finds it."""

        def stay(step: str) -> None:
            if step != "prune":
                return
            self.world.meanwhile = lambda _step: None
            until = self.world.clock.now() + timedelta(hours=float(hours.removesuffix("h")))
            while self.world.clock.now() < until:
                self.world.clock.advance(timedelta(hours=1))
                assert self.world.run() == RunReport()

        self.world.meanwhile = stay

    def _tick(self) -> None:
        """One look whether something is due; where the power is cut in it, nothing is done on the way out."""
        if not self.dies_in:
            self.world.run()
            return
        if (child := os.fork()) == 0:
            self.world.meanwhile = lambda step: os._exit(9) if step == self.dies_in else None
            self.world.run()
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9:
            self.dies_in = ""


def local(day: date, at: str, *, fold: int = 0) -> datetime:
    moment = datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=ZONE, fold=fold)
    return moment.astimezone(UTC)


def said(listener: Listener, day: date) -> str:
    """`+1` before what is heard on the day after."""
    words = []
    for moment, what in listener.take():
        then = moment.astimezone(ZONE)
        later = (then.date() - day).days
        words.append(f"{f'+{later} ' if later else ''}{then:%H:%M} {what}")
    return "; ".join(words)


def kept(months: Months) -> dict[str, str]:
    """The restore points in each repository, oldest first, by their days; `c` those of the cold plan."""
    found = {}
    for name in months.world.engines:
        listed = months.world.vault.snapshots(name)
        found[name] = " ".join(
            f"{each.instant.astimezone(ZONE):%m-%d}{'c' if each.plan == COLD.name else ''}" for each in reversed(listed)
        )
    return found


@pytest.mark.parametrize("days", [14, pytest.param(59, marks=pytest.mark.thorough)])
def test_what_is_heard_and_kept_is_what_the_calendar_says(tmp_path: Path, days: int) -> None:
    months = Months(tmp_path)
    for expected in calendar()[:days]:
        assert months.live(expected, SELDOM) == expected
    if days == len(calendar()):
        assert kept(months) == expected_at_the_end()


@pytest.mark.rare
def test_whoever_looks_every_ten_minutes_hears_the_same(tmp_path: Path) -> None:
    """On the same days, in the same order, some of it sooner."""
    months = Months(tmp_path)
    for expected in calendar():
        found = months.live(expected, OFTEN)
        assert (words(found.admin), words(found.owner)) == (words(expected.admin), words(expected.owner)), expected
        assert set(words(found.heart)) == set(words(expected.heart)), expected
        assert found.stored == expected.stored
    assert kept(months) == expected_at_the_end()


@pytest.mark.rare
def test_a_month_on_real_engines_is_the_same(tmp_path: Path) -> None:
    """`disk` is a repository of borg, `nas` one of restic, and what they keep is what the directory engine keeps."""
    real, ours = Months(tmp_path / "real", a_real_engine), Months(tmp_path / "ours")
    for expected in calendar()[:28]:
        assert real.live(expected, SELDOM) == expected
        ours.live(expected, SELDOM)
    assert kept(real) == kept(ours)


def a_real_engine(place: Path, passphrase: Secret) -> Engine:
    if place.name == "disk":
        return BorgEngine(str(place), passphrase, environment=WITHOUT_SELFTEST)
    return ResticEngine(str(place), passphrase)


def words(heard: str) -> list[str]:
    """Without the times of day."""
    return [each.split(":", 1)[1][3:] for each in heard.split("; ") if each]
