"""Snapshots and manifests in plain English, on the screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from owui_vault.cli.render import containers
from owui_vault.cli.render.phrases import age, count, duration, local, local_column, size, sqlite_versions, verified_on
from owui_vault.cli.render.reports import collections, secret_key, unanswered, warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import FULL, DatabaseRecord, LedgerEntry, Manifest, Outcome, Snapshot, SnapshotList

_CHECKS = 3  # of the checks before this snapshot, as many are shown


def listed(screen: Screen, snapshots: Sequence[Snapshot], now: datetime, *, everything: bool) -> None:
    """A table, newest first, with what the reader must know before relying on it."""
    _table(screen, snapshots, now, everything=everything)
    if isinstance(snapshots, SnapshotList):
        if snapshots.unanswered:
            screen.line()
        unanswered(screen, snapshots.unanswered)
        warnings(screen, snapshots.warnings)


def _table(screen: Screen, snapshots: Sequence[Snapshot], now: datetime, *, everything: bool) -> None:
    if not snapshots:
        where = "" if everything else " of this series (--all lists all series)"
        screen.line(f"no snapshots{where} yet; take one: owui-vault snapshot")
        return
    places = tuple(dict.fromkeys(each.repository for each in snapshots))  # in one order in all rows
    series = everything or len({each.instance for each in snapshots}) > 1
    rows = list(_by_id(snapshots).values())
    heading, instants = local_column(held[0].instant for held in rows)
    columns = ["id", heading, "age", "size", "outcome", "proof", "verified", "tags"]
    pins = any(each.pinned for each in snapshots)
    columns += ["pinned"] if pins else []
    columns[1:1] = ["series"] if series else []
    columns[1:1] = ["repositories"] if len(places) > 1 else []
    screen.table(
        columns,
        (
            [*_row(held, instant, now, places=places, series=series), *([_pinned_in(held)] if pins else [])]
            for held, instant in zip(rows, instants, strict=True)
        ),
        right=frozenset({"age", "size"}),
        least=("proof", "size", "age", "verified"),
    )


def _by_id(snapshots: Sequence[Snapshot]) -> dict[object, list[Snapshot]]:
    """What several repositories hold of one instant; foreign ones are each on their own."""
    rows: dict[object, list[Snapshot]] = {}
    for each in snapshots:
        ours = each.label and (each.label.id, each.label.instance, each.label.instant)
        rows.setdefault(ours or (each.repository, each.engine_id), []).append(each)
    return rows


def _row(held: Sequence[Snapshot], instant: str, now: datetime, *, places: Sequence[str], series: bool) -> list[str]:
    """One instant. Where repositories differ: the worse outcome, with where it is so, and the last verification."""
    snapshot = held[0]
    label = snapshot.label
    bad = [each for each in held if each.label and not each.is_restore_point]
    where = f" ({', '.join(dict.fromkeys(each.repository for each in bad))})" if 0 < len(bad) < len(held) else ""
    worst = (bad or held)[0]
    there = {each.repository for each in held}
    verified = max(held, key=lambda each: each.verified_at.timestamp() if each.verified_at else 0.0)
    return [
        label.id if label else snapshot.name,
        *([", ".join(name for name in places if name in there)] if len(places) > 1 else []),
        *([snapshot.instance or "(foreign)"] if series else []),
        instant,
        age(snapshot.instant, now),
        size(snapshot.size_bytes),
        f"{worst.label.outcome.value}{where}" if worst.label else "–",
        label.mode.value if label else "–",
        verified_on(verified),
        ", ".join(label.tags) if label else "",
    ]


def _pinned_in(held: Sequence[Snapshot]) -> str:
    """Whether it is pinned, and where, if not everywhere."""
    where = [each.repository for each in held if each.pinned]
    return "" if not where else "yes" if len(where) == len(held) else ", ".join(dict.fromkeys(where))


def manifest(screen: Screen, told: Manifest, *, everything: bool = False) -> None:
    """What a snapshot says about itself; `everything`: each vector collection as well."""
    complete = told.outcome is Outcome.COMPLETE
    screen.line(
        f"snapshot {told.id} of {told.instance}: {told.outcome.value.upper()}",
        style="bold" if complete else "bold yellow",
    )
    proof = told.proof
    application = told.application
    frozen = f", frozen for {duration(proof.freeze_seconds)}" if proof.freeze_seconds else ""
    numbers = ((told.users, "user"), (told.chats, "chat"), (told.uploads, "upload"))
    proven = f"{proof.mode.value}, {count(proof.attempts, 'attempt')}{frozen}"
    screen.pairs([
        ("instant", local(told.instant)),
        ("number", str(told.sequence)),
        ("proof", proven),
        ("plan", told.plan or ""),
        ("tags", ", ".join(told.tags)),
        ("numbers", ", ".join(count(number, what) for number, what in numbers if number is not None)),
        ("fingerprint", told.fingerprint),
        ("Open WebUI", application.version),
        ("schema", application.alembic_head),
        ("data directory", application.data_dir),
        ("image", application.image),
        ("SQLite", sqlite_versions(application.sqlite)),
        ("secret key", secret_key(told.secret_key)),
        ("made by", told.created_by),
    ])  # fmt: skip
    screen.heading("What it holds")
    rows = [(each.name.value, f"{each.files:,}", size(each.size_bytes)) for each in told.components]
    screen.table(("component", "files", "size"), rows, right=frozenset({"files", "size"}))
    screen.line()
    databases = [
        (each.path, size(each.size_bytes), each.journal_mode, _check(each), f"{sum(each.tables.values()):,}")
        for each in told.databases
    ]
    screen.table(("database", "size", "journal", "check", "rows"), databases, right=frozenset({"size", "rows"}))
    containers.ollama(screen, told.ollama)
    _rest(screen, told, everything=everything)


def _rest(screen: Screen, told: Manifest, *, everything: bool) -> None:
    if told.collections:
        screen.heading("Vector collections")
        collections(screen, told.collections, everything=everything)
    if told.left_out:
        screen.heading("Left out")
        screen.items(f"{each.path}: {each.reason} ({size(each.size_bytes)})" for each in told.left_out)
    if told.ledger:
        screen.heading("Earlier checks")
        shown = told.ledger if everything else told.ledger[-_CHECKS:]
        screen.items(f"{local(each.at)}: {_subject(each)}: {_outcome(each, everything=everything)}" for each in shown)
        if len(shown) < len(told.ledger):
            screen.line(f"  and {count(len(told.ledger) - len(shown), 'earlier one')} (-v lists all)")
    if told.problems:
        screen.heading("Why it is incomplete")
        screen.items(told.problems)
    warnings(screen, told.warnings)


def _outcome(entry: LedgerEntry, *, everything: bool) -> str:
    """What was found, in its first words."""
    if entry.ok or not entry.detail:
        return entry.detail or ("right" if entry.ok else "wrong")
    first = re.split(r"[.;:] ", entry.detail, maxsplit=1)[0]
    return entry.detail if everything or first == entry.detail else f"{first} (-v: all of it)"


def _subject(entry: LedgerEntry) -> str:
    where = f" in {entry.repository}" if entry.repository else ""
    return f"{entry.kind}{f', {entry.depth},' if entry.depth else ''} of {entry.snapshot}{where}"


def _check(database: DatabaseRecord) -> str:
    if database.damage:
        return "damaged at the source"
    return f"{database.check} (full)" if database.checked == FULL else database.check
