"""A run that makes an instance quiet again and again: `holder.py KIND WHAT MODE JOURNAL LOCK [BLOCK_SECONDS]`.

KIND is `process` (WHAT a pid file), `unit`, `container` (NAME or NAME@ENGINE) or `fake` (a directory). It
says `quiet` and `resumed` at each cycle.
"""

import sys
import time
from pathlib import Path

from owui_vault.containers.client import DEFAULT_ENGINE
from owui_vault.guardian.bounded_hold import Hold, HoldLimits, recover
from owui_vault.guardian.journal import Journal
from owui_vault.model import Quiesce
from owui_vault.ports import Quiescer
from owui_vault.quiesce.process import ProcessQuiescer
from owui_vault.quiesce.systemd import UnitQuiescer
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.testing.fakes import FakeQuiescer


def quiescer_for(kind: str, what: str) -> Quiescer:
    if kind == "process":
        return ProcessQuiescer(Path(what))
    if kind == "unit":
        return UnitQuiescer(what)
    if kind == "container":
        from owui_vault.quiesce.container.quiescer import ContainerQuiescer  # noqa: PLC0415 - the others need no docker

        name, _, engine = what.partition("@")
        return ContainerQuiescer(name, engine=engine or DEFAULT_ENGINE, stop_seconds=5)
    return FakeQuiescer(Path(what))


def main() -> None:
    kind, what, mode, journal, lock = sys.argv[1:6]
    block = float(sys.argv[6]) if len(sys.argv) > 6 else 0.01
    clock = SystemClock()
    limits = HoldLimits(pause_grace_seconds=0.2, stop_grace_seconds=1.0)
    with directory_lock(Path(lock), wait_seconds=60, clock=clock, what=lock) as descriptor:
        recover(Journal(Path(journal)))
        hold = Hold(quiescer_for(kind, what), Journal(Path(journal)), descriptor, clock, limits)
        print("locked", flush=True)
        while True:
            with hold(Quiesce(mode), 30.0) as held:
                print("quiet", flush=True)
                time.sleep(block)
                held.confirm()
            print("resumed", flush=True)


main()
