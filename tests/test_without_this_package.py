"""The documentation's way back without this package, typed as it stands there."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import BorgEngine, Call, DataDirectory, Engine, Outcome, Repository, ResticEngine, Secret, Vault
from tests.pages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
PASSPHRASE = "a passphrase"
PAGE = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## How to get your data back without this package")[2]


def typed(beginning: str) -> list[str]:
    """The section's commands that begin so, each with the lines that belong to it."""
    found = re.findall(r"^ *\$ (.*(?:\n +(?![ $`]).*)*)", SECTION, re.MULTILINE)
    return [command for command in found if command.startswith(beginning)]


class Loss:
    """A small real instance, its repository, and nothing else left: the newest of the series is not whole."""

    def __init__(self, folder: Path, data_dir: Path, engine: Engine) -> None:
        self.folder, self.data_dir, self.engine = folder, data_dir, engine
        vault = self.vault("open-webui")
        vault.initialize()
        self.whole = vault.snapshot()
        assert self.whole.outcome is Outcome.COMPLETE
        stored = vault.snapshots()[0]
        assert stored.label
        self.name = stored.name
        (folder / "call").mkdir()
        call = Call(folder=folder / "call")
        half = vault.snapshot()
        label = vault.snapshots()[0].label
        assert label
        assert label.id == half.id
        engine.relabel(vault.snapshots()[0].engine_id, replace(label, outcome=Outcome.INCOMPLETE), call)
        self.vault("another").snapshot()

    def vault(self, name: str) -> Vault:
        instance = DataDirectory(self.data_dir, name=name)
        return Vault(instance, [Repository("nas", self.engine)], state_dir=self.folder / "state")

    def type(self, command: str) -> str:
        """Type it, with this machine's names for the page's; what it answers."""
        names = {
            "/mnt/nas/open-webui": str(self.folder / "repository"),
            "/srv/copy": str(self.folder / "copy"),
            "open-webui-20260301T030000-1a2b3c4d": self.name,
        }
        for of_the_page, here in names.items():
            command = command.replace(of_the_page, here)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RESTIC_PASSWORD": PASSPHRASE,
            "BORG_PASSPHRASE": PASSPHRASE,
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }
        done = subprocess.run(
            ["bash", "-euc", command], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout


@pytest.fixture(params=["restic", "borg"])
def loss(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    small_instance: Callable[[Path], Path],
    program: Callable[[str, str], Path],
) -> Loss:
    where = str(program(f"/usr/bin/{request.param}", "its own commands are what is typed"))
    program("sqlite3", "the paths are corrected with it")
    small_instance(tmp_path / "instance")
    kind = ResticEngine if request.param == "restic" else BorgEngine
    engine = kind(str(tmp_path / "repository"), Secret(PASSPHRASE), program=where)
    return Loss(tmp_path, next((tmp_path / "instance").rglob("webui.db")).parent, engine)


def rows(data_dir: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        return connection.execute(query).fetchall()


def test_what_the_page_says_brings_the_data_back(loss: Loss) -> None:
    listing, fetching = (typed(word) for word in (f"{loss.engine.name} ", ""))
    shown = loss.type(listing[0])
    assert ("outcome=complete" if loss.engine.name == "restic" else loss.name) in shown
    (fetch,) = [each for each in fetching if ("restic" in each and "restore" in each) or "borg extract" in each
                if loss.engine.name in each]  # fmt: skip
    loss.type(fetch)
    copy = loss.folder / "copy"
    text = (copy / "RESTORE.txt").read_text()
    assert f"snapshot {loss.whole.id} of the instance" in text
    assert "ATTENTION" not in text
    assert rows(copy / "data", "SELECT count(*) FROM chat") == rows(loss.data_dir, "SELECT count(*) FROM chat")
    key = (copy / "outside/webui_secret_key").read_text()
    assert key == next((loss.folder / "instance").rglob(".webui_secret_key")).read_text()

    old = str(rows(copy / "data", "SELECT path FROM file LIMIT 1")[0][0]).partition("/uploads/")[0]
    (statement,) = typed("sqlite3 ")
    loss.type(statement.replace("OLD", old).replace("NEW", str(copy / "data")))
    paths = [Path(str(path)) for (path,) in rows(copy / "data", "SELECT path FROM file")]
    assert paths
    assert all(path.is_file() and path.parent == copy / "data/uploads" for path in paths)
    in_the_text = re.search(r"sqlite3 NEW/webui.db .*?;\"", text, re.DOTALL)
    assert in_the_text
    assert in_the_text[0].split() == statement.replace("OLD", old).split()
