"""What of an address may be repeated: nothing but its scheme."""

from __future__ import annotations

import re

HIDDEN = "…"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_SHORTEST_PART = 4


def without_addresses(text: str, address: str = "") -> str:
    """The text on one line, without any address in it, and without the parts that this one consists of."""
    text = " ".join(text.split())
    if address:
        text = text.replace(address, HIDDEN)
    text = _URL.sub(HIDDEN, text)
    parts = set(re.split(r"[^A-Za-z0-9_.-]+", address.partition("://")[2]))
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_PART:
            text = text.replace(part, HIDDEN)
    return text


def scheme_of(address: str) -> str:
    """`mailtos` of `mailtos://…`; empty where there is none."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    return found[1].lower() if found else ""
