"""Restoring in place, as a transaction.

    stage     the snapshot's tree, on the data's own file system, while the instance runs
    check     against the manifest, and whether its parts belong together
              ── up to here nothing has been touched ──
    stop      the instance, if it runs; guardian and journal stand behind it
    exchange  by renames; today's data go aside
    start     and wait for the application's own answer
    back      by the same renames, if it does not come up
    aside     today's data stay until `discard`; `undo` puts them back

A crash before the exchange is complete is undone, one after it is finished: by the guardian at once, or by `recover`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from owui_vault.errors import ContentMismatchError
from owui_vault.instance.compare import compare_with_manifest
from owui_vault.instance.examine import examine
from owui_vault.instance.locate import directory_at
from owui_vault.instance.names import WORK_DIR
from owui_vault.instance.rewrite import rewrite_paths
from owui_vault.instance.surroundings import look_around
from owui_vault.model import (
    Component,
    DiscardReport,
    Outcome,
    Progress,
    ReplacementPlan,
    ReplacementReport,
    SetAside,
    Step,
    UndoReport,
)
from owui_vault.ports import Application
from owui_vault.system.files import private_directory
from owui_vault.system.lock import directory_lock
from owui_vault.vault import aside
from owui_vault.vault.cutover import Cutover
from owui_vault.vault.notify import tell
from owui_vault.vault.parts import Parts, Watch
from owui_vault.vault.reading import find
from owui_vault.vault.recover import recover_held
from owui_vault.vault.replacement import divided, units, what_stops
from owui_vault.vault.restore import paths_of
from owui_vault.vault.survey import patiently
from owui_vault.vault.swap import Swap

_HEALTH_SECONDS = 300.0
_HOLD_SECONDS = 3600.0  # renames take no time; start, health check and the way back do


def replace_data(parts: Parts, plan: ReplacementPlan, application: Application, watch: Watch) -> ReplacementReport:
    """Carry out a plan. Raises RestoreError with everything as it was, or RollbackError when that could not be done."""
    started = parts.clock.monotonic()
    with _locked(parts, plan.data_dir) as lock:
        recover_held(parts, plan.data_dir)
        what_stops(parts, look_around(plan.data_dir))
        cutover = Cutover(parts=parts, application=application, lock=lock, data_dir=plan.data_dir)
        try:
            _stage(parts, plan, watch)
            done = cutover.carry_out(lambda: _swap(parts, plan), watch)
        except BaseException:
            _clean_up(plan.data_dir)
            raise
        kept = aside.finish(plan.data_dir, done.swap)
    report = ReplacementReport(
        plan=plan,
        aside=kept,
        outage=done.outage,
        health=done.health,
        warnings=plan.warnings,
        took=timedelta(seconds=parts.clock.monotonic() - started),
    )
    told = tell(parts, "replace", "success", f"restored {plan.snapshot.id} in place")
    return replace(report, warnings=(*report.warnings, *told))


def undo_last(parts: Parts, application: Application, watch: Watch) -> UndoReport:
    """Put back what the last replacement set aside. What had replaced it stays where the other was, until `discard`."""
    data_dir = directory_at(parts.the_instance().path)
    with _locked(parts, data_dir) as lock:
        recover_held(parts, data_dir)
        kept = aside.newest_aside(data_dir)
        aside.swap_of(kept)  # raises before anything is stopped
        what_stops(parts, look_around(data_dir))
        cutover = Cutover(parts=parts, application=application, lock=lock, data_dir=data_dir)
        try:
            done = cutover.carry_out(lambda: _swap_back(parts, data_dir, kept), watch)
        except BaseException:
            _clean_up(data_dir)
            raise
        aside.finish(data_dir, done.swap)
        shutil.rmtree(kept.path)
    return UndoReport(restored=kept, outage=done.outage, health=done.health)


def _belongs(name: str, swap: Swap) -> bool:
    """Whether a part took part in an exchange, or is a side file of one that did."""
    return name in swap.parts or any(name.startswith(f"{part}-") for part in swap.parts)


def discard_all(parts: Parts) -> DiscardReport:
    """Drop everything that was set aside, for good."""
    data_dir = directory_at(parts.the_instance().path)
    with _locked(parts, data_dir):
        recover_held(parts, data_dir)
        kept = aside.kept_aside(data_dir)
        for each in kept:
            shutil.rmtree(each.path)
        aside.remove_empty_folder(data_dir)
    return DiscardReport(discarded=kept)


@contextmanager
def _locked(parts: Parts, data_dir: Path) -> Iterator[int]:
    wait = parts.limits.lock_wait_seconds
    with directory_lock(data_dir, wait_seconds=wait, clock=parts.clock, what=str(data_dir)) as lock:
        yield lock


def _stage(parts: Parts, plan: ReplacementPlan, watch: Watch) -> None:
    """Bring the tree next to the live data and prove it, while the instance runs."""
    found = find(parts, plan.snapshot, plan.snapshot.repository, watch)
    engine, call = found.repository.engine, parts.call(found.repository, watch)
    private_directory(plan.data_dir / WORK_DIR)
    target = private_directory(aside.incoming_folder(plan.data_dir))
    entries = patiently(parts, lambda: engine.contents(found.snapshot.engine_id, call), watch)
    paths = paths_of(plan.components, (entry.path for entry in entries))
    watch.progress(Progress(step=Step.FETCH, repository=found.repository.name))
    patiently(parts, lambda: engine.fetch(found.snapshot.engine_id, target, call, paths=paths), watch)
    watch.progress(Progress(step=Step.CHECK, text="comparing with the manifest"))
    _check(plan, target / "data")
    if Component.DATABASE in plan.components:
        rewrite_paths(target / "data", plan.manifest.application, app_data_dir=plan.app_data_dir)
    _adopt_owner(target / "data", plan.data_dir)


def _check(plan: ReplacementPlan, data: Path) -> None:
    differences = list(compare_with_manifest(data, plan.manifest, components=plan.components).problems)
    everything = {Component.DATABASE, Component.VECTORS, Component.UPLOADS} <= set(plan.components)
    if everything and plan.manifest.outcome is Outcome.COMPLETE:
        differences += examine(data).broken
    if differences:
        raise ContentMismatchError(
            f"the snapshot does not come back as it was stored: {'; '.join(differences[:5])}",
            hint="Nothing was touched. Run `verify`, and restore another snapshot.",
        )


def _adopt_owner(data: Path, live: Path) -> None:
    """Give the restored files to whom today's belong: the user of the application may have another number here."""
    if os.geteuid() != 0 or not data.is_dir():
        return
    now = next((path.stat() for path in (live / "webui.db", live) if path.exists()), live.stat())
    before = next((path.lstat() for path in (data / "webui.db", data) if os.path.lexists(path)), now)
    if (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid):
        return
    for folder, below, files in os.walk(data):
        for path in (Path(folder) / name for name in (*below, *files)):
            status = path.lstat()
            if status.st_uid == before.st_uid:
                os.lchown(path, now.st_uid, now.st_gid)


