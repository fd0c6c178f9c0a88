"""One operation on a container, to be killed: `operate.py NAME FOLDER pause|stop|replace`."""

import sys
from pathlib import Path

from owui_vault import CaptureLimits, Container, Limits, Quiesce, Secret, Vault
from owui_vault.testing.directory_engine import DirectoryEngine
from owui_vault.vault.parts import Repository


def main() -> None:
    name, folder, deed = sys.argv[1:]
    engine = DirectoryEngine(Path(folder) / f"{name}-repository", Secret("x"))
    state = Path(folder) / f"{name}-state"
    vault = Vault(
        Container(name),
        [Repository("one", engine)],
        state_dir=state,
        limits=Limits(capture=CaptureLimits(stop_seconds=5.0)),
    )
    if deed == "replace":
        vault.replace(vault.plan_replacement("latest"))
    else:
        vault.snapshot(quiesce=Quiesce(deed))


main()
