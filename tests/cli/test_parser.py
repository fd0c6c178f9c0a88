"""The grammar of the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from owui_vault.cli.commands.completion import Completion, Shell
from owui_vault.cli.commands.discard import Discard
from owui_vault.cli.commands.dump import Dump
from owui_vault.cli.commands.hold import Hold
from owui_vault.cli.commands.init import Initialize
from owui_vault.cli.commands.inspect import Inspect
from owui_vault.cli.commands.ls import List
from owui_vault.cli.commands.prune import Prune
from owui_vault.cli.commands.recover import Recover
from owui_vault.cli.commands.restore import Replace, Restore
from owui_vault.cli.commands.seal import Seal
from owui_vault.cli.commands.show import Show
from owui_vault.cli.commands.snapshot import TakeSnapshot
from owui_vault.cli.commands.snapshots import ListSnapshots
from owui_vault.cli.commands.undo import Undo
from owui_vault.cli.commands.verify import Verify
from owui_vault.cli.foreign_words import OF_OTHER_TOOLS
from owui_vault.cli.grammar import Grammar, global_options, parse
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.registry import COMMANDS, GROUPS
from owui_vault.cli.request import Invocation, Request
from owui_vault.cli.scheduled_call import scheduled_call
from owui_vault.cli.versions import ShowVersions
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
        ("restore 4e1c --in-place --dry-run", Replace(snapshot="4e1c", dry_run=True)),
        ("ls latest", List(snapshot="latest")),
        ("ls latest data/uploads --from a", List(snapshot="latest", path="data/uploads", repository="a")),
        ("dump 4e1c data/webui.db", Dump(snapshot="4e1c", path="data/webui.db")),
        ("completion fish", Completion(shell=Shell.FISH)),
        ("undo", Undo()),
        ("undo --yes", Undo(yes=True)),
        ("discard", Discard()),
        ("discard --yes", Discard(yes=True)),
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


@pytest.mark.parametrize(
    "words",
    [
        "run",
        "-q run",
        "--config vault.yaml --quiet run",
        "--quiet --config /etc/owui-vault/vault.yaml run",
        "--config a --config b run",
    ],
)
def test_what_schedulers_call_is_understood_without_the_grammar_and_as_by_it(words: str) -> None:
    assert scheduled_call(words.split()) == parse(words.split())


@pytest.mark.parametrize(
    "words",
    [
        "",
        "run nightly",
        "run -q",
        "-v run",
        "-qq run",
        "--json run",
        "--config run",
        "--config= run",
        "--config -q run",
    ],
)
def test_all_other_words_are_left_to_the_grammar(words: str) -> None:
    assert scheduled_call(words.split()) is None


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
        (["inspect", "--repository"], "requires an argument", "See owui-vault --help."),
        (["inspect", "-x"], "no such option: -x", "See owui-vault inspect --help."),
        (["snapshot", "--quiesce", "never"], "'never' is not one of", "See owui-vault snapshot --help."),
        (["restore", "x"], "either --target or --in-place", "leaves the live data alone"),
        (
            ["restore", "x", "--target", "d", "--in-place"],
            "either --target or --in-place",
            "leaves the live data alone",
        ),
        (
            ["restore", "x", "--target", "d", "--component", "soul"],
            "'--component': 'soul' is not one of",
            "restore --help",
        ),
        (["restore", "x", "--target", "d", "--component", "upload"], "is not one of", "Did you mean 'uploads'? See"),
        (["restore", "latest", "/srv/x"], "extra argument", "Did you mean --target /srv/x? See"),
        (["restore", "x", "--target", "d", "--accept-unknown-version"], "goes with --in-place", "nothing is started"),
        (["restore", "x", "--target", "d", "--dry-run"], "goes with --in-place", "are left alone"),
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


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("snapshots --json", "--json snapshots"),
        ("snapshot -v --tag t -v", "-vv snapshot --tag t"),
        ("snapshot --tag -vv", "snapshot --tag -vv"),
        ("inspect --repository=x --data-dir d", "--repository=x --data-dir d inspect"),
        ("show latest --config c --from a", "--config c show latest --from a"),
        ("verify --read-data --json", "--json verify --read-data"),
        ("verify --json --read-data 5% 4e1c", "--json verify --read-data 5% 4e1c"),
        ("-q prune", "prune -q"),
        ("hold --json --limit 5m -- df --json -v", "--json hold --limit 5m -- df --json -v"),
    ],
)
def test_global_options_stand_on_either_side_of_the_command(words: str, same: str) -> None:
    assert parse(words.split()) == parse(same.split())


def test_the_words_of_a_held_command_are_never_ours() -> None:
    held = parse(["hold", "-v", "--", "restic", "--json", "-vv", "--version", "snapshots", "--help"])
    assert isinstance(held, Invocation)
    assert held.options == GlobalOptions(verbosity=1)
    assert isinstance(held.request, Hold)
    assert held.request.command == ("restic", "--json", "-vv", "--version", "snapshots", "--help")


def test_what_stands_on_both_sides_is_one_command_line() -> None:
    with pytest.raises(ConfigError, match="-v and -q"):
        parse(["-v", "inspect", "-q"])


def test_no_command_has_an_option_that_is_global() -> None:
    ours = Grammar("owui-vault", global_options).options()
    for entry in COMMANDS:
        assert not set(ours) & set(Grammar(entry.name, import_module(entry.module).command).options())


@pytest.mark.parametrize("version", ["--version", "-V"])
def test_the_version_has_both_of_its_usual_options(version: str) -> None:
    for words in ([version], ["snapshots", version], [version, "no-such-command"]):
        understood = parse(words)
        assert isinstance(understood, Invocation)
        assert isinstance(understood.request, ShowVersions)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("backup", "snapshot"),
        ("create", "snapshot"),
        ("list", "snapshots"),
        ("check", "verify"),
        ("forget", "prune"),
        ("extract", "restore"),
        ("unlock", "recover"),
        ("mount", "restore"),
        ("rewind", "restore"),
        ("help", "--help"),
        ("version", "--version"),
    ],
)
def test_words_of_other_tools_are_answered_with_ours(word: str, ours: str) -> None:
    with pytest.raises(ConfigError, match=f"no such command '{word}'") as caught:
        parse([word, "--whatever", "x"])
    assert f"owui-vault {ours}" in caught.value.hint
    assert caught.value.exit_code == 2


def test_no_word_of_other_tools_is_a_command_of_ours() -> None:
    assert not set(OF_OTHER_TOOLS) & {each.name for each in COMMANDS}


@pytest.mark.parametrize("word", ["und", "undoo", "discrad", "prun", "pruen", "hodl", "recovr", "restorr"])
def test_a_slip_is_never_answered_with_a_command_that_changes_what_is_there(word: str) -> None:
    with pytest.raises(ConfigError, match="no such command") as caught:
        parse([word])
    assert caught.value.hint == "See owui-vault --help."


@pytest.mark.parametrize(("word", "meant"), [("snapshts", "snapshots"), ("verifyy", "verify"), ("inspct", "inspect")])
def test_a_slip_is_answered_with_the_harmless_command_next_to_it(word: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse([word])
    assert caught.value.hint == f"Did you mean `{meant}`? See owui-vault --help."


def test_help_has_the_exit_codes_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--help"]) == 0
    shown = capsys.readouterr().out.partition("Exit codes:")[2]
    page = (Path(__file__).parents[2] / "docs/commands.md").read_text().partition("## Exit codes")[2]
    documented = re.findall(r"^\| (\d[\d, ]*?) \|", page, re.MULTILINE)
    assert re.findall(r"^  (\d[\d, ]*?)  ", shown, re.MULTILINE) == documented


def test_help_has_its_groups_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--help"]) == 0
    shown = capsys.readouterr().out.partition("Commands:")[2]
    groups = re.findall(r"^  (\w[\w ]+)$", shown.partition("Exit codes:")[0], re.MULTILINE)
    assert groups == [each for each in GROUPS if any(one.group == each for one in COMMANDS)]


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from owui_vault.cli import main; main(['--help'])\n"
        "heavy = ('rich', 'pydantic', 'yaml', 'docker', 'cryptography', 'restic', 'owui_vault.operations', 'sqlite3')\n"
        "print([each for each in heavy if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
