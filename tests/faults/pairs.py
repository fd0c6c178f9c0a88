"""Which faults meet which destination in which step: every pair of two such values, in as few combinations as it takes.

Most faults of software take two things that come together (D. R. Kuhn, D. R. Wallace, A. M. Gallo: Software Fault
Interactions and Implications for Software Testing, 2004).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import NamedTuple

STATUSES = ("403", "404", "429", "500", "503")
FAULTS = ("reset", "hangs", "cut", *STATUSES, "slow", "wrong certificate", "full", "no delete")
DESTINATIONS = ("REST server", "S3", "SFTP", "borg over SSH")
STEPS = ("list", "store", "prune", "verify", "replicate")
PLACES = ("only one", "first of two", "second of three")


class Combination(NamedTuple):
    """One of them."""

    fault: str
    destination: str
    step: str
    place: str

    def __str__(self) -> str:
        return ", ".join(self)


def is_possible(one: Combination) -> bool:
    """A status and a certificate are those of HTTP, and what is full takes no write.

    Who may not delete is told when something is to be deleted. With SFTP and borg that is a matter of the files there,
    or of another key: `engines/borg/test_ssh`, `test_append_only`. What is replicated comes from somewhere.
    """
    speaks_http = one.destination in ("REST server", "S3")
    rules = {
        "wrong certificate": speaks_http,
        "full": one.step in ("store", "replicate"),
        "no delete": speaks_http and one.step == "prune",
        **dict.fromkeys(STATUSES, speaks_http),
    }
    return rules.get(one.fault, True) and not (one.step == "replicate" and one.place == "only one")


def pairwise(chance: random.Random) -> Iterator[Combination]:
    """Every pair of values that is possible at all is in one of these; another order for each seed."""
    possible = [one for one in map(Combination._make, product(FAULTS, DESTINATIONS, STEPS, PLACES)) if is_possible(one)]
    chance.shuffle(possible)
    missing = set[tuple[object, ...]]().union(*map(_pairs, possible))
    while missing:
        best = max(possible, key=lambda one: len(missing & _pairs(one)))
        missing -= _pairs(best)
        yield best


def _pairs(one: Iterable[str]) -> set[tuple[object, ...]]:
    return set(combinations(enumerate(one), 2))
