"""Finishing or undoing what a killed run left behind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from owui_vault.capture.stage import clear_stage
from owui_vault.instance.layout import work_dir_for
from owui_vault.instance.locate import directory_at
from owui_vault.model import RecoverReport
from owui_vault.system.lock import directory_lock
from owui_vault.vault import hold
from owui_vault.vault.aside import recover_swap
from owui_vault.vault.journal import Journal
from owui_vault.vault.parts import Parts


def recover(parts: Parts) -> RecoverReport:
    """Bring the instance back if a dead run left it quiet, and empty the stage. Waits for the lock first."""
    data_dir = directory_at(parts.the_instance().path)
    with directory_lock(data_dir, wait_seconds=parts.limits.lock_wait_seconds, clock=parts.clock, what=str(data_dir)):
        return RecoverReport(actions=recover_held(parts, data_dir))


def recover_held(parts: Parts, data_dir: Path) -> tuple[str, ...]:
    """The same, for a caller that holds the lock: that proves that the run which left something behind is gone."""
    actions = [*recover_swap(data_dir), *hold.recover(Journal(parts.state.journal_folder(parts.the_instance().name)))]
    work_dir = work_folder(parts, data_dir)
    if (work_dir / "stage").exists():
        actions.append(f"emptied the stage in {work_dir}")
    clear_stage(work_dir)
    return tuple(actions)


def work_folder(parts: Parts, data_dir: Path) -> Path:
    """Where the stage of this data directory lies: the same path at every run, and nobody else's."""
    place = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:8]
    return work_dir_for(data_dir, parts.state.root, f"{parts.the_instance().name}-{place}")
