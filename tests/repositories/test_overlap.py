"""Where a repository is on this machine, whichever way its engine says that a path is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import BorgEngine, Engine, Repository, ResticEngine, Secret
from owui_vault.repositories.overlap import place_of

SECRET = Secret("x")


@pytest.mark.parametrize(
    ("engine", "place"),
    [
        (ResticEngine("/mnt/nas/r", SECRET), Path("/mnt/nas/r")),
        (ResticEngine("local:/mnt/nas/r", SECRET), Path("/mnt/nas/r")),
        (BorgEngine("/mnt/nas/r", SECRET), Path("/mnt/nas/r")),
        (BorgEngine("file:///mnt/nas/r", SECRET), Path("/mnt/nas/r")),
        (ResticEngine("rest:https://host/mnt/nas/r", SECRET), None),
        (BorgEngine("ssh://host/mnt/nas/r", SECRET), None),
    ],
)
def test_a_repository_of_this_machine_has_a_place_here(engine: Engine, place: Path | None) -> None:
    assert place_of(Repository("nas", engine)) == place
