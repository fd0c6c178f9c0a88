"""SQLite's full check of what is stored: run beside the engine, remembered by hash, reported in one sentence.

A capture can afford only SQLite's quick check, which passes an index that disagrees with its table. So each copy whose
bytes have not been checked yet gets the full one while the engine stores it, in a process of its own. A small database
is always checked to the end; a large one may add a tenth to the run's time, and is then left to `verify`. What is found
was already so in the live database: the snapshot is what it says it is, and stays a restore point.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from owui_vault.components.database.full_check import check_in_full
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.context.scratch import scratch
from owui_vault.context.state import StateDirectory
from owui_vault.errors import CancelledError, VaultError
from owui_vault.model import CURED, FULL, DatabaseRecord, FullCheck, LedgerEntry, Manifest
from owui_vault.model.manifest import CHECK

ALWAYS_BYTES = 64 << 20  # checked in half a second; up to here it is waited for, however short the run was
_ALWAYS_SECONDS = 60.0  # unless the machine is very busy
_SHARE = 0.1  # of the run's time
_TICK_SECONDS = 0.05
_MOST_SHOWN = 3
_PASSED = "ok"
_log = logging.getLogger(__name__)


def known_checks(context: OperationContext, databases: Sequence[DatabaseRecord]) -> tuple[DatabaseRecord, ...]:
    """The same records, each saying what is known of exactly these bytes."""
    known = {each.sha256: each for each in context.state.full_checks(context.series())}
    return tuple(
        replace(each, checked=FULL, damage=known[each.sha256].complaints)
        if each.check == _PASSED and each.sha256 in known
        else each
        for each in databases
    )


def earlier_damage(context: OperationContext, databases: Sequence[DatabaseRecord]) -> dict[str, str]:
    """A warning for each database that was damaged when it was last checked in full, be it in another state."""
    last = {each.path: each for each in context.state.full_checks(context.series())}
    return {
        each.path: in_words(last[each.path], is_past=last[each.path].sha256 != each.sha256)
        for each in databases
        if each.path in last and last[each.path].is_damaged
    }


def in_words(check: FullCheck, *, is_past: bool = False) -> str:
    """One sentence that names what is damaged, where it is so, and the remedy."""
    what = f"index {', '.join(check.indexes)}" if check.indexes else "its content"
    when = f", when it was last checked in full on {check.at:%Y-%m-%d} (UTC)" if is_past else ""
    shown, more = "; ".join(check.complaints[:_MOST_SHOWN]), len(check.complaints) - _MOST_SHOWN
    return (
        f"{check.path} {'was' if is_past else 'is'} DAMAGED AT THE SOURCE, in the live database itself{when}: {what}."
        f" SQLite's full check says: {shown}{f' and {more} more' if more > 0 else ''}."
        f" {_remedy(check)} (docs/troubleshooting.md)"
    )


def _remedy(check: FullCheck) -> str:
    remedy = f'`sqlite3 {check.path} "REINDEX"` while Open WebUI is stopped'
    if check.reindex == CURED:
        return f"{remedy} cures it: tried on a copy"
    if check.reindex.startswith("not tried"):
        return f"{remedy} cures most such damage (on a copy it was {check.reindex})"
    return f"`REINDEX` on a copy did not cure it ({check.reindex}): restore a snapshot from before it"


def warnings_of(checks: Iterable[FullCheck]) -> tuple[str, ...]:
    """The warnings of these checks."""
    return tuple(in_words(each) for each in checks if each.is_damaged)


class BackgroundCheck:
    """The full checks of one run, under way beside it."""

    def __init__(self, context: OperationContext, tree: Path, databases: Sequence[DatabaseRecord]) -> None:
        verdicts = {each.sha256: each for each in context.state.full_checks(context.series())}
        passed = [each for each in databases if each.check == _PASSED]  # another one is damaged enough
        now = context.clock.now()
        self._earlier = earlier_damage(context, databases)
        self._known = tuple(
            replace(verdicts[each.sha256], path=each.path, at=now) for each in passed if each.sha256 in verdicts
        )
        unknown = sorted((each for each in passed if each.sha256 not in verdicts), key=lambda each: each.size_bytes)
        self._unended = {each.path: each.size_bytes for each in unknown}
        self._found = _blank(unknown, now)
        self._context, self._tree = context, tree
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._check, name="full-check", daemon=True) if unknown else None
        if self._thread:
            self._thread.start()

    def _check(self) -> None:
        try:
            with scratch(self._context.state, "check") as folder:
                self._found = check_in_full(
                    self._tree,
                    self._found,
                    folder,
                    on_ended=lambda each: self._unended.pop(each.path, None),
                    cancel=self._cancel,
                )
        except (VaultError, OSError) as error:
            _log.warning("the full check could not be done: %s", error)
            why = error.message if isinstance(error, VaultError) else str(error)
            self._found = tuple(replace(each, not_done=why) for each in self._found)

    def finish(self, callbacks: Callbacks, run_seconds: float) -> tuple[FullCheck, ...]:
        """Wait as long as it may take, end it, and answer what is known of the databases of this run."""
        began = self._context.clock.monotonic()
        while self._thread and self._thread.is_alive() and not callbacks.cancel.is_set():
            waited = self._context.clock.monotonic() - began
            is_small = any(size <= ALWAYS_BYTES for size in list(self._unended.values()))
            if waited >= run_seconds * _SHARE and not (is_small and waited < _ALWAYS_SECONDS):
                break
            self._thread.join(_TICK_SECONDS)
        self.end()
        return (*self._known, *self._found)

    def end(self) -> None:
        """End it, whatever it has found."""
        self._cancel.set()
        if self._thread:
            self._thread.join()

    def amended(self, warnings: Sequence[str], checks: Sequence[FullCheck]) -> tuple[str, ...]:
        """A manifest's warnings, where what was damaged earlier gives way to what is known by now."""
        looked_at = {each.path for each in checks if not each.not_done}
        outdated = {words for path, words in self._earlier.items() if path in looked_at}
        return (*(each for each in warnings if each not in outdated), *warnings_of(checks))


