"""Finishes or rolls back what a killed run left behind."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from owui_vault.capture.stage import clear_stage, stage_errors
from owui_vault.components.names import WORK_DIR
from owui_vault.context.context import OperationContext
from owui_vault.context.scratch import clear_scratch
from owui_vault.context.state import short_name
from owui_vault.errors import CaptureError, InstanceError, LockHeldError, QuiesceError, RestoreError, RollbackError
from owui_vault.guardian import bounded_hold
from owui_vault.guardian.journal import Journal
from owui_vault.instance.data_dir import directory_at, folder_at
from owui_vault.instance.layout import work_dir_for
from owui_vault.model import NEVER, InstanceState, Quiesce, RecoverReport
from owui_vault.operations.recovery.previous_data import recover_swap
from owui_vault.operations.recovery.rollback import require_databases_closed
from owui_vault.operations.recovery.rollback_quiescer import HOLD_SECONDS, guarded_hold
from owui_vault.operations.recovery.swap import InPlace, Swap, in_place, pending_swap, running_swap
from owui_vault.system.lock import directory_lock
from owui_vault.system.work_folder import Folder, NotOursError, WorkFolder

_log = logging.getLogger(__name__)


def recover(context: OperationContext) -> RecoverReport:
    """Bring the instance back if a dead run left it quiet, and empty the stage. Waits for the lock first.

    The database may be missing: that is how an exchange that was cut short looks.
    """
    data_dir = folder_at(context.the_instance().path)
    with data_lock(context, data_dir) as lock:
        return RecoverReport(actions=recover_held(context, data_dir, lock))


@contextmanager
def recovered(context: OperationContext, cancel: threading.Event = NEVER) -> Iterator[tuple[Path, int]]:
    """The data directory with a database in it, and its lock, once what a dead run left is finished or undone."""
    path = context.the_instance().path
    data_dir = folder_at(path)
    if not running_swap(data_dir).exists():
        directory_at(path)
    with data_lock(context, data_dir, cancel=cancel) as lock:
        recover_held(context, data_dir, lock)
        yield directory_at(path), lock


@contextmanager
def data_lock(
    context: OperationContext, data_dir: Path, wait_seconds: float | None = None, cancel: threading.Event = NEVER
) -> Iterator[int]:
    """The lock of a data directory; yields its descriptor. None: waits as long as configured."""
    wait = context.limits.lock_wait_seconds if wait_seconds is None else wait_seconds
    with directory_lock(
        data_dir,
        wait_seconds=wait,
        clock=context.clock,
        what=str(data_dir),
        cancel=cancel,
        notices=context.notices,
    ) as lock:
        yield lock


def recover_first(context: OperationContext) -> None:
    """For what writes without touching the instance: recover where one is configured and can be seen.

    A run that lives holds the lock; it left nothing behind, and nobody waits for it here.
    """
    if context.instance is None:
        return
    try:
        here = context.with_container()
        data_dir = folder_at(here.the_instance().path)
    except InstanceError:
        return
    with suppress(LockHeldError), data_lock(here, data_dir, wait_seconds=0) as lock:
        recover_held(here, data_dir, lock)


def recover_held(context: OperationContext, data_dir: Path, lock: int) -> tuple[str, ...]:
    """The same, for a caller that holds the lock: that proves that the run which left something behind is gone."""
    actions = [
        *_recover_swap(context, data_dir, lock),
        *bounded_hold.recover(Journal(context.state.journal_folder(context.the_instance().name, data_dir))),
    ]
    with suppress(FileNotFoundError), opened_work(context, data_dir, lock, make=False) as work:
        if work.has("stage"):
            actions.append(f"emptied the stage in {work.shown}")
        clear_stage(work.path)
    return (*actions, *clear_scratch(context.state))


def _recover_swap(context: OperationContext, data_dir: Path, lock: int) -> tuple[str, ...]:
    """Never under a running instance: it may have been started at boot, on data that are half replaced."""
    try:
        with in_place(data_dir, lock) as place:
            return _recover_in_place(context, place, lock)
    except FileNotFoundError:
        return ()
    except RestoreError as error:
        if isinstance(error.__cause__, NotOursError):  # never made by us, and never followed
            return ()
        raise


def _recover_in_place(context: OperationContext, place: InPlace, lock: int) -> tuple[str, ...]:
    swap = pending_swap(place)
    if swap is None:
        return recover_swap(place)
    quiescer = context.quiescer
    if quiescer and Quiesce.STOP in quiescer.modes and quiescer.observe().state is not InstanceState.STOPPED:
        hold = guarded_hold(context, quiescer, place, lock)
        with hold(Quiesce.STOP, HOLD_SECONDS):
            return (*_undone(swap, place), *hold.remarks.warnings)
    return _undone(swap, place)


def _undone(swap: Swap, place: InPlace) -> tuple[str, ...]:
    try:
        require_databases_closed(place, swap)
    except QuiesceError as error:
        raise RollbackError(
            f"an in-place restore was interrupted, and cannot be rolled back: {error.message}",
            hint="Stop Open WebUI and keep it stopped, then run `recover`.",
        ) from error
    return recover_swap(place)


@contextmanager
def opened_work(context: OperationContext, data_dir: Path, lock: int, *, make: bool = True) -> Iterator[WorkFolder]:
    """The folder of the stage, held open for a caller with the lock of the data directory, and cleared afterwards.

    Inside the data directory it is found by the descriptor of the lock: whoever may rename what is there cannot put
    another in its place. A link that stands there is taken away, since it holds nobody's data. Raises CaptureError, and
    FileNotFoundError where there is none and none is to be made.
    """
    path = work_folder(context, data_dir)
    with ExitStack() as held:
        with stage_errors(path):
            if path.parent == data_dir:
                data = held.enter_context(Folder(os.dup(lock), data_dir))
                _remove_link(data, WORK_DIR)
                work = held.enter_context(WorkFolder.within(data, WORK_DIR, make=make))
            else:
                work = held.enter_context(WorkFolder.at(path, make=make))
        try:
            yield work
        finally:
            try:
                clear_stage(work.path)
            except CaptureError as error:  # the next run raises it
                _log.warning("%s", error.message)
            if path.parent == data_dir:
                with suppress(OSError):  # somebody else's files are in it, or it is not there any more
                    os.rmdir(WORK_DIR, dir_fd=lock)


def _remove_link(data: Folder, name: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(data.stat(name).st_mode):
            _log.warning("removed %s, a link that this program did not make", data.called(name))
            data.remove(name)


def work_folder(context: OperationContext, data_dir: Path) -> Path:
    """Where the stage of this data directory is: the same path at every run, and nobody else's."""
    return work_dir_for(data_dir, context.state.root, f"{context.the_instance().name}-{short_name(data_dir)}")