def _swap(parts: Parts, plan: ReplacementPlan) -> Swap:
    """What is exchanged, from what lies there now: a stop takes side files of the databases away, or leaves some."""
    new = aside.incoming_folder(plan.data_dir) / "data"
    coming = set(units(new)) if new.is_dir() else set()
    going, _stays = divided(plan.data_dir, plan.manifest, plan.components)
    out = aside.aside_folder(plan.data_dir, plan.manifest.id, parts.clock.now())
    return Swap(
        data_dir=plan.data_dir,
        new=new,
        aside=out / "parts",
        parts=tuple(sorted({*going, *coming})),
        old=frozenset(name for name in (*going, *coming) if os.path.lexists(plan.data_dir / name)),
    )


def _swap_back(parts: Parts, data_dir: Path, kept: SetAside) -> Swap:
    forth = aside.swap_of(kept)
    here = tuple(name for name in sorted({*units(data_dir), *forth.old}) if _belongs(name, forth))
    out = aside.aside_folder(data_dir, kept.snapshot, parts.clock.now())
    return Swap(
        data_dir=data_dir,
        new=forth.aside,
        aside=out / "parts",
        parts=here,
        old=frozenset(name for name in here if os.path.lexists(data_dir / name)),
    )


def _clean_up(data_dir: Path) -> None:
    """After an error inside: undo what is not complete, remove what was staged."""
    aside.recover_swap(data_dir)
    aside.remove_empty_folder(data_dir)
