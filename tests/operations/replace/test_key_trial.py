"""The secret key is tried on what is sealed before a snapshot says that it holds the right one."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from contextlib import closing

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from owui_vault import DataDirectory, Outcome, Progress, Repository, Secret, Vault
from owui_vault.secrets.sources import FileSource
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.operations.house import House, Houses

KEY = "the key"


def sealed(key: str = KEY, *, purpose: bytes = b"") -> str:
    if purpose:
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(key.encode())
    else:
        derived = hashlib.sha256(key.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(derived)).encrypt(b"{}").decode()


def run(house: House, *statements: tuple[str, tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(house.data_dir / "webui.db")) as connection:
        for statement, values in statements:
            connection.execute(statement, values)
        connection.commit()


@pytest.fixture
def house(houses: Houses) -> House:
    house = houses.one()
    (house.folder / ".webui_secret_key").write_text(KEY)
    run(house, ("CREATE TABLE tool (id TEXT, valves TEXT)", ()))
    return house


def with_valves(house: House, key: str = KEY) -> None:
    run(house, ("DELETE FROM tool", ()), ("INSERT INTO tool VALUES ('a', ?)", (json.dumps(sealed(key)),)))


def test_the_right_key_makes_it_complete(house: House) -> None:
    with_valves(house)
    report = house.vault.snapshot()
    assert (report.outcome, report.problems) == (Outcome.COMPLETE, ())
    assert report.manifest
    assert report.manifest.secret_key.needed_because == ("encrypted valves of 1 tools",)
    assert report.manifest.secret_key.unopened == ()


def test_a_wrong_one_is_told_like_a_missing_one(house: House) -> None:
    with_valves(house, "another key")
    report = house.vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    (problem,) = report.problems
    assert "does not open encrypted valves of 1 tools" in problem
    assert str(house.folder / ".webui_secret_key") in problem
    assert "MFA_ENCRYPTION_KEY" in problem
    assert any("set instance.secret_key" in each for each in report.warnings)
    tree = house.vault.restore(report.id, house.folder / "copy").target
    assert "no key that was known when the snapshot was made" in (tree / "RESTORE.txt").read_text()
    assert (tree / "outside/webui_secret_key").read_text() == KEY  # sessions may hang on it all the same
    told = house.vault.inspect()
    assert any("does not open" in each for each in told.warnings)
    assert told.secret_key.unopened == ("encrypted valves of 1 tools",)


def test_a_file_s_line_end_goes_along_if_the_application_took_it(house: House) -> None:
    (house.folder / ".webui_secret_key").write_text(f"{KEY}\n")
    with_valves(house, KEY)
    report = house.vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    tree = house.vault.restore("latest", house.folder / "copy").target
    assert (tree / "outside/webui_secret_key").read_text() == KEY


def test_a_separate_key_is_named_and_kept(house: House) -> None:
    separate = Fernet.generate_key()
    token = Fernet(separate).encrypt(b"JBSWY3DPEHPK3PXP").decode()
    run(
        house,
        ("ALTER TABLE auth ADD COLUMN mfa JSON", ()),
        ("INSERT INTO auth VALUES ('u1', '', ?)", (json.dumps({"secret": token}),)),
    )
    assert house.vault.snapshot().outcome is Outcome.INCOMPLETE
    (house.folder / ".env").write_text(f"MFA_ENCRYPTION_KEY={separate.decode()}\n")
    report = house.a_vault().snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert report.manifest.secret_key.separate == ("MFA_ENCRYPTION_KEY",)
    tree = house.vault.restore("latest", house.folder / "copy").target
    assert "MFA_ENCRYPTION_KEY" in (tree / "RESTORE.txt").read_text()
    assert separate.decode() in (tree / "outside/environment").read_text()
    assert separate.decode() not in (tree / "manifest.json").read_text()


APPS = b"open-webui-app-keys-v1"


@pytest.mark.parametrize("key", [KEY, "another key"])
def test_apps_and_valves_in_the_settings_of_people_count(house: House, key: str) -> None:
    token = sealed(key, purpose=APPS)
    settings = {"ui": {"system": "gAAAA is how it begins"}, "tools": {"valves": {"t": sealed(key)}}}
    run(
        house,
        ("CREATE TABLE app (id TEXT, data JSON, api_key TEXT)", ()),
        ("INSERT INTO app VALUES ('a', ?, ?)", (json.dumps({"connection_token": token}), token)),
        ("INSERT INTO app VALUES ('b', '{}', NULL)", ()),
        ("ALTER TABLE user ADD COLUMN settings JSON", ()),
        ("UPDATE user SET settings = ?", (json.dumps(settings),)),
        ("INSERT INTO user VALUES ('u2', 2, ?)", (json.dumps({"ui": {"system": sealed(key)}}),)),
    )
    report = house.vault.snapshot()
    assert report.manifest
    everything = (
        "encrypted valves in the settings of 1 people",
        "API keys of 1 apps",
        "connections of 1 apps",
    )
    assert report.manifest.secret_key.needed_because == everything
    assert report.manifest.secret_key.unopened == (() if key == KEY else everything)
    (house.folder / ".webui_secret_key").unlink()
    (problem,) = house.a_vault().snapshot().problems
    assert "API keys of 1 apps" in problem


def test_a_restore_in_place_says_so_before_anything_is_exchanged(house: House) -> None:
    with_valves(house, "another key")
    wrong = house.vault.snapshot()
    with_valves(house)
    starts = house.quiescer.instance.read().starts
    told: list[tuple[str, int]] = []

    def listen(event: Progress) -> None:
        if "does not open" in event.text:
            told.append((event.text, house.quiescer.instance.read().starts))

    plan = house.vault.plan_replacement(wrong.id)
    assert any("does not open" in each for each in plan.warnings)
    report = house.vault.replace(plan, progress=listen)
    ((text, starts_then),) = told
    assert "encrypted valves of 1 tools" in text
    assert starts_then == starts
    assert text in report.warnings


def test_a_newer_key_is_tried_on_what_comes_back(house: House) -> None:
    """The snapshot was right; it is today's key, in the environment, that does not open it."""
    with_valves(house)
    right = house.vault.snapshot()
    assert right.outcome is Outcome.COMPLETE
    (house.folder / ".webui_secret_key").unlink()
    (house.folder / ".env").write_text("WEBUI_SECRET_KEY=another key\n")
    report = house.a_vault().replace(house.a_vault().plan_replacement(right.id))
    assert any("does not open encrypted valves of 1 tools" in each for each in report.warnings)


