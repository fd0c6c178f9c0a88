"""A folder this user has no right to is said to be that, at once, and not to be out of reach."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from owui_vault.engines.restic.errors import error_for
from owui_vault.engines.restic.location import parse_location
from owui_vault.engines.restic.rights import require_rights
from owui_vault.errors import RepositoryUnreachableError
from tests.restic_templates import PlaceRestic

ROOT = Path(__file__).resolve().parents[3]
AS_NOBODY = """\
import os, sys, time
from pathlib import Path
os.setgid(65534); os.setuid(65534)
from owui_vault import ResticEngine, Secret, VaultError
from owui_vault.ports import Call
engine, began = ResticEngine(sys.argv[1], Secret("right horse")), time.monotonic()
folder = Path(sys.argv[2])
try:
    if sys.argv[3] == "remove":
        engine.remove(["0" * 64], Call(folder=folder))
    else:
        getattr(engine, sys.argv[3])(Call(folder=folder))
except VaultError as error:
    print(type(error).__name__, error.message, "|", error.hint)
print(time.monotonic() - began < 20)
"""


@pytest.fixture
def mine(own_restic: Path, place_restic: PlaceRestic) -> Iterator[Path]:
    """A repository of ours in a folder that everybody may enter, unlike those of pytest."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for own in ("folder", "theirs"):
            (folder / own).mkdir()
        place_restic(folder / "repository", own_restic, "right horse")
        os.chown(folder / "theirs", 65534, 65534)
        yield folder / "repository"


def as_nobody(repository: Path, call: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": "/", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", AS_NOBODY, str(repository), str(repository.parent / "theirs"), call]
    return subprocess.run(argv, cwd="/", env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_repository_of_another_user_is_called_so(mine: Path) -> None:
    for call, verb in (("snapshots", "read"), ("inspect", "read"), ("remove", "read")):
        said = as_nobody(mine, call)
        assert said.startswith(f"RepositoryUnreachableError this user cannot {verb} the repository {mine}"), said
        assert "Run as its owner" in said
        assert said.endswith("True\n")
    for path in (mine, *mine.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert as_nobody(mine, "snapshots") == "True\n"
    assert f"this user cannot write to the repository {mine}" in as_nobody(mine, "remove")
    assert "this user cannot write to" in as_nobody(mine.parent / "new", "initialize")


def test_what_is_elsewhere_or_not_there_is_not_judged(tmp_path: Path) -> None:
    for location in ("rest:http://host/", str(tmp_path / "none"), str(tmp_path / "a" / "b")):
        require_rights(parse_location(location), write=True)
    assert list(tmp_path.iterdir()) == []


def test_what_restic_says_of_rights_is_not_called_unreachable() -> None:
    said = "Fatal: unable to create lock in backend: open /mnt/nas/locks/x: permission denied"
    here = error_for(1, said, location="/mnt/nas")
    assert isinstance(here, RepositoryUnreachableError)
    assert here.message.startswith("this user may not read or write the repository /mnt/nas")
    away = error_for(1, "Fatal: dial tcp: connection refused", location="rest:http://host/")
    assert "nobody listens at that port" in away.message
