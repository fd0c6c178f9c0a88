"""The sheet that `init` prints names everything that a stranger's machine needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import BorgEngine, Repository, ResticEngine, Secret
from owui_vault.assembly import vault_from_settings
from owui_vault.config import load_settings
from owui_vault.model import RepositoryInfo
from owui_vault.repositories.credentials import credentials_of


def needed(location: str, environ: dict[str, str] | None = None) -> str:
    repository = Repository("nas", ResticEngine(location, Secret("x")))
    info = RepositoryInfo(id="ab", location=location, engine="restic", engine_version="0.14.0")
    return "\n".join(credentials_of(repository, info, environ or {}))


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("sftp:ada@far:/r", "ssh key that ada@far lets in"),
        ("sftp://ada@far:2222/r", "ssh key that ada@far lets in"),
        ("rclone:drive:r", "rclone's configuration of drive: /root/.config/rclone/rclone.conf"),
    ],
)
def test_keys_that_the_location_asks_for_are_named(location: str, named: str) -> None:
    assert named in needed(location, {"HOME": "/root"})


@pytest.mark.parametrize(
    "location", ["/mnt/nas/r", "s3:https://host/bucket", "rest:https://ada@host:8000/r", "gs:b:/r"]
)
def test_what_needs_no_key_of_ssh_names_none(location: str) -> None:
    assert needed(location) == ""


def test_each_variable_of_the_configuration_is_named_with_where_its_value_is(tmp_path: Path) -> None:
    file = tmp_path / "vault.yaml"
    file.write_text(
        "repositories: {far: {engine: restic, location: 's3:h/b', passphrase: {file: p}, environment:"
        " {AWS_ACCESS_KEY_ID: {env: ID}, AWS_SECRET_ACCESS_KEY: {file: /etc/aws.key}, OTHER: written-out}}}\n"
    )
    file.chmod(0o600)
    (repository,) = vault_from_settings(load_settings(file, {}), {}).repositories
    assert repository.credentials == (
        "AWS_ACCESS_KEY_ID: environment variable ID",
        "AWS_SECRET_ACCESS_KEY: file /etc/aws.key",
        "OTHER: written in the configuration",
    )


def test_the_key_file_of_borg_is_named_where_there_is_one(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "mine").write_text("BORG_KEY 3791e8c3\nhqlhbGdvcml0aG0=\n")
    (keys / "another").write_text("BORG_KEY 00000000\n")
    repository = Repository("far", BorgEngine("ssh://ada@far/./r", Secret("x")))
    info = RepositoryInfo(id="3791e8c3", location="ssh://ada@far/./r", engine="borg", engine_version="1.2.4")
    told = credentials_of(repository, info, {"BORG_KEYS_DIR": str(keys)})
    assert [each for each in told if str(keys) in each] == [
        f"borg's key file {keys}/mine: without it the passphrase opens nothing"
    ]
    assert any("ssh key that ada@far lets in" in each for each in told)
