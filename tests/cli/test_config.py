"""`config`: what it writes works as typed, what it checks it does not touch, what it shows is no secret."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from owui_vault.assembly import check_configuration
from owui_vault.cli.first_configuration import Here, generate
from owui_vault.cli.options import GlobalOptions
from owui_vault.config import load_settings
from owui_vault.errors import ConfigError
from tests.cli.conftest import PASSPHRASE, Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    tmp_path.chmod(0o700)
    return Program(tmp_path)


CALM = """\
instance: {data_dir: data}
repositories: {far: {engine: restic, location: "sftp:far:r", passphrase: {file: pass}, keep: {last: 2}}}
state_dir: state
"""


@pytest.fixture
def calm(program: Program) -> Program:
    """A configuration about which nothing is to be said."""
    (program.folder / "data").mkdir()
    (program.folder / "data" / "webui.db").touch()
    file = program.folder / "pass"
    file.write_text(PASSPHRASE)
    file.chmod(0o600)
    program.configure(CALM)
    return program


def warned(program: Program, text: str, **environ: str) -> list[str]:
    program.configure(text)
    told = check_configuration(program.folder / "vault.yaml", program.environ(environ)).warnings
    assert PASSPHRASE not in "".join(told)
    return list(told)


def test_a_valid_configuration_is_called_valid_and_nothing_else(calm: Program) -> None:
    done = calm.run("config", "validate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{calm.folder}/vault.yaml is valid",
        "  instance      open-webui",
        "  repositories  far",
        "  plans         none",
    ]
    assert calm.json("config", "validate")["warnings"] == []


def test_every_mistake_is_named_at_once_with_its_line(calm: Program) -> None:
    calm.configure("instance: {data_dirr: x}\nrepositories:\n  far: {engine: tar, location: x}\n")
    done = calm.run("config", "validate")
    assert done.returncode == 2
    for told in ("data_dirr (line 1)", "engine (line 3)", "passphrase (line 3)"):
        assert told in done.stderr


def test_checking_and_showing_touch_nothing(calm: Program) -> None:
    """Neither a program nor a connection is started, and nothing is written: all of it runs with an empty PATH."""
    before = sorted(calm.folder.rglob("*"))
    for action in ("validate", "show"):
        done = calm.run("config", action, environ={"PATH": "/nonexistent"})
        assert done.returncode == 0, done.stderr
    assert sorted(calm.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("instance: {data_dir: data}\n", "", "no instance is configured"),
        (", keep: {last: 2}", "", "far has no 'keep'"),
        ("data_dir: data", "data_dir: nowhere", "there is no .*/nowhere"),
        ("data_dir: data", "data_dir: state/..", "holds no webui.db"),
        ("data_dir: data", "data_dir: data, exclude: [upl*]", "leaves out uploads"),
        ('"sftp:far:r"', "data/r", "repository far is inside the data directory"),
        ('"sftp:far:r"', "r", "on the disk of the data directory"),
        ("state_dir: state", "state_dir: data/s", "state directory .* is inside the data directory"),
        ("file: pass", "file: nopass", "secret file .*/nopass does not exist"),
        ("file: pass", "file: .", "is no regular file"),
        ("file: pass", "env: MINE", "in the variable MINE, and cron and systemd do not set it"),
        ("file: pass", "keyring: s, username: u", "in the keyring"),
        ('"sftp:far:r"', '"sftp:${HOST_OF_IT}:r"', "variable HOST_OF_IT is needed"),
        ('"sftp:far:r"', '"sftp:${HOST_OF_IT:-near}:r"', "variable HOST_OF_IT is set here"),
        ("location", "program: nosuchprogram, location", "program nosuchprogram of far is not installed"),
    ],
)  # fmt: skip
def test_what_deserves_a_second_look_is_named(calm: Program, old: str, new: str, told: str) -> None:
    (calm.folder / "state").mkdir()
    assert old in CALM
    found = warned(calm, CALM.replace(old, new), HOST_OF_IT="far", MINE=PASSPHRASE)
    assert [each for each in found if re.search(told, each)], found


def test_what_every_scheduler_sets_is_no_cause_for_concern(calm: Program) -> None:
    assert warned(calm, CALM.replace("state_dir: state", 'state_dir: "${HOME}/state"')) == []
    assert warned(calm, CALM.replace('"sftp:far:r"', '"sftp:${HOST_OF_IT:-near}:r"')) == []


@pytest.mark.parametrize("inside", [CALM, CALM.replace("{file: pass}", "{sealed: s, name: n, unlock: {file: pass}}")])
def test_files_with_wrong_rights_are_named_with_the_command(calm: Program, inside: str) -> None:
    (calm.folder / "s").write_text("sealed")
    (calm.folder / "pass").chmod(0o644)
    calm.folder.chmod(0o777)
    found = warned(calm, inside)
    assert any(f"chmod 600 {calm.folder}/pass" in each for each in found)
    assert any(f"chmod go-w {calm.folder}" in each for each in found)


def test_a_readable_configuration_is_named_where_it_holds_a_secret(calm: Program) -> None:
    text = CALM.replace("keep:", "environment: {AWS_SECRET_ACCESS_KEY: hunter2}, keep:")
    assert warned(calm, text) == []
    (calm.folder / "vault.yaml").chmod(0o644)
    (told,) = check_configuration(calm.folder / "vault.yaml", calm.environ(None)).warnings
    assert f"chmod 600 {calm.folder}/vault.yaml" in told
    assert "hunter2" not in told


SHOWN = """\
instance:
  container: "${WHICH:-open-webui}"
