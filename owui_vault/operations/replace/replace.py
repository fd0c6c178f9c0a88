"""Restoring in place, as a transaction.

    stage     the snapshot's tree, on the data's own file system, while the instance runs
    check     against the manifest, and whether its parts belong together
              ── up to here nothing has been touched ──
    stop      the instance, if it runs; backed by guardian and journal
    swap      by renames; the previous data are kept
    start     and wait for the application's own answer
    back      by the same renames, if it does not come up
    keep      the previous data until `discard`; `undo` restores them

After a crash an incomplete swap is rolled back and a complete one is finished: by the guardian at once, or by
`recover`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from owui_vault.components.database.sealed_values import read_sealed
from owui_vault.components.database.upload_paths import rewrite_paths
from owui_vault.context.context import Callbacks, DataDirectory, OperationContext
from owui_vault.context.state import StateDirectory
from owui_vault.errors import (
    ConfigError,
    ContentMismatchError,
    RestoreError,
    ResumeError,
    RollbackError,
    StalePlanError,
)
from owui_vault.instance.data_dir import folder_at
from owui_vault.instance.runtime import inspect_environment
from owui_vault.instance.secret_key import FoundKey, better_text, unopened_text
from owui_vault.manifest.attribute_records import Adopted, attribute_warnings
from owui_vault.manifest.compare import compare_with_manifest
from owui_vault.manifest.health import examine
from owui_vault.model import (
    Component,
    DiscardReport,
    Outcome,
    Progress,
    ReplacementPlan,
    ReplacementReport,
    Secret,
    SetAside,
    Step,
    UndoReport,
)
from owui_vault.operations.notifications import notify
from owui_vault.operations.recovery import previous_data
from owui_vault.operations.recovery.key_swap import KEY_NAME
from owui_vault.operations.recovery.recover import data_lock, recover_held, recovered
from owui_vault.operations.recovery.swap import INCOMING, RECORD, InPlace, Swap, in_place, swap_units, with_side_files
from owui_vault.operations.replace.cutover import Cutover
from owui_vault.operations.replace.plan import divided, require_known_schema, what_stops
from owui_vault.operations.replace.rename_check import require_renamable
from owui_vault.operations.restore.quiet_start import Scheduled, is_ruined, settle_schedule
from owui_vault.operations.restore.restore import paths_of
from owui_vault.operations.restore.salvage import fetch_from_any
from owui_vault.ports import Application, Clock
from owui_vault.repositories.lookup import LocatedSnapshot, find, read_key
from owui_vault.secrets.application_key import try_key
from owui_vault.system.attributes import give_owner
from owui_vault.system.filesystem import sync_filesystem
from owui_vault.system.patterns import left_out_of
from owui_vault.system.unwinding import on_failure

_log = logging.getLogger(__name__)
_NEW = f"{INCOMING}/data"  # the part of the tree that is exchanged


def replace_data(
    context: OperationContext,
    plan: ReplacementPlan,
    application: Application,
    callbacks: Callbacks,
    *,
    accept_unknown_version: bool,
) -> ReplacementReport:
    """Carry out a plan.

    Raises ConfigError when it is not known whether the application can open the data and that was not accepted,
    StalePlanError when the plan was made for other data, RestoreError with everything as it was, or RollbackError when
    that could not be done.
    """
    if plan.unknown_version and not accept_unknown_version:
        raise ConfigError(
            f"{plan.unknown_version}; nothing was changed",
            hint="An older Open WebUI must never be started on newer data. Make sure that the installed version is"
            f" {plan.manifest.application.version or 'the one of the snapshot'} or newer, then repeat it with"
            " --accept-unknown-version.",
        )
    report = _replace(context, plan, application, callbacks)
    told = notify(context, "replace", "success", f"restored {plan.snapshot.id} in place")
    return replace(report, warnings=(*report.warnings, *told))


def _replace(
    context: OperationContext, plan: ReplacementPlan, application: Application, callbacks: Callbacks
) -> ReplacementReport:
    started = context.clock.monotonic()
    remarks: list[str] = []
    callbacks = replace(callbacks, warn=remarks.append)
    _require_same_place(context.the_instance(), plan)
    previous_data.require_no_link(plan.data_dir)
    require_known_schema(plan.manifest, plan.components, application)
    with data_lock(context, plan.data_dir, cancel=callbacks.cancel) as lock:
        recover_held(context, plan.data_dir, lock)
        what_stops(context.quiescer, inspect_environment(plan.data_dir))
        with in_place(plan.data_dir, lock, make=True) as place:
            cutover = Cutover(context=context, application=application, lock=lock, place=place)
            with _cleaned_up(place):
                scheduled = _stage(context, plan, place, callbacks)
                key_warnings = _try_key(context, plan, place, callbacks)
                done = cutover.run(lambda: _swap(context.clock, plan, place), callbacks)
            kept = previous_data.finish(place.work, done.swap)
    return ReplacementReport(
        plan=plan,
        aside=kept,
        outage=done.outage,
        health=done.health,
        scheduled=scheduled.due,
        held=scheduled.held,
        warnings=(*plan.warnings, *dict.fromkeys(remarks), *scheduled.warnings, *key_warnings, *done.warnings),
        took=timedelta(seconds=context.clock.monotonic() - started),
    )


def undo_last(context: OperationContext, application: Application, callbacks: Callbacks) -> UndoReport:
    """Restore what the last replacement kept. What had replaced it is kept instead, until `discard`."""
    data_dir = folder_at(context.the_instance().path)
    with data_lock(context, data_dir, cancel=callbacks.cancel) as lock:
        recover_held(context, data_dir, lock)
        try:
            held = ExitStack()
            place = held.enter_context(in_place(data_dir, lock))
        except FileNotFoundError as error:
            raise previous_data.no_previous_data(data_dir) from error
        with held:
            kept = previous_data.newest_previous_data(place.work)
            forth = previous_data.swap_of(place.work, kept)  # raises before anything is stopped
            what_stops(context.quiescer, inspect_environment(data_dir))
            cutover = Cutover(context=context, application=application, lock=lock, place=place)
            with _cleaned_up(place):
                require_renamable(data_dir, forth.old)
                done = cutover.run(lambda: _swap_back(context.clock, place, kept, forth), callbacks)
            previous_data.finish(place.work, done.swap)
            previous_data.drop_emptied(place.work, kept, key_is_back=bool(done.swap.key))
    return UndoReport(restored=kept, outage=done.outage, health=done.health, warnings=done.warnings)


def previous_data_of(context: OperationContext) -> tuple[SetAside, ...]:
    """All previous data, newest first, once what a killed run left is settled."""
    with recovered(context) as (data_dir, lock):
        try:
            with in_place(data_dir, lock) as place:
                return previous_data.list_previous_data(place.work)
        except FileNotFoundError:
            return ()


def discard_all(context: OperationContext) -> DiscardReport:
    """Delete all previous data, for good."""
    with recovered(context) as (data_dir, lock):
        try:
            with in_place(data_dir, lock) as place:
                return DiscardReport(discarded=_discarded(place))
        except FileNotFoundError:
            return DiscardReport(discarded=())


def _discarded(place: InPlace) -> tuple[SetAside, ...]:
    """One that cannot be removed does not keep the others from it; the first error is raised at the end."""
    kept = previous_data.list_previous_data(place.work)
    errors = []
    for each in kept:
        try:
            previous_data.drop(place.work, each)
        except RestoreError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    previous_data.remove_empty_folder(place.data)
    return kept


def _require_same_place(instance: DataDirectory, plan: ReplacementPlan) -> None:
    """The plan was shown for one directory; the configuration, a container or a link may lead elsewhere by now."""
    now = folder_at(instance.path)
    if now != plan.data_dir:
        raise StalePlanError(
            f"the plan is for {plan.data_dir}, but the data are in {now} now", hint="Make a new plan, and review it."
        )


@contextmanager
def _cleaned_up(place: InPlace) -> Iterator[None]:
    """After an error inside: undo what is not complete, remove what was staged.

    What the guardian could not roll back either is left to `recover`; the error that says so comes first.
    """

    def clean_up(error: BaseException) -> None:
        half_done = place.work.has(RECORD)
        if half_done and isinstance(error, (ResumeError, RollbackError)):
            return
        try:
            previous_data.recover_swap(place)
            previous_data.remove_empty_folder(place.data)
        except (OSError, RestoreError) as failure:
            if isinstance(failure, RollbackError):
                raise
            if place.work.has(RECORD):
                raise RollbackError(
                    f"the data in {place.data.shown} are half replaced and could not be rolled back: {failure}",
                    hint="Do not start Open WebUI. Remove what is in the way, then run `recover`.",
                ) from error
            _log.warning("what was staged in %s could not be removed: %s", place.data.shown, failure)

    with on_failure(clean_up):
        yield


def _stage(context: OperationContext, plan: ReplacementPlan, place: InPlace, callbacks: Callbacks) -> Scheduled:
    """Bring the tree next to the live data, prove it and see it on disk, while the instance runs."""
    found = find(context, plan.snapshot, plan.snapshot.repository, callbacks)
    previous_data.clear_incoming(place.work)
    place.work.make_folder(INCOMING)
    target = place.work.path / INCOMING
    paths = paths_of(plan.components, (entry.path for entry in found.contents()))
    elsewhere: tuple[str, ...] = ()
    if paths:  # of components that hold nothing there is nothing to fetch, and no path at all would mean everything
        found.client.progress(Step.FETCH)
        elsewhere = fetch_from_any(found, target, paths=paths, keep=False)
    callbacks.progress(Progress(step=Step.CHECK, text="comparing with the manifest"))
    _check(plan, target / "data", callbacks)
    is_elsewhere = plan.app_data_dir != plan.manifest.application.data_dir
    if Component.DATABASE in plan.components and is_elsewhere and not is_ruined(plan.manifest):
        rewrite_paths(target / "data", plan.manifest.application, app_data_dir=plan.app_data_dir)
    scheduled = settle_schedule(
        target / "data",
        plan.manifest,
        plan.components,
        now=context.clock.now(),
        held=(lambda: context.state.held_file(context.the_instance().name, plan.manifest.id))
        if plan.quiet_start
        else None,
        environment=lambda: context.inspect_environment().settings,
    )
    if plan.key_file:
        _stage_key(context.state, found, place)
    adopted = _adopt_owner(place)
    lost = attribute_warnings(target / "data", plan.manifest, plan.components, adopted=adopted) if adopted else ()
    require_renamable(plan.data_dir, _coming(place))
    # Renames are on disk before what they name, unless that is there already: a power cut would leave empty files.
    sync_filesystem(target)
    return replace(scheduled, warnings=(*elsewhere, *scheduled.warnings, *lost))


def _stage_key(state: StateDirectory, found: LocatedSnapshot, place: InPlace) -> None:
    key = read_key(state, found)
    if key is None:
        raise ContentMismatchError("the snapshot's secret key was not restored", hint="Nothing was changed.")
    place.work.write(f"{INCOMING}/{KEY_NAME}", key.reveal().encode(errors="surrogateescape"))


def _try_key(context: OperationContext, plan: ReplacementPlan, place: InPlace, callbacks: Callbacks) -> tuple[str, ...]:
    """Report, before anything is replaced, what the application's key will not open in the new data."""
    if Component.DATABASE not in plan.components:
        return ()
    environment = context.inspect_environment()
    if plan.key_file:
        staged = place.work.read(f"{INCOMING}/{KEY_NAME}").decode(errors="surrogateescape")
        environment = replace(environment, keys=(FoundKey(key=Secret(staged), source="the snapshot's"),))
    trial = try_key(read_sealed(place.work.path / _NEW), environment.candidates, environment.settings)
    wrong = tuple(
        text
        for text in (better_text(environment.keys, trial.chosen), unopened_text(environment.key_record(trial)))
        if text
    )
    for text in wrong:
        callbacks.progress(Progress(step=Step.CHECK, text=text))
    return wrong


