"""What somebody is told now, decided from what they heard, what is wrong, and the clock. Pure.

One message for each episode: what is wrong is told when it begins, again after `remind`, and once that it is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from owui_vault.context.context import Subscription
from owui_vault.model import Event, EventKind
from owui_vault.model.runs import RunRecord
from owui_vault.service.overdue import is_believed
from owui_vault.service.telling.notification_text import (
    Surroundings,
    recovery_event,
    success_event,
    summary_event,
    trouble_event,
)
from owui_vault.service.telling.troubles import UNRECORDED, Trouble
from owui_vault.service.told import Episode, Heard

_TROUBLES = (EventKind.FAILURE, EventKind.INCOMPLETE, EventKind.OVERDUE, EventKind.WARNING)
_SUMMARY_HOUR = timedelta(hours=8)  # of Monday, on the machine's clock: nobody is woken for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is so at one moment.

    `is_whole` is false where nothing could be looked at but `troubles`: then nothing else is called over.
    `fresh`: plans that have just run. `successes`: of each plan its last run, where that went well.
    """

    around: Surroundings
    troubles: Sequence[Trouble]
    is_whole: bool = True
    fresh: Collection[str] = ()
    successes: Sequence[RunRecord] = ()
    runs: Sequence[RunRecord] = ()

    @property
    def week(self) -> str:
        """The week of which the last summary would be."""
        year, week, _ = (self.around.now.astimezone() - _SUMMARY_HOUR).isocalendar()
        return f"{year}-W{week:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to tell, if anything is, and what has been heard once it is told."""

    event: Event | None
    heard: Heard


def messages_for(subscription: Subscription, heard: Heard, look: Look) -> Iterator[Message]:
    """One after the other; each `heard` builds on the one before."""
    kinds = _kinds(subscription)
    present = {each.id: each for each in look.troubles if each.kind in kinds and subscription.is_about(each.plan)}
    plans = list(dict.fromkeys(each.plan for each in look.troubles))
    for plan in plans:
        here = [each for each in present.values() if each.plan == plan]
        for message in _begun(subscription, heard, look, here):
            heard = message.heard
            yield message
        for message in _reminded(subscription, heard, look, here):
            heard = message.heard
            yield message
    recovered: set[str] = set()
    for message in _over(subscription, heard, look, present.values()):
        heard = message.heard
        recovered.update([message.event.plan] if message.event else [])
        yield message
    yield from _good(subscription, heard, look, recovered)


def _kinds(subscription: Subscription) -> Sequence[EventKind]:
    kinds = [each for each in _TROUBLES if each in subscription.when]
    if not kinds and EventKind.RECOVERY in subscription.when:
        return _TROUBLES[:3]  # somebody who wants to know of nothing else
    return kinds


def would_hear(subscription: Subscription, heard: Heard, trouble: Trouble, now: datetime) -> bool:
    """Whether somebody would be told of this now: for the first time, or again."""
    if trouble.kind not in _kinds(subscription) or not subscription.is_about(trouble.plan):
        return False
    known = heard.episodes.get(trouble.id)
    return known is None or not is_believed(known.told, now) or now - known.told >= subscription.remind


def _begun(subscription: Subscription, heard: Heard, look: Look, here: Sequence[Trouble]) -> Iterator[Message]:
    """What nobody has heard of yet: one message about a plan, of the worst kind in it."""
    now = look.around.now
    news = [each for each in here if each.id not in heard.episodes and not each.fading]
    if not news:
        return
    others = [each for each in here if each.id in heard.episodes and each.kind is not EventKind.WARNING]
    begun = {each.id: Episode(since=now, told=now) for each in news}
    told = [each for each in news if each.kind in subscription.when]
    event = trouble_event(look.around, _worst(told), told, others, again=False) if told else None
    yield Message(event=event, heard=replace(heard, episodes={**heard.episodes, **begun}))


def _worst(troubles: Sequence[Trouble]) -> EventKind:
    return min((each.kind for each in troubles), key=_TROUBLES.index)


def _reminded(subscription: Subscription, heard: Heard, look: Look, here: Sequence[Trouble]) -> Iterator[Message]:
    """All that is wrong with a plan, once some of it was told so long ago.

    What was told at a time that has not come yet was told by a wrong clock, and nobody waits until then.
    """
    now = look.around.now
    open_ = [each for each in here if each.id in heard.episodes and each.kind in subscription.when and not each.fading]
    told = [heard.episodes[each.id].told for each in open_]
    if not any(not is_believed(each, now) or now - each >= subscription.remind for each in told):
        return
    again = {each.id: replace(heard.episodes[each.id], told=now) for each in open_}
    event = trouble_event(look.around, _worst(open_), open_, [], again=True)
    yield Message(event=replace(event, reminder=True), heard=replace(heard, episodes={**heard.episodes, **again}))


def _over(subscription: Subscription, heard: Heard, look: Look, present: Collection[Trouble]) -> Iterator[Message]:
    """What was told and is so no longer, plan by plan."""
    here = {each.id for each in present}
    gone: dict[str, list[str]] = {}
    for known in heard.episodes:
        plan, _, rest = known.partition("|")
        key = rest.partition("|")[2]
        is_fresh = plan in look.fresh or not key.startswith(UNRECORDED)
        if known not in here and look.is_whole and is_fresh:
            gone.setdefault(plan, []).append(known)
    names = {each.name for each in look.around.plans}
    for plan, keys in gone.items():
        heard = replace(heard, episodes={key: each for key, each in heard.episodes.items() if key not in keys})
        # Of whichever kind: who hears of failures alone must not take an overdue plan for a good one. And that runs
        # can be started again is no good news while they fail.
        about = [each for each in look.troubles if (not plan or each.plan == plan) and subscription.is_about(each.plan)]
        still = [each for each in about if each.kind is not EventKind.WARNING]
        worth = any(key.split("|")[1] != EventKind.WARNING.value for key in keys)
        wanted = subscription.hears(EventKind.RECOVERY, plan) and worth and (not plan or plan in names)
        yield Message(event=recovery_event(look.around, plan, still) if wanted else None, heard=heard)


def _good(subscription: Subscription, heard: Heard, look: Look, recovered: Collection[str]) -> Iterator[Message]:
    """Successes, and once a week how it is. Whoever has just heard that a plan is well again knows."""
    for run in look.successes:
        if subscription.hears(EventKind.SUCCESS, run.plan) and heard.successes.get(run.plan) != run.id:
            heard = replace(heard, successes={**heard.successes, run.plan: run.id})
            event = None if run.plan in recovered else success_event(look.around, run)
            yield Message(event=event, heard=heard)
    if EventKind.SUMMARY in subscription.when and look.is_whole and heard.week != look.week:
        about = [each for each in look.troubles if subscription.is_about(each.plan)]
        event = summary_event(look.around, look.runs, about) if heard.week else None  # of a week that was seen
        yield Message(event=event, heard=replace(heard, week=look.week))
