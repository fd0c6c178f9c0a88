"""Holds the instance quiet for other tools: host-level backups, snapshots of volumes and of machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from owui_vault.capture.child.watch import at_rest
from owui_vault.components.names import DATABASE, VECTOR_DATABASE
from owui_vault.context.context import OperationContext
from owui_vault.errors import ConfigError, QuiesceError
from owui_vault.guardian.bounded_hold import Hold
from owui_vault.guardian.journal import Journal
from owui_vault.instance.processes import find_holders
from owui_vault.model import Quiesce
from owui_vault.operations.recovery.recover import recovered
from owui_vault.operations.recovery.rollback_quiescer import hold_limits
from owui_vault.ports import Held, Quiescer


@contextmanager
def hold_quiet(context: OperationContext, mode: Quiesce, limit_seconds: float) -> Iterator[Held]:
    """Quiet for the length of the block, with lock, journal and guardian as for a snapshot.

    Raises QuiesceError at its end when the instance was woken or started meanwhile: whatever was done in the block was
    done to data in motion. An instance that was stopped before counts too. Raises it at its beginning as well when
    somebody else than who was made quiet works on the data.
    """
    quiescer = require_quiescer(context.quiescer, mode)
    with recovered(context) as (data_dir, lock), open_hold(context, quiescer, lock)(mode, limit_seconds) as held:
        _require_nobody_awake(data_dir, quiescer)
        yield held
        held.confirm()
        _require_nobody_awake(data_dir, quiescer)


def _require_nobody_awake(data_dir: Path, quiescer: Quiescer) -> None:
    """A stale pid file names no process, or the wrong one. The kernel knows which processes have the data open."""
    holders = find_holders((data_dir / DATABASE, data_dir / VECTOR_DATABASE), writing=True).found
    awake = [f"{each.name} ({each.pid})" for each in holders if at_rest(each.pid) is False]
    if awake:
        raise QuiesceError(
            f"{', '.join(awake)} is using the data in {data_dir}, and {quiescer.name} does not control it",
            hint="Check instance.pid_file or instance.systemd_unit, and stop what else is using the data.",
        )


def require_quiescer(quiescer: Quiescer | None, mode: Quiesce) -> Quiescer:
    """The quiescer for this mode. Raises ConfigError if there is none."""
    if quiescer is None or mode not in quiescer.modes:
        raise ConfigError(
            f"{mode.value} is not available for this instance",
            hint="Set instance.container or instance.systemd_unit (pause, stop), or instance.pid_file (pause).",
        )
    return quiescer


def open_hold(context: OperationContext, quiescer: Quiescer, lock: int) -> Hold:
    """What makes the instance quiet and lively again in this run, which holds `lock`."""
    instance = context.the_instance()
    journal = Journal(context.state.journal_folder(instance.name, instance.path))
    return Hold(quiescer, journal, lock, context.clock, hold_limits(context.limits))