def _check(plan: ReplacementPlan, data: Path, callbacks: Callbacks) -> None:
    found = compare_with_manifest(data, plan.manifest, components=plan.components, cancel=callbacks.cancel)
    differences = list(found.problems)
    everything = {Component.DATABASE, Component.VECTORS, Component.UPLOADS} <= set(plan.components)
    if everything and plan.manifest.outcome is Outcome.COMPLETE:
        differences += examine(
            data, is_left_out=left_out_of(plan.manifest), encrypted=plan.manifest.is_encrypted
        ).broken
    if differences:
        raise ContentMismatchError(
            f"the restored data differ from what was stored: {'; '.join(differences[:5])}",
            hint="Nothing was changed. Run `verify`, and restore another snapshot.",
        )


def _adopt_owner(place: InPlace) -> Adopted | None:
    """Give the restored files to whom today's belong: the user of the application may have another number here.

    Whether that was possible is looked at afterwards. None where nothing was restored.
    """
    if not place.work.has_folder(_NEW):
        return None
    data, live = place.work.path / _NEW, place.data.path
    now = next((path.stat() for path in (live / "webui.db", live) if path.exists()), live.stat())
    before = next((path.lstat() for path in (data / "webui.db", data) if os.path.lexists(path)), now)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        for name, status in place.work.walk(_NEW):
            if status.st_uid == before.st_uid:
                give_owner(place.work.place(f"{_NEW}/{name}"), now.st_uid, now.st_gid)
    return Adopted(live=place.data.shown, user=now.st_uid, group=now.st_gid)


