"""The collapse guard: nothing is pruned while the newest complete snapshot holds much less than kept ones did.

An instance that lost its users or chats, by a mistake or an attack, goes on being backed up, and each night's retention
would remove one more of the snapshots that still have them. So the newest complete one is compared with the highest
numbers among all complete ones that are still kept, in whichever repository, since the last one that somebody accepted:
a loss in small steps is one, too. Numbers below `least` never count. A database that fails its check is as bad.

A pure decision: it knows no clock and no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from owui_vault.model import Collapse, CollapseLimits, LedgerEntry, Snapshot
from owui_vault.model.json_codec import local_text
from owui_vault.model.manifest import ACCEPTED_COLLAPSE, CHECK
from owui_vault.repositories.retention import age_order
from owui_vault.repositories.selectors import judged

_KINDS = ("users", "chats", "uploads")


def find_collapse(limits: CollapseLimits, series: Sequence[Snapshot], ledger: Sequence[LedgerEntry]) -> Collapse | None:
    """Whether a series has collapsed: `series` is what all repositories hold of it, in any order."""
    complete = sorted((each for each in judged(series) if each.is_restore_point), key=age_order)
    if not complete:
        return None
    newest = complete[-1]
    accepted = _accepted(ledger, newest)
    since = [each for each in complete if accepted is None or each.sequence >= (accepted.sequence or 0)]
    reasons = (*_falls(limits, newest, since), *_damage(ledger, accepted))
    if not reasons:
        return None
    return Collapse(snapshot=newest.id, sequence=newest.sequence, instant=newest.instant, reasons=reasons)


def in_words(collapse: Collapse) -> str:
    """The sentence for whoever has to decide."""
    return (
        f"nothing is pruned in any repository: the newest complete snapshot, {collapse.snapshot} of"
        f" {local_text(collapse.instant)}, has collapsed: {'; '.join(collapse.reasons)}"
    )


def _accepted(ledger: Sequence[LedgerEntry], newest: Snapshot) -> LedgerEntry | None:
    """What was accepted last. What lies ahead of the newest was accepted in another life of the series."""
    known = [
        each
        for each in ledger
        if each.kind == ACCEPTED_COLLAPSE and each.sequence is not None and each.sequence <= newest.sequence
    ]
    return max(known, key=lambda each: (each.sequence or 0, each.at), default=None)


def _falls(limits: CollapseLimits, newest: Snapshot, since: Sequence[Snapshot]) -> Iterator[str]:
    for kind in _KINDS:
        counted = [(number, each) for each in since if (number := getattr(each, kind)) is not None]
        if not counted:
            continue
        highest, best = max(counted, key=lambda each: (each[0], age_order(each[1])))
        if highest < limits.least:
            continue
        number = getattr(newest, kind)
        if number is None:
            if newest.plan is not None:  # format 1 counts nothing
                yield f"it does not say how many {kind} it has, and {best.id} has {highest}"
        elif highest - number > highest * Fraction(getattr(limits, kind)).limit_denominator(10_000):
            yield f"it has {number} {kind}, and {best.id} has {highest}"


def _damage(ledger: Sequence[LedgerEntry], accepted: LedgerEntry | None) -> Iterator[str]:
    """What the last check of each database found, if nobody has accepted a snapshot since."""
    last = {each.detail.partition(" ")[0]: each for each in ledger if each.kind == CHECK}
    for each in last.values():
        if not each.ok and (accepted is None or each.at > accepted.at):
            yield f"a database failed its check: {each.detail}"