repositories:
  nas:
    engine: restic
    location: "rest:https://ada:letmein@nas/${FOLDER}"
    passphrase: {command: [pass, show, letmein]}
    environment: {AWS_SECRET_ACCESS_KEY: letmein, AWS_ACCESS_KEY_ID: {env: ID}}
    upload_limit: 2 MiB
plans:
  nightly: {schedule: "0 3 * * *", verify: 5%}
  weekly: {schedule: {every: 7d}}
limits: {lock_wait: 90s}
"""


def test_every_setting_is_shown_with_its_source_and_no_secret(program: Program) -> None:
    program.configure(SHOWN)
    environ = {"FOLDER": "r", "ID": "letmein"}
    done = program.run("config", "show", environ=environ)
    assert done.returncode == 0, done.stderr
    assert "letmein" not in done.stdout + done.stderr
    lines = {words[0]: words[1:] for line in done.stdout.splitlines() if (words := re.split(r"  +", line.strip()))}
    assert lines["instance.container"] == ["open-webui", "line 2, default of ${WHICH}"]
    assert lines["instance.name"] == ["open-webui", "default"]
    assert lines["repositories.nas.location"] == ["rest:https://ada@nas/r", "line 6, environment variable FOLDER"]
    assert lines["repositories.nas.passphrase"] == ["command pass", "line 7"]
    assert lines["repositories.nas.environment.AWS_SECRET_ACCESS_KEY"] == ["written in the configuration", "line 8"]
    assert lines["repositories.nas.environment.AWS_ACCESS_KEY_ID"] == ["environment variable ID", "line 8"]
    assert lines["repositories.nas.keep"] == ["everything: nothing is removed", "default"]
    assert lines["repositories.nas.upload_limit"] == ["2 MiB", "line 9"]
    assert lines["plans.nightly.schedule"] == ["0 3 * * *", "line 11"]
    assert lines["plans.nightly.verify"] == ["5%", "line 11"]
    assert lines["plans.weekly.schedule.every"] == ["7d", "line 12"]
    assert lines["limits.lock_wait"] == ["90s", "line 13"]
    assert lines["limits.freeze"] == ["10s", "default"]
    assert lines["limits.store"] == ["none", "default"]


def test_settings_of_options_are_shown_with_their_options(program: Program) -> None:
    environ = {"OWUI_VAULT_PASSPHRASE": PASSPHRASE}
    done = program.run("--data-dir", "d", "--repository", "r", "config", "show", environ=environ)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"instance.data_dir +{program.folder}/d +--data-dir", done.stdout)
    assert re.search(r"passphrase +environment variable OWUI_VAULT_PASSPHRASE", done.stdout)


@pytest.mark.slow
def test_a_generated_configuration_is_valid_and_works_as_typed(
    program: Program, small_instance: Callable[[Path], Path], own_restic: Path
) -> None:
    """Every command that the file names, in its order; then those of its words."""
    small_instance(program.folder / "owui")
    programs = program.folder / "bin"
    programs.mkdir()
    shutil.copy(own_restic, programs / "restic")
    (programs / "owui-vault").write_text(f'#!/bin/sh\nexec {sys.executable} -m owui_vault "$@"\n')
    (programs / "owui-vault").chmod(0o755)
    described = ("--data-dir", "owui/data", "--repository", str(program.folder / "r"))
    made = program.run(*described, "config", "generate", "vault.yaml")
    assert made.returncode == 0, made.stderr
    file = program.folder / "vault.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    with file.open("a") as more:  # root's would be this machine's own
        more.write(f"\nstate_dir: {program.folder}/state\n")
    (passphrase,) = re.findall(r"^# A passphrase, once: +(.*)$", text, re.MULTILINE)
    (then,) = re.findall(r"^# Then: +(.*)$", text, re.MULTILINE)
    environ = program.environ(None) | {"PATH": f"{programs}:{os.environ['PATH']}"}
    said = ""
    for line in (passphrase, *then.split(", "), "owui-vault run"):
        done = subprocess.run(
            ["bash", "-ec", line], cwd=program.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        said += done.stdout
    assert "COMPLETE" in said
    assert "SQLite's full check" in said  # of `verify`
    again = program.run(*described, "config", "generate", "vault.yaml")
    assert again.returncode == 2
    assert file.read_text().startswith(text)


def test_without_a_file_it_is_printed_and_nothing_is_written(
    program: Program, small_instance: Callable[[Path], Path]
) -> None:
    small_instance(program.folder / "owui")
    before = sorted(program.folder.rglob("*"))
    done = program.run("--data-dir", "owui/data", "config", "generate")
    assert sorted(program.folder.rglob("*")) == before
    (program.folder / "printed.yaml").write_text(done.stdout)
    settings = load_settings(program.folder / "printed.yaml", program.environ(None))
    assert settings.instance
    assert settings.instance.data_dir == program.folder / "owui/data"
    assert settings.repositories == ()


def test_the_directory_that_may_be_meant_is_named(program: Program, small_instance: Callable[[Path], Path]) -> None:
    small_instance(program.folder / "above")
    done = program.run("--data-dir", "above", "config", "generate")
    assert done.returncode == 2
    assert f"Did you mean {program.folder}/above/data?" in done.stderr


def test_a_unit_says_where_its_data_are(
    program: Program, small_instance: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = small_instance(program.folder / "owui")
    launch = SimpleNamespace(settings={"DATA_DIR": "owui/data"}, folder=program.folder, unknown=())
    monkeypatch.setattr("owui_vault.quiesce.unit_settings.launch_of", lambda _unit: launch)
    here = Here(options=GlobalOptions(), environ=program.environ(None), folder=program.folder, unit="owui.service")
    made = generate(here, program.folder / "v.yaml")
    assert made.file
    instance = load_settings(made.file, {}).instance
    assert instance
    assert (instance.data_dir, instance.systemd_unit) == (place, "owui.service")


def test_a_unit_that_says_nothing_needs_the_directory(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = SimpleNamespace(settings={}, folder=None, unknown=())
    monkeypatch.setattr("owui_vault.quiesce.unit_settings.launch_of", lambda _unit: launch)
    here = Here(options=GlobalOptions(), environ=program.environ(None), folder=program.folder, unit="owui")
    with pytest.raises(ConfigError, match="sets no DATA_DIR") as caught:
        generate(here, None)
    assert "--data-dir DIR" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("config validate x", "a file is of `config generate`"),
        ("config show --unit u", "--unit is of `config generate`"),
        ("--data-dir d config validate", "a file is checked"),
        ("--config c config generate", "--config names a configuration to read"),
        ("--container c config generate --unit u", "--container takes the place of"),
        ("config", "missing argument"),
    ],
)
def test_what_goes_with_another_action_is_refused(program: Program, words: str, told: str) -> None:
    done = program.run(*words.split())
    assert done.returncode == 2
    assert told in done.stderr
    assert not list(program.folder.iterdir())
