"""The program itself, as a user runs it, on a real instance and a real repository."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from owui_vault.secrets.sealed import names

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow
Program = Any  # the class of that name in conftest.py


def test_from_inspect_to_verify(vault: Program) -> None:
    told = vault.run("inspect")
    assert told.returncode == 0
    assert "What it holds" in told.stdout

    again = vault.run("init")
    assert again.returncode == 0
    assert "nas: " in again.stdout
    assert "Keep this somewhere else" in again.stdout

    taken = vault.run("snapshot", "--tag", "before-update")
    assert taken.returncode == 0, taken.stderr
    assert ": COMPLETE" in taken.stdout
    assert "capturing one instant" in taken.stderr

    listed = vault.run("snapshots").stdout.splitlines()
    assert len(listed) == 3
    identity = listed[1].split()[0]
    assert identity in taken.stdout
    assert "before-update" in listed[1]

    shown = vault.run("show", identity)
    assert f"snapshot {identity} of open-webui: COMPLETE" in shown.stdout

    restored = vault.run("restore", "latest", "--target", "copy")
    assert restored.returncode == 0, restored.stderr
    assert (vault.folder / "copy/data/webui.db").is_file()
    assert "checked" in restored.stdout

    verified = vault.run("verify", "--read-data", identity)
    assert verified.returncode == 0, verified.stderr
    assert "structure sound; 2 databases and 48 index files identical to what was stored" in verified.stdout
    assert "read all of the repository's data" in verified.stdout

    pruned = vault.run("prune", "--dry-run")
    assert "2 kept, 0 would be removed" in pruned.stdout
    assert vault.run("recover").stdout == "nothing to recover\n"


def test_json_is_one_object_for_every_command(vault: Program) -> None:
    assert vault.json("inspect")["components"]
    assert vault.json("init")["repositories"][0]["created"] in {False, True}
    assert vault.json("snapshot", "--dry-run")["dry_run"] is True
    taken = vault.json("snapshot")
    assert taken["outcome"] == "complete"
    assert vault.json("snapshots")["snapshots"][0]["label"]["id"] == taken["id"]
    assert vault.json("show", "latest")["manifest"]["id"] == taken["id"]
    assert vault.json("restore", "latest", "--target", "copy", "--component", "database")["components"] == ["database"]
    assert vault.json("verify")["problems"] == []
    assert vault.json("prune", "--dry-run")["repositories"][0]["repository"] == "nas"
    assert vault.json("prune")["took_seconds"] >= 0
    assert vault.json("recover")["actions"] == []


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["frobnicate"], 2, "ConfigError"),
        (["--config", "gone.yaml", "snapshots"], 2, "ConfigError"),
        (["snapshots", "--from", "other"], 2, "ConfigError"),
        (["snapshot", "--tag", "a b"], 2, "ConfigError"),
        (["show", "ffffffff"], 1, "SnapshotMissingError"),
        (["restore", "latest", "--target", "."], 2, "TargetError"),
    ],
)
def test_an_error_is_one_object_too(vault: Program, words: list[str], code: int, kind: str) -> None:
    error = vault.json(*words, code=code)["error"]
    assert error["type"] == kind
    assert error["exit_code"] == code
    assert error["message"]
    done = vault.run(*words)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("owui-vault: ")


def test_a_wrong_passphrase_is_12_and_a_missing_repository_10(vault: Program) -> None:
    (vault.folder / "pass").write_text("wrong")
    assert vault.json("snapshots", code=12)["error"]["type"] == "WrongPassphraseError"
    (vault.folder / "nas").rename(vault.folder / "away")
    assert vault.json("snapshots", code=10)["error"]["type"] == "RepositoryMissingError"


def test_two_runs_at_once_is_11(vault: Program) -> None:
    descriptor = os.open(vault.folder / "data", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        error = vault.json("snapshot", code=11)["error"]
    finally:
        os.close(descriptor)
    assert error["type"] == "LockHeldError"


def test_one_of_several_repositories_failing_is_1_and_the_other_is_stored(vault: Program, own_borg: Path) -> None:
    text = (vault.folder / "vault.yaml").read_text()
    far = f"  far: {{engine: borg, location: far, program: {own_borg}, passphrase: {{file: pass}}}}\nlimits"
    vault.configure(text.replace("limits", far))
    done = vault.run("snapshot")
    assert done.returncode == 1
    assert "nas: stored" in done.stdout
    assert "far: FAILED: " in done.stdout
    told = vault.json("snapshot", code=1)
    assert [bool(each["error"]) for each in told["repositories"]] == [False, True]


def test_one_file_and_a_directory_come_out_of_a_snapshot(vault: Program) -> None:
    listed = vault.run("ls", "latest", "data/uploads").stdout.splitlines()
    assert listed[0].endswith("dir  data/uploads/")
    path = listed[1].split("  ")[-1]
    script = f"{sys.executable} -m owui_vault"
    shell = f"{script} dump latest '{path}' | cmp - '{path}' && {script} dump latest data/uploads | tar -tf - | wc -l"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=vault.folder, env=vault.environ(None), capture_output=True, text=True, check=False
    )
    assert (done.returncode, int(done.stdout)) == (0, len(listed)), done.stderr
    assert vault.json("ls", "latest", "data/webui.db")["entries"][0]["path"] == "data/webui.db"
    assert vault.json("dump", "latest", "data/webui.db", code=2)["error"]["type"] == "ConfigError"
    assert "holds no 'data/nothing'" in vault.run("dump", "latest", "data/nothing").stderr


@pytest.mark.parametrize("optional", [False, True])
def test_an_absent_repository_stops_nobody(vault: Program, optional: bool) -> None:
    text = (vault.folder / "vault.yaml").read_text()
    nas = next(line for line in text.splitlines() if line.startswith("  nas:"))
    usb = nas.replace("nas", "usb").replace("engine", f"optional: {str(optional).lower()}, engine")
    vault.configure(text.replace(nas, f"{usb}\n{nas}"))
    code = 0 if optional else 1
    all_of_them = ("snapshots", "show latest", "prune --dry-run", "snapshot", "prune", "verify")
    some = ("snapshots", "snapshot")  # whether it is excused is decided in one place
    for words in (*(all_of_them if optional else some), "restore latest --target x"):
        done = vault.run(*words.split())
        assert done.returncode == code, (words, done.stdout + done.stderr)
        assert "usb" in done.stdout
        assert "no repository at" in done.stdout
    assert len(vault.run("snapshots", "--from", "nas").stdout.splitlines()) == 3
    assert (vault.folder / "x/data/webui.db").is_file()
    told = vault.json("snapshots", code=code)["unanswered"]
    assert [(each["repository"], each["excused"]) for each in told] == [("usb", optional)]
    assert vault.run("snapshots", "--from", "usb").returncode == 10


def test_all_repositories_failing_tells_the_first_error_and_the_report(vault: Program) -> None:
    (vault.folder / "nas").rename(vault.folder / "away")
    told = vault.json("snapshot", code=10)
    assert told["report"]["repositories"][0]["error"]["type"] == "RepositoryMissingError"
    assert told["report"]["outcome"] == "failed"
    done = vault.run("snapshot")
    assert done.returncode == 10
    assert "was taken: no repository answered" in done.stderr
    assert "nas: FAILED" in done.stderr
    for text in (told["error"]["message"], told["error"]["hint"]):
        assert done.stderr.count(text) == 1
    assert "restic said: " not in done.stderr


def test_incomplete_is_3(vault: Program) -> None:
    damage_an_index(vault.folder / "data/webui.db")
    done = vault.run("snapshot")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "INCOMPLETE" in done.stdout
    assert "Why it is incomplete" in done.stdout
    assert vault.json("show", vault.json("snapshots")["snapshots"][0]["label"]["id"])["manifest"]["problems"]


def damage_an_index(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=DELETE")
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (page,) = connection.execute("SELECT max(rootpage) FROM sqlite_master WHERE type='index'").fetchone()
    connection.close()
    content = bytearray(database.read_bytes())
    content[(page - 1) * size : page * size] = bytes(size)
    database.write_bytes(content)


def test_damage_found_by_verify_is_5(vault: Program) -> None:
    packs = sorted((vault.folder / "nas/data").glob("*/*"), key=lambda each: each.stat().st_size)
    content = bytearray(packs[-1].read_bytes())
    content[len(content) // 2] ^= 0xFF
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(content)
    done = vault.run("verify", "--read-data")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "problem" in done.stdout


def test_options_alone_are_enough_on_a_bare_machine(vault: Program, own_restic: Path) -> None:
    (vault.folder / "vault.yaml").unlink()
    (vault.folder / "bin").mkdir()
    (vault.folder / "bin/restic").symlink_to(own_restic)
    environ = {
        "PATH": f"{vault.folder}/bin:{os.environ['PATH']}",
        "OWUI_VAULT_PASSPHRASE": (vault.folder / "pass").read_text().strip(),
    }
    options = ["--repository", "nas", "--engine", "restic"]
    listed = vault.run(*options, "snapshots", environ=environ)
    assert listed.returncode == 0, listed.stderr
    assert "complete" in listed.stdout
    words = [*options, "--passphrase-file", "pass", "restore", "latest", "--target", "copy"]
    by_file = vault.run(*words, environ={"PATH": environ["PATH"]})
    assert by_file.returncode == 0, by_file.stderr
    assert (vault.folder / "copy/data/uploads").is_dir()
    assert vault.run("--data-dir", "data", "inspect").returncode == 0


def test_without_a_passphrase_and_a_terminal_it_could_not_start(vault: Program) -> None:
    done = vault.run("--repository", "nas", "--engine", "restic", "snapshots")
    assert done.returncode == 2
    assert "no terminal to ask at" in done.stderr


def test_the_passphrase_is_asked_for_on_a_terminal(vault: Program) -> None:
    controller, terminal = pty.openpty()
    ours = ["setsid", "--ctty", "--wait", sys.executable, "-m", "owui_vault"]  # the terminal is its own, as in a shell
    command = [*ours, "--json", "--repository", "nas", "--engine", "restic", "snapshots"]
    child = subprocess.Popen(
        command,
        cwd=vault.folder,
        env=vault.environ({"TERM": "dumb"}),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while b"Passphrase of the repository: " not in shown:
        shown += os.read(controller, 1000)
    os.write(controller, (vault.folder / "pass").read_bytes())
    out, _ = child.communicate(timeout=60)
    os.close(controller)
    assert child.returncode == 0, out
    assert b'"outcome": "complete"' in out


def slow_engine(vault: Program, at: str) -> Path:
    """An engine that hangs at one of its commands, and says so in a file."""
    engine = (vault.folder / "vault.yaml").read_text().partition("program: ")[2].partition(",")[0]
    script = vault.folder / "slow-engine"
    hang = f'if [ "$word" = {at} ]; then touch {vault.folder}/waiting; exec sleep 60; fi'
    script.write_text(f'#!/bin/sh\nfor word; do {hang}; done\nexec {engine} "$@"\n')
    script.chmod(0o755)
    vault.configure((vault.folder / "vault.yaml").read_text().replace(engine, str(script)))
    waiting: Path = vault.folder / "waiting"
    return waiting


@pytest.mark.parametrize(
    ("number", "code", "command", "at"),
    [
        (signal.SIGINT, 130, "snapshot", "backup"),
        (signal.SIGTERM, 143, "snapshot", "backup"),
        (signal.SIGINT, 130, "snapshots", "snapshots"),
        (signal.SIGHUP, 129, "snapshots", "snapshots"),
    ],
)
def test_a_signal_stops_and_cleans_up(vault: Program, number: int, code: int, command: str, at: str) -> None:
    waiting = slow_engine(vault, at)
    child = vault.start("--json", command)
    until = time.monotonic() + 60
    while not waiting.exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(number)
    time.sleep(0.05)
    child.send_signal(number)  # somebody impatient
    out, err = child.communicate(timeout=60)
    assert child.returncode == code, out + err
    assert f'"exit_code": {code}' in out
    assert "Traceback" not in err
    work = vault.folder / "state/work"
    assert not any(each.name == "webui.db" for each in work.rglob("*"))


def test_a_reader_that_goes_away_changes_nothing(vault: Program) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "owui_vault", "--json", "snapshots"]
    done = subprocess.run(
        command,
        cwd=vault.folder,
        env=vault.environ(None),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_closed_streams_change_nothing(vault: Program) -> None:
    script = f"exec {sys.executable} -m owui_vault recover >&- 2>&-"
    done = subprocess.run(["sh", "-c", script], cwd=vault.folder, env=vault.environ(None), check=False)
    assert done.returncode == 0


def test_an_unforeseen_error_shows_where_and_never_what(vault: Program) -> None:
    (vault.folder / "yaml.py").write_text(f"raise ValueError({(vault.folder / 'pass').read_text()!r})")
    done = vault.run("snapshots", environ={})  # started anew, it looks for modules where it stands
    assert done.returncode == 1
    assert "unexpected " in done.stderr
    assert "hint: Pass -v to see" in done.stderr
    verbose = vault.run("-v", "snapshots", environ={})
    assert verbose.returncode == 1
    assert ".py:" in verbose.stderr


def test_a_state_directory_that_cannot_be_used_is_told(vault: Program) -> None:
    (vault.folder / "state").rename(vault.folder / "old")
    (vault.folder / "state").write_text("a file where a folder belongs")
    for command in ("snapshots", "snapshot", "init"):
        error = vault.json(command, code=2)["error"]
        assert error["type"] == "ConfigError"
        assert "state directory" in error["message"]
        assert "state_dir" in error["hint"]


@pytest.mark.root
@pytest.mark.parametrize(("code", "kind"), [(1, "NoSpaceError"), (2, "ConfigError")])
def test_a_state_directory_that_is_full_or_read_only_is_not_taken_for_the_repository(
    vault: Program, code: int, kind: str
) -> None:
    state = vault.folder / "state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(state)], check=True)
    try:
        vault.json("snapshots")
        if kind == "NoSpaceError":
            with suppress(OSError):
                (state / "full").write_bytes(bytes(16_000_000))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        for command in (["snapshots"], ["snapshot"], ["init"], ["restore", "latest", "--target", "copy"]):
            error = vault.json(*command, code=code)["error"]
            assert error["type"] == kind
            assert f"the state directory {state} cannot be used" in error["message"]
    finally:
        subprocess.run(["umount", str(state)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("home", ["/root", None])
def test_the_state_of_another_user_or_of_nobody_at_all_is_told(vault: Program, home: str | None) -> None:
    """A service without a home, or one that was given root's."""
    script = (
        "import os, sys; os.setgid(54321); os.setuid(54321)\n"
        "from owui_vault.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["--repository", "/tmp/none", "--engine", "borg", "snapshots"]
    environ = {"PATH": os.environ["PATH"], "OWUI_VAULT_PASSPHRASE": "x", "PYTHONPATH": str(ROOT)}
    environ |= {"HOME": home} if home else {}
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd="/", env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "the state directory" in done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize(
    "words", ["--repository nas snapshots", "seal --file keys.sealed nas", "restore latest --in-place"]
)
def test_a_closed_stdin_is_nobody_to_ask(vault: Program, words: str) -> None:
    script = f"exec {sys.executable} -m owui_vault {words} <&-"
    done = subprocess.run(
        ["sh", "-c", script], cwd=vault.folder, env=vault.environ(None), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "unexpected" not in done.stderr
    assert "hint: " in done.stderr


def test_quiet_is_silent_on_success_and_on_nothing_else(vault: Program) -> None:
    for words in (["snapshot"], ["prune"], ["verify"], ["recover"], ["init"]):
        done = vault.run("-q", *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), words
    assert len(vault.run("-q", "snapshots").stdout.splitlines()) == 3
    assert "would be removed" in vault.run("prune", "-q", "--dry-run").stdout
    damage_an_index(vault.folder / "data/webui.db")
    incomplete = vault.run("-q", "snapshot")
    assert incomplete.returncode == 3
    assert "INCOMPLETE" in incomplete.stdout


def test_quiet_does_not_hide_a_warning(vault: Program) -> None:
    """A backup that is fine today, and a passphrase that anybody may read."""
    (vault.folder / "pass").chmod(0o644)
    done = vault.run("-q", "snapshot")
    assert (done.returncode, done.stdout) == (0, "")
    assert "pass" in done.stderr
    assert "Warnings" in done.stderr


def test_twice_verbose_shows_each_engine_command_and_the_configuration(vault: Program) -> None:
    once = vault.run("-v", "snapshots")
    assert f"the configuration in use is {vault.folder / 'vault.yaml'}" in once.stderr
    assert "status 0" not in once.stderr
    for words, command in ((["snapshots"], "snapshots"), (["snapshot"], "backup"), (["verify"], "check")):
        twice = vault.run("-vv", *words)
        assert twice.returncode == 0, twice.stderr
        assert re.search(rf"restic\S* .*\b{command}\b.*: status 0 after \d+\.\d\d s", twice.stderr), twice.stderr
        assert f"the configuration in use is {vault.folder / 'vault.yaml'}" in twice.stderr


def test_an_error_of_a_configuration_names_its_file(vault: Program) -> None:
    vault.configure("instance: {data_dir: data}\nstate_dir: state\n")
    for words in (["snapshots"], ["snapshot"], ["init"], ["restore", "latest", "--target", "copy"]):
        done = vault.run(*words)
        assert done.returncode == 2
        assert "no repository is configured" in done.stderr
        assert f"The configuration in use is {vault.folder / 'vault.yaml'}." in done.stderr


def test_sealed_secrets_open_the_repository(vault: Program) -> None:
    passphrase = (vault.folder / "pass").read_text()
    (vault.folder / "key").write_text("the key\n")
    (vault.folder / "key").chmod(0o600)
    text = (vault.folder / "vault.yaml").read_text()
    vault.configure(text.replace("{file: pass}", "{sealed: keys.sealed, name: nas, unlock: {file: key}}"))
    missing = vault.run("snapshots")
    assert missing.returncode == 2
    assert "there is no sealed file" in missing.stderr
    sealed = vault.run("seal", "nas", "other", stdin=f"{passphrase}second\n")
    assert sealed.returncode == 0, sealed.stderr
    assert "now holds nas, other" in sealed.stdout
    (vault.folder / "pass").unlink()
    assert vault.run("snapshots").returncode == 0
    assert names(vault.folder / "keys.sealed") == ("nas", "other")


@pytest.mark.parametrize(
    ("words", "stdin", "claim"),
    [
        (["seal", "a"], "x\n", "which sealed file is meant is not clear; configured: none"),
        (["seal", "a", "--file", "f"], "x\n", "the key of the sealed file is not known"),
        (["seal", "a", "b", "--file", "f", "--unlock-file", "pass"], "x\n", "stdin has 1 lines for 2 names"),
        (["seal", "a", "a", "--file", "f", "--unlock-file", "pass"], "x\ny\n", "a name was given twice"),
        (["seal", "a", "--file", "f", "--unlock-file", "pass"], "\n", "the secret 'a' is empty"),
        (["seal", "a b", "--file", "f", "--unlock-file", "pass"], "x\n", "cannot be the name of a sealed secret"),
        (["--data-dir", "d", "seal", "a"], "x\n", "configured: none"),
    ],
)
def test_what_cannot_be_sealed_is_told(vault: Program, words: list[str], stdin: str, claim: str) -> None:
    done = vault.run(*words, stdin=stdin)
    assert done.returncode == 2
    assert claim in done.stderr
    assert not (vault.folder / "f").exists()


def test_a_sealed_file_needs_no_configuration(vault: Program) -> None:
    (vault.folder / "vault.yaml").unlink()
    done = vault.run("--json", "seal", "a", "--file", "f", "--unlock-file", "pass", stdin="x\r\n")
    assert done.returncode == 0, done.stderr
    assert '"names": [\n    "a"\n  ]' in done.stdout
