"""Tells whoever is to be told: what is so is looked up, what somebody has not heard yet is told and then remembered.

Killed between the two, it is told a second time: at least once, never not at all. One process tells at a time, by a
lock of its own: a run that hangs keeps nobody from hearing that it does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from owui_vault.context.context import Subscription
from owui_vault.errors import VaultError, as_result
from owui_vault.model import Beat, BeatKind, Event, EventKind
from owui_vault.model.runs import PlanStep, RunOutcome, RunRecord
from owui_vault.model.status import StatusReport
from owui_vault.operations.notifications import in_time
from owui_vault.ports import Heartbeat
from owui_vault.service.due import EVER, main_step
from owui_vault.service.overdue import is_believed
from owui_vault.service.parts import Service
from owui_vault.service.run_entries import History, NotTold, PointSeen
from owui_vault.service.status import status
from owui_vault.service.telling.episodes import Look, messages_for, would_hear
from owui_vault.service.telling.notification_text import Surroundings
from owui_vault.service.telling.troubles import UNRECORDED, Trouble, full_places, troubles_of
from owui_vault.service.told import Failing, Heard, Told, ToldMemory

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What is wrong, and what to say of the telling itself."""

    troubles: tuple[Trouble, ...] = ()
    warnings: tuple[str, ...] = ()


def announce(
    service: Service,
    *,
    fresh: Sequence[RunRecord] = (),
    extra: Sequence[Trouble] = (),
    instead: Trouble | None = None,
) -> Announced:
    """Tell what nobody has heard yet. Raises nothing: what was done is done.

    `fresh` are runs that have just ended, `extra` what else is wrong with them; `instead` is why nothing can be looked
    at. Somebody who cannot be told is a warning when that begins, and after each run.
    """
    try:
        return _announced(service, fresh, extra, instead)
    except Exception as raised:  # a notifier's part of a run: what was done is done
        message = as_result(raised).message
        _log.warning("nobody could be told anything: %s", message)
        return Announced(warnings=(f"nobody could be told anything: {message}",))


def _announced(
    service: Service, fresh: Sequence[RunRecord], extra: Sequence[Trouble], instead: Trouble | None
) -> Announced:
    listeners = [*service.context.notifiers, *_hearts(service)]
    if not listeners:
        return Announced()
    look, history = _look(service, fresh, extra, instead)
    known = [(each.remembered_as or f"{each.called} {number}", each) for number, each in enumerate(listeners)]
    told, damaged = service.told.read()
    late = [
        each
        for each in look.troubles
        if each.kind is EventKind.OVERDUE
        and any(would_hear(someone, told.of(name), each, look.around.now) for name, someone in known)
    ]
    if late and _others_have_stored(service, late, fresh, look.around.report):
        look, history = _look(service, fresh, extra, instead)
    if not damaged and not any(next(messages_for(each, told.of(name), look), None) for name, each in known):
        return Announced(troubles=tuple(look.troubles))  # as most ticks end: nothing is written, nobody is waited for
    with service.told.held() as alone:
        if not alone:
            return Announced(troubles=tuple(look.troubles))
        told, damaged_since = service.told.read()
        warnings = list(filter(None, dict.fromkeys((damaged, damaged_since))))
        for name, subscription in known:
            teller = _Teller(service.told, subscription, name, look)
            told = teller.tell(told)
            warnings += teller.warnings
            if teller.failed_anew and history and history.runs:
                with suppress(VaultError):  # it is remembered and logged besides
                    note = f"{subscription.called}: {teller.failed_anew}"
                    service.ledger.append(NotTold(run=history.runs[-1].id, at=look.around.now, detail=note))
    return Announced(troubles=tuple(look.troubles), warnings=tuple(warnings))


class _Teller:
    """One who is told, and what came of it."""

    def __init__(self, memory: ToldMemory, subscription: Subscription, remembered_as: str, look: Look) -> None:
        self._memory = memory
        self._subscription = subscription
        self._remembered_as = remembered_as
        self._look = look
        self.warnings: list[str] = []
        self.failed_anew = ""

    def tell(self, told: Told) -> Told:
        """All that there is to tell, until some of it does not arrive: the rest waits with it for the next time."""
        before = told.of(self._remembered_as)
        heard, failing = before, before.failing
        for message in messages_for(self._subscription, before, self._look):
            if message.event:
                failed = in_time(partial(self._subscription.notifier.notify, message.event))
                if failed:
                    failing = self._failed(before.failing, failed)
                    break
                failing = None
            heard = message.heard
            if message.event:  # at once: whoever is killed now tells only the rest again
                told = self._remembered(told, replace(heard, failing=None))
        heard = replace(heard, failing=failing)
        return told if heard == told.of(self._remembered_as) else self._remembered(told, heard)

    def _failed(self, known: Failing | None, failed: str) -> Failing:
        name = self._subscription.called
        if known is None:
            self.failed_anew = failed
        is_news = known is None or bool(self._look.fresh)
        _log.log(logging.WARNING if is_news else logging.INFO, "%s could not be told: %s", name, failed)
        if is_news:  # cron mails what a tick prints, and there is one every ten minutes
            self.warnings.append(f"{name} could not be told: {failed}")
        return Failing(name=name, since=known.since if known else self._look.around.now, detail=failed)

    def _remembered(self, told: Told, heard: Heard) -> Told:
        told = told.with_heard(self._remembered_as, heard)
        complaint = self._memory.write(told)
        if complaint and complaint not in self.warnings:
            _log.warning("%s", complaint)
            self.warnings.append(complaint)
        return told


