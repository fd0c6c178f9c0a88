"""Whether a secret key opens what Open WebUI encrypted: the application's own derivations (0.12.4), one per kind."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping

from owui_vault.model import KeyTrial, SealedValues, Sealing, Secret

# Settings that hold a key of their own; without them it is the secret key (env.py, utils/mfa.py).
_SEPARATE = {
    Sealing.MFA: "MFA_ENCRYPTION_KEY",
    Sealing.OAUTH_SESSIONS: "OAUTH_SESSION_TOKEN_ENCRYPTION_KEY",
    Sealing.OAUTH_CLIENTS: "OAUTH_CLIENT_INFO_ENCRYPTION_KEY",
}
# What is expanded from the secret key by HKDF, with these words for its purpose; the rest is hashed.
_EXPANDED = {Sealing.MFA: b"open-webui/mfa-encryption/v1", Sealing.APPS: b"open-webui-app-keys-v1"}
_FERNET_KEY_LENGTH = 44  # a key of this length is taken as it is


def try_key(values: tuple[SealedValues, ...], keys: tuple[Secret, ...], settings: Mapping[str, str]) -> KeyTrial:
    """Try what may be the secret key, and the separate ones among the settings, on what is sealed.

    A key from a file counts with and without the end of its line, as the application may have read it; the first of
    all these that opens most is the answer's.
    """
    separate = {kind: settings[name] for kind, name in _SEPARATE.items() if settings.get(name)}
    ours = tuple(each for each in values if each.kind not in separate)
    theirs = tuple(each for each in values if each.kind in separate)
    forms = [(number, form) for number, key in enumerate(keys) for form in _forms(key.reveal())]
    chosen, best = min(forms, key=lambda each: len(_unopened(ours, each[1])), default=(0, ""))
    return KeyTrial(
        key=Secret(best) if keys else None,
        chosen=chosen,
        unopened=(
            *(_unopened(ours, best) if keys else ()),
            *(each.words for each in theirs if not _all_open(each, separate[each.kind], is_separate=True)),
        ),
        needed_because=tuple(each.words for each in ours),
        separate=tuple(sorted(_SEPARATE[each] for each in separate)),
    )


def _forms(key: str) -> Iterator[str]:
    yield from dict.fromkeys((key, key.rstrip("\r\n"), f"{key}\n"))


def _unopened(values: tuple[SealedValues, ...], key: str) -> tuple[str, ...]:
    return tuple(each.words for each in values if not _all_open(each, key, is_separate=False))


def _all_open(values: SealedValues, key: str, *, is_separate: bool) -> bool:
    from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415  slow, and rarely needed

    try:
        fernet = Fernet(_derived(values.kind, key.encode(errors="surrogateescape"), is_separate=is_separate))
        for each in values.samples:
            fernet.decrypt(each.encode(errors="surrogateescape"))
    except (InvalidToken, ValueError):
        return False
    return True


def _derived(kind: Sealing, key: bytes, *, is_separate: bool) -> bytes:
    """The key of the cipher."""
    if kind is Sealing.MFA and is_separate:
        return key
    if kind in _EXPANDED:
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  slow, and rarely needed
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415  same

        expanded = HKDF(algorithm=SHA256(), length=32, salt=None, info=_EXPANDED[kind]).derive(key)
        return base64.urlsafe_b64encode(expanded)
    return key if len(key) == _FERNET_KEY_LENGTH else base64.urlsafe_b64encode(hashlib.sha256(key).digest())
