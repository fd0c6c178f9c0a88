"""The grammar of the command line."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault.cli.commands.discard import Discard
from owui_vault.cli.commands.hold import Hold
from owui_vault.cli.commands.init import Initialize
from owui_vault.cli.commands.inspect import Inspect
from owui_vault.cli.commands.prune import Prune
from owui_vault.cli.commands.recover import Recover
from owui_vault.cli.commands.restore import Replace, Restore
from owui_vault.cli.commands.seal import Seal
from owui_vault.cli.commands.show import Show
from owui_vault.cli.commands.snapshot import TakeSnapshot
from owui_vault.cli.commands.snapshots import ListSnapshots
from owui_vault.cli.commands.undo import Undo
from owui_vault.cli.commands.verify import Verify
from owui_vault.cli.grammar import Invocation, parse
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.registry import COMMANDS
from owui_vault.cli.request import Request
from owui_vault.errors import ConfigError
from owui_vault.model import Component, Quiesce


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("inspect", Inspect()),
        ("init", Initialize()),
        ("init a b --adopt --again", Initialize(names=("a", "b"), adopt=True, again=True)),
        ("snapshot", TakeSnapshot()),
        (
            "snapshot --to a --to b --tag t --quiesce pause --dry-run",
            TakeSnapshot(to=("a", "b"), tags=("t",), quiesce=Quiesce.PAUSE, dry_run=True),
        ),
        ("snapshots --from a --instance b --all", ListSnapshots(repository="a", instance="b", everything=True)),
        ("show latest --from a", Show(snapshot="latest", repository="a")),
        (
            "restore 4e1c --target d --from a --component database --component uploads --app-data-dir /x",
            Restore(
                snapshot="4e1c",
                target=Path("d"),
                repository="a",
                components=(Component.DATABASE, Component.UPLOADS),
                app_data_dir="/x",
            ),
        ),
        ("restore 4e1c --in-place --yes", Replace(snapshot="4e1c", yes=True)),
        ("undo", Undo()),
        ("discard", Discard()),
        ("prune a --dry-run", Prune(names=("a",), dry_run=True)),
        ("verify", Verify()),
        ("verify 4e1c --from a", Verify(snapshot="4e1c", repository="a")),
        ("verify --read-data", Verify(read_data=1.0)),
        ("verify --read-data latest", Verify(read_data=1.0)),
        ("verify --read-data 12345678", Verify(snapshot="12345678", read_data=1.0)),
        ("verify --read-data 5% 4e1c", Verify(snapshot="4e1c", read_data=0.05)),
        ("verify --read-data=2.5", Verify(read_data=0.025)),
        ("seal a b --file f --unlock-file u", Seal(names=("a", "b"), file=Path("f"), unlock_file=Path("u"))),
        ("recover", Recover()),
    ],
)
def test_each_command_is_understood(words: str, request_: Request) -> None:
    assert parse(words.split()) == Invocation(options=GlobalOptions(), request=request_)


def test_the_words_of_a_held_command_are_its_own() -> None:
    command = ("restic", "check", "--read-data", "--json")
    held = parse(["hold", "--limit", "5m", "--", *command])
    assert isinstance(held, Invocation)
    assert held.request == Hold(command=command, quiesce=Quiesce.PAUSE, limit=timedelta(minutes=5))
    assert not held.options.json
    with pytest.raises(ConfigError) as caught:
        parse(["hold", "--limitt", "5m", "--", *command])
    assert caught.value.hint == "See owui-vault hold --help."


def test_global_options_stand_before_the_command() -> None:
    words = [
        "--config",
        "c",
        "--json",
        "-vv",
        "--data-dir",
        "d",
        "--repository",
        "r",
        "--engine",
        "borg",
        "--passphrase-file",
        "p",
        "inspect",
    ]
    assert parse(words) == Invocation(
        options=GlobalOptions(
            config=Path("c"),
            json=True,
            verbosity=2,
            data_dir=Path("d"),
            repository="r",
            engine="borg",
            passphrase_file=Path("p"),
        ),
        request=Inspect(),
    )
    quiet = parse(["-q", "inspect"])
    assert isinstance(quiet, Invocation)
    assert quiet.options.verbosity == -1


@pytest.mark.parametrize(
    ("words", "claim", "hint"),
    [
        (["snapshots", "--json"], "no such option: --json", "--json is a global option: it goes before the command."),
        (["inspect", "--repository=x"], "no such option", "--repository is a global option"),
        (["snapshot", "--quiesce", "never"], "'never' is not one of", "See owui-vault snapshot --help."),
        (["restore", "x"], "either --target or --in-place", "leaves the live data alone"),
        (
            ["restore", "x", "--target", "d", "--in-place"],
            "either --target or --in-place",
            "leaves the live data alone",
        ),
        (["restore", "x", "--target", "d", "--component", "soul"], "'soul' is not one of", "restore --help"),
        (["restore", "x", "--target", "d", "--accept-unknown-version"], "goes with --in-place", "nothing is started"),
        (["seal"], "missing", "seal --help"),
        (["frobnicate"], "no such command 'frobnicate'", "See owui-vault --help."),
        (["--engine", "tar", "inspect"], "'tar' is not one of", "--help"),
        (["-v", "-q", "inspect"], "-v and -q", "one of them"),
        (["verify", "--read-data=all"], "takes a percentage, not 'all'", "Give 5%"),
        (["verify", "--read-data=101"], "takes a percentage", "Give 5%"),
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(words: list[str], claim: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(words)
    assert claim in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_help_says_it_all_and_nothing_to_do_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--help"]) == 0
    shown = capsys.readouterr().out
    assert len(COMMANDS) >= 13
    for command in (each.name for each in COMMANDS):
        assert f"  {command} " in shown
        assert parse([command, "--help"]) == 0
        assert "Usage: owui-vault" in capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert parse([]) == 2
    assert capsys.readouterr().out == shown
    assert parse(["--version"]) == 0
    assert capsys.readouterr().out == "owui_vault 0.1.0\n"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from owui_vault.cli import main; main(['--help'])\n"
        "heavy = ('rich', 'pydantic', 'yaml', 'docker', 'cryptography', 'restic', 'owui_vault.operations', 'sqlite3')\n"
        "print([each for each in heavy if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