def _look(
    service: Service, fresh: Sequence[RunRecord], extra: Sequence[Trouble], instead: Trouble | None
) -> tuple[Look, History | None]:
    around = Surroundings(
        instance=service.context.series(), host=os.uname().nodename, now=service.context.clock.now(), report=None
    )
    if instead:
        return Look(around=around, troubles=(instead,), is_whole=False), None
    history = service.ledger.read()
    report = status(service, None, offline=True)
    states = {each.plan: each for each in report.plans}
    runs: list[RunRecord] = []
    troubles = list(extra)
    successes = []
    recorded = {each.id for each in history.runs}
    for plan in service.plans:
        own = _merged(history.of(plan.name), [each for each in fresh if each.plan == plan.name])
        runs += own
        found = troubles_of(plan, service.places_of(plan), own, states.get(plan.name), now=around.now)
        lost = any(each.id not in recorded for each in own)
        troubles += [_unrecorded(each) if lost and each.kind is not EventKind.OVERDUE else each for each in found]
        ended = [each for each in own if each.outcome is not RunOutcome.RUNNING]
        successes += [each for each in ended[-1:] if each.outcome is RunOutcome.SUCCESS]
    troubles += full_places({each.name: service.places_of(each) for each in service.plans}, report.space)
    look = Look(
        around=replace(around, report=report, plans=service.plans),
        troubles=tuple(troubles),
        fresh={each.plan for each in fresh},
        successes=successes,
        runs=runs,
    )
    return look, history


def _others_have_stored(
    service: Service, late: Sequence[Trouble], fresh: Sequence[RunRecord], report: StatusReport | None
) -> bool:
    """Whether what would be told as overdue is not: another machine, or somebody by name, may have run that plan.

    Only the repository can say it, and it is asked once before anybody is alarmed; what it says is written down. One
    that has just not answered is not asked again.
    """
    silent = {each.repository for run in fresh for step in run.steps for each in step.results if each.silent}
    known = {
        (state.plan, each.repository): each.newest.instant
        for state in (report.plans if report else ())
        for each in state.repositories
        if each.newest
    }
    found = False
    for name in dict.fromkeys(each.repository for each in late if each.repository not in silent):
        try:
            listed = service.operations.snapshots(name)
        except Exception as raised:  # a repository that cannot be asked: overdue, as far as is known
            _log.info("%s could not be asked what is there: %s", name, as_result(raised).message)
            continue
        now = service.context.clock.now()
        for plan in service.select([each.plan for each in late if each.repository == name]):
            points = [each for each in listed if each.is_restore_point and is_believed(each.instant, now)]
            own = [each for each in points if not plan.snapshot or each.plan == plan.name]
            newest = max(own, key=lambda each: each.instant, default=None)
            counts = main_step(plan) in (PlanStep.SNAPSHOT, PlanStep.REPLICATE)
            if newest and counts and newest.instant > known.get((plan.name, name), EVER):
                seen = PointSeen(plan=plan.name, repository=name, at=now, snapshot=newest.id, instant=newest.instant)
                with suppress(VaultError):  # it is asked again at the next tick
                    service.ledger.append(seen)
                    found = True
    return found


def _merged(recorded: Sequence[RunRecord], fresh: Sequence[RunRecord]) -> list[RunRecord]:
    """What was just done as it went, also where the ledger could not take all of it."""
    new = {each.id: each for each in fresh}
    return [*(new.pop(each.id, each) for each in recorded), *new.values()]


def _unrecorded(trouble: Trouble) -> Trouble:
    return replace(trouble, key=f"{UNRECORDED}{trouble.key}")


class _Heart:
    """A heartbeat as somebody who is told: a tick finds out that something is overdue, and no run would say it."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat

    def notify(self, event: Event) -> None:
        """Beat."""
        self._heartbeat.beat(Beat(kind=BeatKind.FAILURE, summary=f"{event.plan}: overdue", log=event.text))


def _hearts(service: Service) -> Iterator[Subscription]:
    context, when = service.context, (EventKind.OVERDUE,)
    if context.heartbeat:
        yield Subscription(_Heart(context.heartbeat), when=when, name="heartbeat", remembered_as="heartbeat")
    for plan, each in context.plan_heartbeats.items():
        name = f"heartbeat of {plan}"
        yield Subscription(_Heart(each), when=when, plans=(plan,), name=name, remembered_as=name)