@contextmanager
def check_in_background(context: OperationContext, tree: Path, manifest: Manifest) -> Iterator[BackgroundCheck]:
    """Check, for the length of the block, those copies of a manifest of which nobody knows yet."""
    beside = BackgroundCheck(context, tree, manifest.databases)
    try:
        yield beside
    finally:
        beside.end()


def check_now(
    context: OperationContext, tree: Path, databases: Sequence[DatabaseRecord], callbacks: Callbacks
) -> tuple[FullCheck, ...]:
    """Check these to the end, however long it takes, whatever is known of them. Raises CancelledError."""
    passed = [each for each in databases if each.check == _PASSED]
    if not passed:
        return ()
    with scratch(context.state, "check") as folder:
        found = check_in_full(tree, _blank(passed, context.clock.now()), folder, cancel=callbacks.cancel)
    if callbacks.cancel.is_set():
        raise CancelledError("stopped while databases were checked in full")
    return found


def _blank(databases: Sequence[DatabaseRecord], now: datetime) -> tuple[FullCheck, ...]:
    return tuple(FullCheck(path=each.path, sha256=each.sha256, at=now) for each in databases)


def remember(
    state: StateDirectory, manifest: Manifest, checks: Sequence[FullCheck], *, is_stored: bool
) -> tuple[str, ...]:
    """Keep the verdicts, and what has changed in the ledger; returns a warning where that cannot be done."""
    series = manifest.instance
    try:
        state.remember_full_checks(series, checks)
        for each in checks if is_stored else ():
            if entry := _news(manifest, state.ledger(series), each):
                state.add_to_ledger(series, entry)
    except VaultError as error:
        return (f"the result of SQLite's full check could not be recorded: {error.message}",)
    return ()


def _news(manifest: Manifest, ledger: Sequence[LedgerEntry], now: FullCheck) -> LedgerEntry | None:
    """What the ledger does not say yet: damage, or that it is gone."""
    about_it = (each for each in reversed(ledger) if each.kind == CHECK and each.detail.startswith(f"{now.path} "))
    before = next(about_it, None)
    if now.not_done or now.is_sound == (before is None or before.ok):
        return None
    detail = in_words(now) if now.is_damaged else f"{now.path} is sound again"
    return LedgerEntry(snapshot=manifest.id, repository="", kind=CHECK, at=now.at, ok=now.is_sound, detail=detail)
