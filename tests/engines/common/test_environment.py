"""Which repository is meant never depends on who runs us, and nobody reads a secret in what programs say."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault.engines.common.environment import (
    check_extra,
    engine_environment,
    invisible_ends,
    redact,
    reveal_all,
    without_credentials,
)
from owui_vault.errors import ConfigError
from owui_vault.model import Secret
from owui_vault.ports import Revealed

INHERITED = {
    "HOME": "/home/ada",
    "SSH_AUTH_SOCK": "/run/agent",
    "https_proxy": "http://proxy:3128",
    "SSL_CERT_FILE": "/etc/ca.pem",
    "RESTIC_REPOSITORY": "/somewhere/else",
    "RESTIC_PASSWORD": "x",
    "BORG_REPO": "/somewhere/else",
    "AWS_SECRET_ACCESS_KEY": "not this one",
    "TZ": "Asia/Tokyo",
    "LC_ALL": "de_DE.UTF-8",
    "EDITOR": "vi",
}


def test_little_is_inherited() -> None:
    found = engine_environment({}, {}, INHERITED)
    assert set(found) == {"PATH", "HOME", "SSH_AUTH_SOCK", "https_proxy", "SSL_CERT_FILE", "TZ", "LC_ALL"}
    assert (found["TZ"], found["LC_ALL"]) == ("UTC", "C.UTF-8")


def test_ours_wins_over_the_users_and_that_over_what_is_inherited() -> None:
    found = engine_environment({"A": "ours"}, {"A": "user", "HOME": "user"}, INHERITED)
    assert (found["A"], found["HOME"]) == ("ours", "user")


@pytest.mark.parametrize(
    "name", ["RESTIC_PASSWORD", "BORG_PASSPHRASE", "RESTIC_REPOSITORY", "TZ", "A B", "", "9x", "a=b"]
)
def test_what_we_set_ourselves_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        check_extra([name])


def test_what_a_cloud_needs_is_taken() -> None:
    check_extra(
        ["AWS_ACCESS_KEY_ID", "B2_ACCOUNT_ID", "BORG_RSH", "BORG_KEYS_DIR", "RCLONE_CONFIG", "RESTIC_REST_USERNAME"]
    )


def test_secrets_are_revealed_late_and_strings_are_themselves() -> None:
    assert reveal_all({"A": Secret("s"), "B": "t"}, Revealed()) == {"A": "s", "B": "t"}


def test_known_secrets_and_passwords_in_addresses_are_hidden() -> None:
    text = "open rest:https://alice:p%40ss@host/alice/ with key SECRETKEY and SECRETKEY2: denied"
    hidden = redact(text, ["SECRETKEY", "SECRETKEY2", "", "ab"])
    assert hidden == "open rest:https://alice:***@host/alice/ with key *** and ***: denied"


@pytest.mark.parametrize("address", ["http://user:hunter2p@sswordtail@127.0.0.1:9/", "http://me@mail.org:hunter2p@h/"])
def test_a_password_is_hidden_to_its_end(address: str) -> None:
    for shown in (redact(f"Get {address}: refused, ask me@here"), without_credentials(address)):
        assert "hunter2p" not in shown
        assert "sswordtail" not in shown
        assert "@127.0.0.1:9/" in shown or "@h/" in shown


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("rest:https://alice:pw@host:8000/alice/", "rest:https://alice@host:8000/alice/"),
        ("ssh://user@host:22/./repo", "ssh://user@host:22/./repo"),
        ("sftp:user@host:/srv/x", "sftp:user@host:/srv/x"),
        ("s3:https://host/bucket", "s3:https://host/bucket"),
        ("ssh://user@host:22/a:b@c", "ssh://user@host:22/a:b@c"),
        ("/mnt/a@b:c", "/mnt/a@b:c"),
    ],
)
def test_a_location_is_shown_without_its_password(location: str, shown: str) -> None:
    assert without_credentials(location) == shown


def test_a_place_for_temporary_files_that_does_not_exist_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """restic would fail in words of its own."""
    assert engine_environment({}, {}, {"TMPDIR": str(tmp_path)})["TMPDIR"] == str(tmp_path)
    for ours, extra, inherited in (({}, {}, {"TMPDIR": "/no/such"}), ({}, {"TMPDIR": "/no/such"}, {})):
        assert "TMPDIR" not in engine_environment(ours, extra, inherited)
    assert "/no/such" in caplog.text


@pytest.mark.parametrize(
    ("passphrase", "told"),
    [
        ("plain and with blanks inside", ()),
        ("\ufeffpass", ("begins with a byte order mark",)),
        ("pass ", ("ends with a blank",)),
        ("\tpass\n", ("begins with a tab", "ends with a line break")),
        ("pass\u200b", ("ends with a character that cannot be seen",)),
        ("\u00a0pass\x07", ("begins with a blank", "ends with a character that cannot be seen")),
    ],
)
def test_what_cannot_be_seen_at_the_ends_of_a_passphrase_is_named(passphrase: str, told: tuple[str, ...]) -> None:
    assert invisible_ends(passphrase) == told
