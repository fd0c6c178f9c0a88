"""One operation on a container, to be killed: `operate.py NAME FOLDER pause|stop|replace|die-on-the-way-back`.

The last one takes the restored application for one that does not come up, and dies as soon as it has written down that
it is on the way back: before anything is stopped.
"""

import os
import signal
import sys
from pathlib import Path

from owui_vault import CaptureLimits, Container, Limits, Quiesce, ResumeError, Secret, Vault
from owui_vault.context.context import Repository
from owui_vault.model import Deadline
from owui_vault.operations.recovery import swap
from owui_vault.operations.replace import cutover
from owui_vault.system.work_folder import Folder
from owui_vault.testing.engines.directory import DirectoryEngine


class ComesUpNever:
    def revisions(self) -> frozenset[str] | None:
        return None

    def wait_until_healthy(self, deadline: Deadline) -> str:
        raise ResumeError("it does not answer")


def die_once_marked() -> None:
    write = swap.write_down

    def then_die(record: swap.Swap, work: Folder) -> None:
        write(record, work)
        if record.back:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(cutover, "write_down", then_die)  # noqa: B010  a name that it imports


def main() -> None:
    name, folder, deed = sys.argv[1:]
    engine = DirectoryEngine(Path(folder) / f"{name}-repository", Secret("x"))
    state = Path(folder) / f"{name}-state"
    vault = Vault(
        Container(name),
        [Repository("one", engine)],
        state_dir=state,
        application=ComesUpNever() if deed == "die-on-the-way-back" else None,
        limits=Limits(capture=CaptureLimits(stop_seconds=5.0)),
    )
    if deed == "die-on-the-way-back":
        die_once_marked()
    if deed in ("replace", "die-on-the-way-back"):
        vault.replace(vault.plan_replacement("latest"))
    else:
        vault.snapshot(quiesce=Quiesce(deed))


main()
