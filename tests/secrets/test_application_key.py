"""The four ways in which Open WebUI derives a key, written down here as its own source has them (0.12.4)."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from owui_vault.model import SealedValues, Sealing, Secret
from owui_vault.secrets.application_key import try_key

KEY = "t0p-s3cr3t"
RAW = Fernet.generate_key().decode()  # 44 characters: a key of the cipher itself


def expanded(key: str, info: bytes) -> bytes:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(key.encode())
    return base64.urlsafe_b64encode(derived)


def hashed(key: str) -> bytes:
    if len(key) != 44:
        return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())
    return key.encode()


def seal(kind: Sealing, key: str) -> str:
    """What the application would have written."""
    match kind:
        case Sealing.MFA:
            cipher = expanded(key, b"open-webui/mfa-encryption/v1")
        case Sealing.APPS:
            cipher = expanded(key, b"open-webui-app-keys-v1")
        case Sealing.OAUTH_SESSIONS | Sealing.OAUTH_CLIENTS | Sealing.VALVES:
            cipher = hashed(key)
    return Fernet(cipher).encrypt(b"value").decode()


def values(kind: Sealing, *samples: str) -> SealedValues:
    return SealedValues(kind=kind, words=kind.value, samples=samples)


@pytest.mark.parametrize("key", [KEY, RAW, "ä€ key", "x" * 44 + "\n"], ids=["text", "raw", "signs", "line end"])
@pytest.mark.parametrize("kind", list(Sealing))
def test_the_right_key_opens_and_another_does_not(kind: Sealing, key: str) -> None:
    sealed = (values(kind, seal(kind, key)),)
    right = try_key(sealed, (Secret(key),), {})
    assert right.unopened == ()
    assert right.needed_because == (kind.value,)
    assert try_key(sealed, (Secret("another"),), {}).unopened == (kind.value,)
    assert try_key(sealed, (Secret("y" * 44),), {}).unopened == (
        kind.value,
    )  # as long as a key of the cipher, and none


def test_one_kind_proves_nothing_for_another() -> None:
    sealed = (values(Sealing.MFA, seal(Sealing.MFA, KEY)), values(Sealing.VALVES, seal(Sealing.VALVES, "other")))
    assert try_key(sealed, (Secret(KEY),), {}).unopened == ("valves",)


def test_every_second_factor_has_to_open() -> None:
    """One that does not keeps the application from starting."""
    sealed = (values(Sealing.MFA, seal(Sealing.MFA, KEY), seal(Sealing.MFA, "other")),)
    assert try_key(sealed, (Secret(KEY),), {}).unopened == ("mfa",)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Sealing.MFA, "MFA_ENCRYPTION_KEY"),
        (Sealing.OAUTH_SESSIONS, "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY"),
        (Sealing.OAUTH_CLIENTS, "OAUTH_CLIENT_INFO_ENCRYPTION_KEY"),
    ],
)
def test_a_key_of_its_own_is_named_and_tried(kind: Sealing, name: str) -> None:
    token = Fernet(RAW.encode()).encrypt(b"value").decode()
    for keys in ((Secret(KEY),), ()):
        trial = try_key((values(kind, token),), keys, {name: RAW})
        assert (trial.unopened, trial.needed_because, trial.separate) == ((), (), (name,))
        wrong = try_key((values(kind, token),), keys, {name: "another"})
        assert (wrong.unopened, wrong.separate) == ((kind.value,), (name,))
    assert try_key((values(kind, seal(kind, KEY)),), (Secret(KEY),), {name: ""}).unopened == ()


@pytest.mark.parametrize("known", [f"{KEY}\n", KEY, f"{KEY}\r\n"], ids=["line end", "bare", "dos"])
@pytest.mark.parametrize("used", [f"{KEY}\n", KEY], ids=["line end used", "bare used"])
def test_the_end_of_a_line_is_found_out(known: str, used: str) -> None:
    """`open-webui serve` takes the file as it is, the image's start script without it."""
    trial = try_key((values(Sealing.VALVES, seal(Sealing.VALVES, used)),), (Secret(known),), {})
    if known != f"{KEY}\r\n" or used == KEY:
        assert trial.unopened == ()
        assert trial.key is not None
        assert trial.key.reveal() == used


def test_with_nothing_sealed_the_key_stays_as_it_was_found() -> None:
    trial = try_key((), (Secret(f"{KEY}\n"),), {})
    assert trial.key is not None
    assert trial.key.reveal() == f"{KEY}\n"
    assert try_key((), (), {}).key is None


@pytest.mark.parametrize("sample", ["gAAAA", "gAAAAABn" + "x" * 90, "gAAAA" + "A" * 4000])
def test_what_is_no_value_of_the_cipher_is_not_opened(sample: str) -> None:
    assert try_key((values(Sealing.VALVES, sample),), (Secret(KEY),), {}).unopened == ("valves",)


def test_no_secret_is_shown() -> None:
    token = seal(Sealing.MFA, KEY)
    trial = try_key((values(Sealing.MFA, token),), (Secret(KEY),), {"MFA_ENCRYPTION_KEY": RAW})
    text = f"{trial!r} {values(Sealing.MFA, token)!r}"
    assert KEY not in text
    assert RAW not in text
    assert token not in text