def test_of_several_keys_the_one_that_opens_is_taken_and_told(house: House) -> None:
    """The application reads its settings file first; what is sealed was sealed with the key beside the data."""
    (house.folder / ".env").write_text("WEBUI_SECRET_KEY=another key\n")
    with_valves(house)
    report = house.vault.snapshot()
    assert (report.outcome, report.problems) == (Outcome.COMPLETE, ())
    assert report.manifest
    assert report.manifest.secret_key.source == str(house.folder / ".webui_secret_key")
    assert report.manifest.secret_key.others == ("WEBUI_SECRET_KEY in a .env file",)
    tree = house.vault.restore("latest", house.folder / "copy").target
    assert (tree / "outside/webui_secret_key").read_text() == KEY
    for warnings in (report.warnings, house.vault.inspect().warnings):
        (told,) = [each for each in warnings if "another one does" in each]
        assert "the secret key in use (WEBUI_SECRET_KEY in a .env file) does not open what is sealed" in told
        assert str(house.folder / ".webui_secret_key") in told
    replaced = house.vault.replace(house.vault.plan_replacement("latest"))
    assert [each for each in replaced.warnings if "another one does" in each]


def test_a_configured_key_that_opens_nothing_does_not_hide_one_that_does(house: House) -> None:
    with_valves(house)
    file = house.folder / "configured"
    file.write_text("a key with a typo")
    vault = Vault(
        DataDirectory(house.data_dir, secret_key=FileSource(file)),
        [Repository("one", DirectoryEngine(house.folder / "repository", Secret("x")))],
        state_dir=house.folder / "state",
    )
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    assert any("the secret key in use (instance.secret_key)" in each for each in report.warnings)


def test_where_none_of_several_keys_opens_all_are_named(house: House) -> None:
    (house.folder / ".env").write_text("WEBUI_SECRET_KEY=another key\n")
    with_valves(house, "a third key")
    report = house.vault.snapshot()
    assert report.outcome is Outcome.INCOMPLETE
    (problem,) = report.problems
    assert problem.startswith("the secret key (WEBUI_SECRET_KEY in a .env file) does not open encrypted valves")
    assert f"nor do those that were found elsewhere ({house.folder / '.webui_secret_key'})" in problem
