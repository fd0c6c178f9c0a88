"""A nightly job in a bigger tool: snapshot, prune, and one line for whoever reads the log.

python nightly_job.py /etc/owui-vault/vault.yaml
"""

from __future__ import annotations

import sys
from pathlib import Path

from owui_vault import Outcome, Progress, SnapshotReport, Vault, VaultError, open_vault


def nightly(vault: Vault) -> int:
    """Take tonight's snapshot and drop what is no longer kept. Returns a status for the scheduler."""
    try:
        report = vault.snapshot(tags=["nightly"], progress=trace)
    except VaultError as error:
        print(f"no snapshot: {error}. {error.hint}")
        return 75 if error.retryable else error.exit_code  # 75: "try again later" in sysexits.h
    print(summary(report))
    failed = [result for result in report.repositories if result.error]
    if failed or report.outcome is Outcome.INCOMPLETE:
        return 1  # never prune after a night that did not go well
    return tidied(vault)


def tidied(vault: Vault) -> int:
    """Drop what is no longer kept. Like a snapshot, a prune may fail in one repository and succeed in another."""
    try:
        pruned = vault.prune(vault.plan_prune())
    except VaultError as error:
        print(f"not pruned: {error}. {error.hint}")
        return error.exit_code
    for result in pruned.repositories:
        failed = f", then: {result.error}" if result.error else ""
        print(f"{result.repository}: {len(result.removed)} old snapshots removed{failed}")
    return 1 if any(result.error for result in pruned.repositories) else 0


def trace(event: Progress) -> None:
    if event.text:
        print(f"  {event.step.value}: {event.text}")


def summary(report: SnapshotReport) -> str:
    stored = ", ".join(
        f"{result.repository} +{result.added_bytes} bytes"
        if result.error is None
        else f"{result.repository}: {result.error}"
        for result in report.repositories
    )
    lines = [f"{report.instance} {report.id} of {report.instant:%F %T %Z}: {report.outcome.value} ({stored})"]
    lines += [f"  problem: {problem}" for problem in report.problems]
    lines += [f"  warning: {warning}" for warning in report.warnings]
    return "\n".join(lines)


def main() -> int:
    with open_vault(Path(sys.argv[1])) as vault:
        return nightly(vault)


if __name__ == "__main__":
    sys.exit(main())
