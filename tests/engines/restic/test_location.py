"""A location is what restic will take it for, or it is refused; and nobody reads a password in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import ResticEngine, Secret
from owui_vault.engines.restic.location import parse_location, password_in, ssh_words
from owui_vault.errors import ConfigError, EngineError
from owui_vault.ports import Call


@pytest.mark.parametrize("location", ["stfp:user@host:/backup", "S3:host/bucket", "http://host/", "user@host:repo"])
def test_a_scheme_that_restic_does_not_know_makes_no_local_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="restic has no backend called") as caught:
        ResticEngine(location, Secret("x"))
    assert "sftp, rest, s3" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["./a:b", "/mnt/a:b", "local:a:b"])
def test_a_folder_may_have_a_colon_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = parse_location(location).folder
    assert folder
    assert folder.name == "a:b"


@pytest.mark.parametrize(
    "location",
    [
        "rest:http://user:hunter2p@sswordtail@127.0.0.1:9/",
        "rest:http://user:hunter2p/sswordtail@127.0.0.1:9/",
        "rest:http://user:hunter2p sswordtail@127.0.0.1:9/",
        "rest:http://me@example.org:hunter2p@127.0.0.1:9/",
    ],
)
def test_a_password_that_ends_too_early_is_refused_and_not_shown(location: str) -> None:
    with pytest.raises(ConfigError, match="unescaped") as caught:
        parse_location(location)
    assert "RESTIC_REST_PASSWORD" in caught.value.hint
    assert "hunter" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "location",
    [
        "rest:http://alice:p%40ss%2Fword@host:8000/alice@home/",
        "rest:http://host:8000/a@b/",
        "rest:http://[::1]/a@b/",
        "rest:http://[::1]:8000/a b/",
        "rest:http://alice@host/",
        "s3:https://host/bucket/a:b@c",
        "s3:host:9000/bucket",
        "sftp:user@host:/srv/a b",
        "sftp://user@host:2222//srv",
        "b2:bucket:folder",
    ],
)
def test_what_is_meant_is_taken_as_it_is(location: str) -> None:
    parsed = parse_location(location)
    assert parsed.text == location
    assert parsed.folder is None
    assert "p%40" not in parsed.shown


def test_the_password_reaches_to_the_last_separator() -> None:
    assert password_in("rest:http://a:b@c@host/x@y") == "b@c"
    assert password_in("rest:http://host:8000/x@y") == ""


@pytest.mark.parametrize("location", ["/mnt/backup ", " /mnt/backup", "/mnt/backup\n", "sftp:nas:/backup "])
def test_a_blank_that_restic_would_cut_off_is_refused(location: str) -> None:
    with pytest.raises(ConfigError, match="blank"):
        parse_location(location)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("sftp:nas:/backup", "nas -s sftp"),
        ("sftp:me@NAS:backup", "NAS -l me -s sftp"),
        ("sftp://NAS/backup", "NAS -s sftp"),
        ("sftp://a%40b:pw@nas:2222//backup", "nas -p 2222 -l a@b -s sftp"),
        ("sftp://me@[fe80::1]:22/backup", "fe80::1 -p 22 -l me -s sftp"),
        ("rest:http://nas/backup", ""),
        ("local:/sftp:nas:/x", ""),
    ],
)
def test_ssh_gets_the_words_that_restic_would_give_it(location: str, words: str) -> None:
    assert " ".join(ssh_words(location)) == words


@pytest.mark.parametrize("option", ["sftp.command=ssh nas -s sftp", "sftp.args=-p 22"])
def test_what_somebody_says_about_ssh_stands(tmp_path: Path, option: str) -> None:
    program = tmp_path / "restic"
    program.write_text(f'#!/bin/sh\nfor word; do echo "$word" >> {tmp_path}/words; done\nexit 1\n')
    program.chmod(0o755)
    engine = ResticEngine("sftp:nas:/backup", Secret("x"), program=str(program), options=[option])
    with pytest.raises(EngineError):
        engine.snapshots(Call(folder=tmp_path / "state"))
    said = (tmp_path / "words").read_text().splitlines()
    assert [word for word in said if word.startswith("sftp.")] == [option]


@pytest.mark.parametrize(
    ("location", "environment", "told"),
    [
        ("b2:bucket:path", {"B2_ACCOUNT_ID": "x"}, "without B2_ACCOUNT_KEY"),
        ("b2:bucket:path", {}, "without B2_ACCOUNT_ID and B2_ACCOUNT_KEY"),
        ("azure:container:/path", {"AZURE_ACCOUNT_KEY": "x"}, "without AZURE_ACCOUNT_NAME"),
        ("azure:container", {"AZURE_ACCOUNT_NAME": "x"}, "names no place"),
        ("gs:bucket", {}, "names no place"),
        ("s3:https://host", {}, "names no place"),
        ("rclone:remote", {}, "names no place"),
    ],
)
def test_a_cloud_without_what_it_needs_is_refused_before_anything_is_done(
    location: str, environment: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        ResticEngine(location, Secret("x"), environment=environment)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("location", "environment"),
    [
        ("b2:bucket", {"B2_ACCOUNT_ID": "x", "B2_ACCOUNT_KEY": "y"}),
        ("azure:container:/path", {"AZURE_ACCOUNT_NAME": "x"}),
        ("gs:bucket:/", {}),
        ("s3:s3.amazonaws.com/bucket", {}),
        ("s3:https://host:9000/bucket/path", {}),
        ("rclone:remote:path", {}),
        ("rclone::sftp,host=nas:path", {}),
    ],
)
def test_what_may_come_from_a_profile_or_a_role_is_not_asked_for(location: str, environment: dict[str, str]) -> None:
    assert ResticEngine(location, Secret("x"), environment=environment).location == location
