"""Sealed files: what was sealed comes back, and every kind of damage has its own message."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from owui_vault.errors import SecretError
from owui_vault.model import Secret
from owui_vault.secrets.sealed import names, seal, unseal

KEY = Secret("the key of keys")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: half a second of deriving a key."""
    path = tmp_path_factory.mktemp("sealed") / "keys.sealed"
    seal(path, {"nas": Secret("hunter2"), "b2": Secret("K00/ä")}, KEY)
    return path


@pytest.fixture
def file(tmp_path: Path, sealed: Path) -> Path:
    return Path(shutil.copy2(sealed, tmp_path / "keys.sealed"))


def change(path: Path, *keys: str, value: object) -> None:
    document: Any = json.loads(path.read_bytes())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(document))


def read(path: Path, *keys: str) -> Any:
    place: Any = json.loads(path.read_bytes())
    for key in keys:
        place = place[key]
    return place


def flipped(text: str) -> str:
    content = bytearray(base64.b64decode(text))
    content[0] ^= 1
    return base64.b64encode(content).decode()


def test_what_was_sealed_comes_back(file: Path) -> None:
    assert unseal(file, "nas", KEY) == "hunter2"
    assert unseal(file, "b2", KEY) == "K00/ä"
    assert names(file) == ("b2", "nas")


def test_nothing_secret_is_in_the_file_and_it_is_its_owners_only(file: Path) -> None:
    content = file.read_bytes()
    for secret in (b"hunter2", b"K00", b"the key", base64.b64encode(b"hunter2")):
        assert secret not in content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == [file.name]


def test_an_entry_is_added_or_replaced_and_the_others_stay(file: Path) -> None:
    assert seal(file, {"c": Secret("three")}, KEY) == ("b2", "c", "nas")
    seal(file, {"nas": Secret("new")}, KEY)
    assert [unseal(file, name, KEY) for name in ("nas", "b2", "c")] == ["new", "K00/ä", "three"]


def test_the_same_secret_never_looks_the_same_twice(file: Path) -> None:
    before = read(file, "secrets", "nas")
    seal(file, {"nas": Secret("hunter2")}, KEY)
    after = read(file, "secrets", "nas")
    assert before["nonce"] != after["nonce"]
    assert before["ciphertext"] != after["ciphertext"]


def test_a_wrong_key_is_told_and_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(SecretError, match="the key does not open the sealed file"):
        unseal(file, "nas", Secret("wrong"))
    with pytest.raises(SecretError, match="the key does not open the sealed file"):
        seal(file, {"new": Secret("x")}, Secret("wrong"))
    assert file.read_bytes() == before


def test_a_missing_name_is_told_without_a_key(file: Path) -> None:
    with pytest.raises(SecretError, match="holds no secret 'other'") as caught:
        unseal(file, "other", Secret("wrong"))
    assert "b2, nas" in caught.value.hint


def test_a_changed_entry_is_told(file: Path) -> None:
    change(file, "secrets", "nas", "ciphertext", value=flipped(read(file, "secrets", "nas", "ciphertext")))
    with pytest.raises(SecretError, match=r"entry 'nas' of the sealed file .* was changed after sealing"):
        unseal(file, "nas", KEY)
    assert unseal(file, "b2", KEY) == "K00/ä"


def test_an_entry_under_another_name_does_not_open(file: Path) -> None:
    change(file, "secrets", "nas", value=read(file, "secrets", "b2"))
    with pytest.raises(SecretError, match="was changed after sealing"):
        unseal(file, "nas", KEY)


def test_the_check_does_not_open_as_an_entry(file: Path) -> None:
    change(file, "secrets", "nas", value=read(file, "check"))
    with pytest.raises(SecretError, match="was changed after sealing"):
        unseal(file, "nas", KEY)


