"""An engine and a quiescer of one's own, built on those of `owui_vault.testing`.

python own_engine.py DATA_DIR WORK_FOLDER

One that is written from nothing derives from `Engine` or `Quiescer`: what is required cannot be forgotten then, and
what is optional has a default. To know that yours keep their promises, run the conformance suites on them:
`class TestMine(EngineSuite)`, `class TestMyQuiescer(QuiescerSuite)`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from owui_vault import (
    Call,
    DataDirectory,
    Deadline,
    Label,
    Quiesce,
    Repository,
    RetentionPolicy,
    Secret,
    SnapshotReport,
    StoreReceipt,
    Vault,
)
from owui_vault.testing import DirectoryEngine, FakeQuiescer


class AuditedEngine(DirectoryEngine):
    """Keeps a record of everything that was stored and removed, for somebody who must be able to show it."""

    def __init__(self, location: Path, passphrase: Secret, record: Path) -> None:
        super().__init__(location, passphrase)
        self._record = record

    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        receipt = super().store(tree, label, call)
        self._note(f"stored {label.id} of {label.instant.isoformat()}")
        return receipt

    def remove(self, engine_ids: Sequence[str], call: Call) -> None:
        super().remove(engine_ids, call)
        self._note(f"removed {' '.join(engine_ids)}")

    def _note(self, line: str) -> None:
        with self._record.open("a", encoding="utf-8") as record:
            record.write(f"{line}\n")


class AnnouncingQuiescer(FakeQuiescer):
    """Says on the team's screen what it does. A real one would talk to whatever runs the instance."""

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        print(f"{self.name}: quiet ({mode.value}), at most {deadline.remaining():.0f} s")
        super().quiesce(mode, deadline)

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        super().resume(mode, deadline)
        print(f"{self.name}: lively again")


def build(data_dir: Path, folder: Path) -> Vault:
    engine = AuditedEngine(folder / "repository", Secret("correct horse battery staple"), folder / "record.txt")
    return Vault(
        DataDirectory(data_dir),
        [Repository("own", engine, RetentionPolicy(last=1))],
        quiescer=AnnouncingQuiescer(folder),
        state_dir=folder / "state",
    )


def run(data_dir: Path, folder: Path) -> tuple[SnapshotReport, SnapshotReport]:
    """Two snapshots, the first one live where that can be proven, the second in a pause; then keep the newer one."""
    with build(data_dir, folder) as vault:
        vault.initialize()
        first = vault.snapshot()
        second = vault.snapshot(quiesce=Quiesce.PAUSE)
        vault.prune(vault.plan_prune())
    return first, second


def main() -> int:
    folder = Path(sys.argv[2])
    for report in run(Path(sys.argv[1]), folder):
        print(f"{report.id}: {report.outcome.value}, proven by {report.proof.mode.value}")
    print((folder / "record.txt").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
