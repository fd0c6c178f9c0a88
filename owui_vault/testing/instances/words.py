"""Text that looks like text, made fast, and ids, the same for the same seed."""

from __future__ import annotations

import random
import uuid

_WORDS = (
    "anchor beacon canyon carbon compass copper engine falcon ginger granite harbour lantern ledger magnet meadow"
    " mirror orchard pepper puzzle ribbon saddle signal thunder tunnel velvet violet walnut winter"
)


class Prose:
    """Texts put together from paragraphs that are made once: as fast as copying, and different every time."""

    def __init__(self, chance: random.Random) -> None:
        words = _WORDS.split()
        self._chance = chance
        self._paragraphs = [" ".join(chance.choices(words, k=12)) + ".\n" for _ in range(4_000)]
        self._usual = len(self._paragraphs[0])

    def text(self, length: int) -> str:
        """About `length` characters."""
        picked = self._chance.choices(self._paragraphs, k=length // self._usual + 1)
        return "".join(picked)[:length]


def new_id(chance: random.Random) -> str:
    """A UUID."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
