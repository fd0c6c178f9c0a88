"""What an attempt left in the stage, and the record of how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from owui_vault.capture.child_client import Tally
from owui_vault.capture.result import Contents
from owui_vault.model import Captured, CapturePlan, Findings, Proof, ProofRecord
from owui_vault.ports import Remarks


@dataclass(frozen=True, slots=True)
class Taken:
    """What an attempt left in the stage."""

    at: datetime
    contents: Contents
    findings: Findings
    problems: tuple[str, ...] = ()


def captured(  # noqa: PLR0913  the parts of one record
    plan: CapturePlan, taken: Taken, *, proof: Proof, tally: Tally, seconds: float, remarks: Remarks
) -> Captured:
    """All of it as one value. `seconds`: what the capture took in all."""
    contents = taken.contents
    unchecked = (*(plan.unchecked if contents.pinned else ()), *remarks.unchecked)
    record = ProofRecord(
        mode=proof,
        attempts=tally.attempts,
        freeze_seconds=tally.freeze_seconds,
        outage_seconds=tally.outage_seconds,
        settle_seconds=tally.settle_seconds,
        fence_seconds=tally.fence_seconds,
        capture_seconds=seconds,
        filesystem=contents.filesystem,
        lock_holder=contents.holder,
        pinned=contents.pinned,
        copied_files=contents.copied,
        linked_files=contents.linked,
        weaker=(*tally.weaker, *(f"not checked: {each}" for each in unchecked)),
    )
    return Captured(
        stage=plan.work_dir / "stage",
        inventory=plan.work_dir / "capture" / "inventory.jsonl",
        instant=taken.at,
        proof=record,
        databases=contents.databases,
        vector_files=contents.vector_files,
        findings=taken.findings,
        problems=(*taken.problems, *contents.problems, *taken.findings.problems),
        warnings=(*contents.warnings, *taken.findings.warnings, *remarks.warnings),
        skipped=contents.skipped,
        reread=contents.reread,
    )
