"""Tells which words of a command line are our own options."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile


def options_before_dashdash(words: Sequence[str]) -> list[str]:
    """The words before `--`: behind it stands what `hold` runs, with options of its own."""
    return list(takewhile(lambda word: word != "--", words))