def test_an_unknown_version_is_told(file: Path) -> None:
    change(file, "version", value=2)
    with pytest.raises(SecretError, match="has version 2, but only 1 is supported") as caught:
        unseal(file, "nas", KEY)
    assert "newer" in caught.value.hint


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("kdf", "n"), 1 << 30),
        (("kdf", "n"), 1 << 10),
        (("kdf", "n"), (1 << 15) + 1),
        (("kdf", "n"), True),
        (("kdf", "n"), "32768"),
        (("kdf", "r"), 1 << 20),
        (("kdf", "p"), 0),
        (("kdf", "p"), 10_000),
        (("kdf", "salt"), ""),
        (("kdf", "salt"), "!"),
        (("kdf", "name"), "argon2"),
        (("kdf",), []),
        (("check",), None),
        (("secrets",), []),
        (("secrets", "nas"), "x"),
        (("secrets", "nas", "nonce"), "AAAA"),
        (("secrets", "nas", "ciphertext"), 5),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_before_any_work(
    file: Path, keys: tuple[str, ...], value: object
) -> None:
    change(file, *keys, value=value)
    with pytest.raises(SecretError, match="is damaged"):
        unseal(file, "nas", KEY)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b" " * ((1 << 20) + 1), b'{"format": "x"}']
)
def test_another_file_is_not_a_sealed_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(SecretError, match="is not a sealed file"):
        unseal(path, "nas", KEY)
    with pytest.raises(SecretError, match="is not a sealed file"):
        seal(path, {"nas": Secret("x")}, KEY)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="there is no sealed file"):
        unseal(tmp_path / "missing", "nas", KEY)
    with pytest.raises(SecretError, match="cannot read the sealed file"):
        unseal(tmp_path, "nas", KEY)
    with pytest.raises(SecretError, match="cannot write the sealed file"):
        seal(tmp_path / "no folder" / "keys", {"nas": Secret("x")}, KEY)


@pytest.mark.parametrize(
    ("name", "secret"),
    [("", "x"), ("a b", "x"), ("a\nb", "x"), ("-a", "x"), ("a" * 64, "x"), ("a", ""), ("a", "x\0"), ("a", "\udcff")],
)
def test_what_cannot_be_sealed_is_refused(tmp_path: Path, name: str, secret: str) -> None:
    with pytest.raises(SecretError):
        seal(tmp_path / "keys", {name: Secret(secret)}, KEY)
    with pytest.raises(SecretError, match="cannot be empty"):
        seal(tmp_path / "keys", {"a": Secret("x")}, Secret(""))
    assert not list(tmp_path.iterdir())


def test_a_link_to_a_sealed_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    seal(link, {"c": Secret("three")}, KEY)
    assert link.is_symlink()
    assert unseal(file, "c", KEY) == "three"


def test_the_documented_format_is_enough_to_open_it(file: Path) -> None:
    """Written from docs/sealed-file.md alone, with nothing of this package."""
    document = json.loads(file.read_bytes())
    kdf = document["kdf"]
    derivation = Scrypt(salt=base64.b64decode(kdf["salt"]), length=32, n=kdf["n"], r=kdf["r"], p=kdf["p"])
    entry = document["secrets"]["nas"]
    opened = AESGCM(derivation.derive(b"the key of keys")).decrypt(
        base64.b64decode(entry["nonce"]), base64.b64decode(entry["ciphertext"]), b"owui-vault-sealed\n1\nnas"
    )
    assert opened == b"hunter2"


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(st.dictionaries(NAMES, SECRETS, min_size=1, max_size=3))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_secret_comes_back(tmp_path: Path, entries: dict[str, str]) -> None:
    path = tmp_path / "any"
    path.unlink(missing_ok=True)
    seal(path, {name: Secret(text) for name, text in entries.items()}, KEY)
    assert {name: unseal(path, name, KEY) for name in names(path)} == entries


def test_secrets_sealed_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.sealed"
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda name: seal(path, {name: Secret(f"of {name}")}, KEY), "abcd"))
    assert names(path) == ("a", "b", "c", "d")
    assert unseal(path, "c", KEY) == "of c"
    assert [each.name for each in tmp_path.iterdir()] == ["keys.sealed"]
