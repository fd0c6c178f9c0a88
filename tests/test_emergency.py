"""The emergency page, typed as it stands there on a machine that knows nothing: an empty home, no state, no file."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault import BorgEngine, DataDirectory, Outcome, Repository, ResticEngine, Secret, Vault
from tests.pages import ROOT, Block, blocks, shell_lines

PAGE = ROOT / "docs" / "emergency.md"
PASSPHRASE = "correct horse"
#: Ours, on a machine whose state is not this machine's: root's has its place by default.
PROGRAM = """
import sys
from pathlib import Path
import owui_vault.config as config
config.default_state_dir = lambda environ: Path("{state}")
from owui_vault.cli import main
sys.exit(main())
"""
LINES = 120  # with its frames, two screens of a small terminal


def section(number: int) -> list[Block]:
    """The blocks to be typed below one heading."""
    text = PAGE.read_text(encoding="utf-8")
    begin = text.index(f"\n## {number}. ")
    end = text.find(f"\n## {number + 1}. ")
    return [each for each in blocks(PAGE, "console") if each.text in text[begin : end if end > 0 else None]]


class Stranger:
    """A machine with the engine's program, perhaps ours, the repository, and the passphrase from the sheet."""

    def __init__(self, folder: Path, data_dir: Path, engine: str, *, ours: bool) -> None:
        self.folder = folder
        self.data_dir = data_dir
        self.engine = engine
        kind = ResticEngine if engine == "restic" else BorgEngine
        self.vault = Vault(
            DataDirectory(data_dir),
            [Repository("nas", kind(str(folder / "repository"), Secret(PASSPHRASE)))],
            state_dir=folder / "lost",
        )
        self.vault.initialize()
        assert self.vault.snapshot().outcome is Outcome.COMPLETE
        self.name = self.vault.snapshots()[0].name
        shutil.rmtree(folder / "lost")
        (folder / "home").mkdir()
        (folder / "home" / "nas.pass").write_text(PASSPHRASE)
        (folder / "bin").mkdir()
        if ours:
            (folder / "program.py").write_text(PROGRAM.format(state=folder / "home" / "state"))
            add = folder / "bin" / "owui-vault"
            add.write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/program.py "$@"\n')
            add.chmod(0o755)

    def type(self, lines: list[str], **places: str) -> str:
        """Type them into one shell, with this machine's names for the page's; what it answers."""
        names = {
            "/mnt/nas/open-webui": str(self.folder / "repository"),
            "/srv/open-webui": str(self.folder / "srv"),
            "/root/": f"{self.folder}/home/",
            **places,
        }
        text = "\n".join(lines)
        for of_the_page, here in names.items():
            text = text.replace(of_the_page, here)
        environment = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }
        done = subprocess.run(
            ["bash", "-euc", text], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def assert_back(self) -> None:
        """All chats, all uploads, the key."""
        copy = self.folder / "srv"
        assert chats(copy / "data") == chats(self.data_dir) > 0
        assert len(list((copy / "data/uploads").iterdir())) == len(list((self.data_dir / "uploads").iterdir())) > 0
        assert (copy / "outside" / "webui_secret_key").stat().st_size


def chats(data_dir: Path) -> int:
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM chat").fetchone()
    return int(count)


def test_the_page_is_short_and_every_way_has_its_number() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    assert [len(section(number)) > 0 for number in range(1, 6)] == [True] * 5
    for index in (ROOT / "README.md", ROOT / "docs" / "README.md"):
        links = [each for each in index.read_text(encoding="utf-8").split("](")[1:] if ".md" in each.partition(")")[0]]
        assert links[0].startswith(("docs/emergency.md", "emergency.md")), index


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["restic", "borg"])
def test_a_server_that_is_gone_comes_back(
    tmp_path: Path, small_instance: Callable[[Path], Path], program: Callable[[str, str], Path], engine: str
) -> None:
    program(f"/usr/bin/{engine}", "the page goes by the one of the distribution")
    stranger = Stranger(tmp_path, small_instance(tmp_path / "instance"), engine, ours=True)
    (block,) = section(1)
    option = "" if engine == "restic" else f" --engine {engine}"
    said = stranger.type(shell_lines(block), **{"owui-vault --repo": f"owui-vault{option} --repo"})
    assert "HOW TO BRING THIS OPEN WEBUI BACK" in said
    stranger.assert_back()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["restic", "borg"])
def test_the_engine_alone_brings_everything_back(
    tmp_path: Path, small_instance: Callable[[Path], Path], program: Callable[[str, str], Path], engine: str
) -> None:
    program(f"/usr/bin/{engine}", "its own commands are what is typed")
    stranger = Stranger(tmp_path, small_instance(tmp_path / "instance"), engine, ours=False)
    (block,) = [each for each in section(5) if f"{engine} " in each.text]
    said = stranger.type(shell_lines(block), NAME=stranger.name)
    assert "HOW TO BRING THIS OPEN WEBUI BACK" in said
    assert "ATTENTION" not in said
    stranger.assert_back()


@pytest.mark.slow
def test_one_chat_and_one_bad_update_are_undone_as_typed(
    tmp_path: Path, small_instance: Callable[[Path], Path], program: Callable[[str, str], Path]
) -> None:
    program("/usr/bin/restic", "the page goes by the one of the distribution")
    program("sqlite3", "a chat is looked for with it")
    data_dir = small_instance(tmp_path / "instance")
    stranger = Stranger(tmp_path, data_dir, "restic", ours=True)
    config = tmp_path / "home" / ".config" / "owui-vault"
    config.mkdir(parents=True)
    (config / "vault.yaml").write_text(
        f"instance: {{data_dir: {data_dir}}}\nstate_dir: {tmp_path}/state\nrepositories: {{nas: {{engine: restic,"
        f" location: {tmp_path}/repository, passphrase: {{file: {tmp_path}/home/nas.pass}}}}}}\n"
    )
    (config / "vault.yaml").chmod(0o600)
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection, connection:
        ((chat,),) = connection.execute("SELECT id FROM chat ORDER BY updated_at DESC LIMIT 1").fetchall()
        connection.execute("DELETE FROM chat")
    (block,) = section(4)
    stranger.type(shell_lines(block), ID=chat)
    assert (tmp_path / "home" / "chat.json").stat().st_size > 2
    (block,) = section(3)
    stranger.type(shell_lines(block), **{"--in-place": "--in-place --yes --accept-unknown-version"})
    assert chats(data_dir) > 0