def _coming(place: InPlace) -> frozenset[str]:
    return frozenset(swap_units(place.work.path / _NEW)) if place.work.has_folder(_NEW) else frozenset()


def _swap(clock: Clock, plan: ReplacementPlan, place: InPlace) -> Swap:
    """What is exchanged, from what is there now: a stop takes side files of the databases away, or leaves some."""
    going, _stays = divided(place.data.path, plan.manifest, plan.components)
    out = previous_data.previous_data_folder(place.work, plan.manifest.id, clock.now())
    names = with_side_files((*going, *_coming(place)))
    return Swap(
        new=_NEW,
        aside=f"{out}/parts",
        parts=names,
        old=frozenset(name for name in names if place.data.has(name)),
        key=plan.key_file,
    )


def _swap_back(clock: Clock, place: InPlace, kept: SetAside, forth: Swap) -> Swap:
    """The same the other way round: what took part then, and what is there of it now."""
    out = previous_data.previous_data_folder(place.work, kept.snapshot, clock.now())
    names = with_side_files(forth.parts)
    return Swap(
        new=forth.aside,
        aside=f"{out}/parts",
        parts=names,
        old=frozenset(name for name in names if place.data.has(name)),
        key=previous_data.key_to_put_back(place.work, kept, forth.key),
    )
