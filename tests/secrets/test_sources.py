"""Each source reveals its secret, says where it lies and never shows it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from owui_vault.errors import SecretError
from owui_vault.model import Secret
from owui_vault.model.secrets import (
    CommandSecret,
    CredentialSecret,
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    SealedSecret,
    SecretReference,
)
from owui_vault.ports import SecretSource
from owui_vault.secrets import secret_source
from owui_vault.secrets.command import CommandSource
from owui_vault.secrets.sealed import seal
from owui_vault.secrets.sources import CredentialSource, Source

ENVIRON = {"PATH": os.defpath, "NAS": "hunter2", "NOTHING": "", "OWUI_VAULT_PASSPHRASE": "other", "BW_SESSION": "bw"}


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def every_kind(folder: Path) -> list[SecretReference]:
    write(folder / "pass", b"hunter2\n")
    seal(folder / "sealed", {"nas": Secret("hunter2")}, Secret("hunter2"))
    return [
        GivenSecret(secret=Secret("hunter2"), origin="typed at the terminal"),
        FileSecret(path=folder / "pass"),
        EnvironmentSecret(variable="NAS"),
        CommandSecret(argv=("printf", "hunter2\\n")),
        CredentialSecret(name="pass"),
        SealedSecret(path=folder / "sealed", name="nas", unlock=FileSecret(path=folder / "pass")),
    ]


def test_every_kind_reveals_and_none_describes_the_secret(tmp_path: Path) -> None:
    for reference in every_kind(tmp_path):
        source = secret_source(reference, {**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path)})
        assert isinstance(source, SecretSource)
        assert source.reveal() == source.reveal() == "hunter2"
        assert source.warnings() == ()
        assert source.describe()
        for shown in (source.describe(), repr(source), repr(reference)):
            assert "hunter2" not in shown.replace("printf", "") or isinstance(reference, CommandSecret)
        assert "hunter2" not in source.describe()


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"pass\n", "pass"),
        (b"pass", "pass"),
        (b"pass\r\n", "pass"),
        (b"pass\n\n", "pass\n"),
        (b"  pass word \n", "  pass word "),
        ("pässwörd\n".encode(), "pässwörd"),
    ],
)
def test_one_line_break_at_the_end_of_a_file_does_not_count(tmp_path: Path, content: bytes, secret: str) -> None:
    path = write(tmp_path / "pass", content)
    assert secret_source(FileSecret(path=path), {}).reveal() == secret


@pytest.mark.parametrize(
    ("content", "claim"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a\0b", "contains a NUL"),
        (b"x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes, claim: str) -> None:
    path = write(tmp_path / "pass", content)
    with pytest.raises(SecretError, match=claim) as caught:
        secret_source(FileSecret(path=path), {}).reveal()
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, claim in (("missing", "does not exist"), ("pipe", "not a regular file"), (".", "not a regular file")):
        with pytest.raises(SecretError, match=claim):
            secret_source(FileSecret(path=tmp_path / name), {}).reveal()


@pytest.mark.parametrize(("mode", "who"), [(0o640, "its group"), (0o604, "everybody"), (0o644, "everybody")])
def test_a_file_others_can_read_is_used_with_a_warning(tmp_path: Path, mode: int, who: str) -> None:
    path = write(tmp_path / "pass", b"hunter2", mode)
    source = secret_source(FileSecret(path=path), {})
    assert source.reveal() == "hunter2"
    (warning,) = source.warnings()
    assert warning == f"the secret file {path} is open to {who}; chmod 600 {path}"


def test_a_warning_is_never_an_error(tmp_path: Path) -> None:
    assert secret_source(FileSecret(path=tmp_path / "missing"), {}).warnings() == ()


def test_the_key_of_a_sealed_file_is_warned_about_too(tmp_path: Path) -> None:
    key = FileSecret(path=write(tmp_path / "key", b"key", 0o644))
    source = secret_source(SealedSecret(path=tmp_path / "s", name="n", unlock=key), {})
    assert "chmod 600" in source.warnings()[0]
    assert str(tmp_path / "key") in source.describe()


def test_an_unset_variable_is_not_an_empty_one() -> None:
    with pytest.raises(SecretError, match="NONE is not set"):
        secret_source(EnvironmentSecret(variable="NONE"), ENVIRON).reveal()
    with pytest.raises(SecretError, match="NOTHING is empty"):
        secret_source(EnvironmentSecret(variable="NOTHING"), ENVIRON).reveal()
    with pytest.raises(SecretError, match="not UTF-8"):
        secret_source(EnvironmentSecret(variable="X"), {"X": "\udcff"}).reveal()
    with pytest.raises(SecretError, match="typed at the terminal is empty"):
        secret_source(GivenSecret(secret=Secret(""), origin="typed at the terminal"), {}).reveal()


def command(*argv: str, timeout_seconds: float = 60.0) -> Source:
    return CommandSource(argv, ENVIRON, timeout_seconds)


def test_a_failing_command_does_not_show_what_it_printed() -> None:
    script = "echo hunter2; echo hunter2 >&2; exit 3"
    with pytest.raises(SecretError, match="command sh ended with status 3") as caught:
        command("sh", "-c", script).reveal()
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told.replace(script, "")


@pytest.mark.parametrize(
    ("argv", "claim"),
    [
        (("true",), "output of command true is empty"),
        (("/no/such/program",), "returned no secret: cannot run /no/such/program"),
        (("sleep", "60"), "returned no secret: sleep did not finish within"),
        (("printf", "\\377"), "not UTF-8"),
    ],
)
def test_a_command_without_an_answer_is_refused(argv: tuple[str, ...], claim: str) -> None:
    with pytest.raises(SecretError, match=claim):
        command(*argv, timeout_seconds=0.5).reveal()


def test_a_command_gets_the_session_of_its_password_manager_and_no_other_secret() -> None:
    shown = command("env").reveal()
    assert "BW_SESSION=bw" in shown
    assert "LC_ALL=C.UTF-8" in shown
    assert "hunter2" not in shown
    assert "OWUI_VAULT_PASSPHRASE" not in shown


def test_a_command_is_asked_once(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", f"open({str(tmp_path / 'asked')!r}, 'a').write('x'); print('hunter2')")
    source = secret_source(CommandSecret(argv=argv), ENVIRON)
    assert [source.reveal(), source.reveal()] == ["hunter2", "hunter2"]
    assert (tmp_path / "asked").read_text() == "x"


def test_a_failure_is_asked_again(tmp_path: Path) -> None:
    source = secret_source(CommandSecret(argv=("cat", str(tmp_path / "later"))), ENVIRON)
    with pytest.raises(SecretError):
        source.reveal()
    (tmp_path / "later").write_text("hunter2")
    assert source.reveal() == "hunter2"


def test_a_credential_of_systemd_comes_before_one_of_a_container(tmp_path: Path) -> None:
    for folder in ("systemd", "container"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "nas", folder.encode(), 0o444)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}
    assert CredentialSource("nas", environ, tmp_path / "container").reveal() == "systemd"
    assert CredentialSource("nas", {}, tmp_path / "container").reveal() == "container"
    assert CredentialSource("nas", environ, tmp_path / "container").warnings() == ()
    with pytest.raises(SecretError, match=r"no credential b2 in .*/systemd or .*/container"):
        CredentialSource("b2", environ, tmp_path / "container").reveal()


def test_the_keyring_is_an_extra() -> None:
    source = secret_source(KeyringSecret(service="nas", username="ada"), {})
    assert source.describe() == "keyring entry nas/ada"
    installed = importlib.util.find_spec("keyring") is not None
    claim = "keyring entry nas/ada" if installed else "needs the keyring package"
    with pytest.raises(SecretError, match=claim) as caught:
        source.reveal()
    assert caught.value.hint


FOREIGN_KEYRING = """
from . import errors
def get_password(service, username):
    if username == "locked":
        raise errors.KeyringLocked("hunter2")
    return {"ada": "hunter2", "empty": ""}.get(username)
"""
FOREIGN_ERRORS = """
class KeyringError(Exception): pass
class KeyringLocked(KeyringError): pass
"""


@pytest.mark.parametrize(
    ("username", "claim"),
    [
        ("ada", "hunter2"),
        ("nobody", "there is no keyring entry nas/nobody"),
        ("empty", "keyring entry nas/empty is empty"),
        ("locked", "keyring entry nas/locked could not be queried: KeyringLocked"),
    ],
)
def test_a_keyring_is_asked_for_service_and_user(tmp_path: Path, username: str, claim: str) -> None:
    # The extra is not installed here; its two names that are used are.
    (tmp_path / "keyring").mkdir()
    (tmp_path / "keyring/__init__.py").write_text(FOREIGN_KEYRING)
    (tmp_path / "keyring/errors.py").write_text(FOREIGN_ERRORS)
    script = (
        "from owui_vault.errors import SecretError\n"
        "from owui_vault.secrets.sources import KeyringSource\n"
        f"try: print(KeyringSource('nas', {username!r}).reveal())\n"
        "except SecretError as error: print(error.message)"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == claim
