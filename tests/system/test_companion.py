"""A child that is spoken to line by line: what it complains about must never hold it up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from owui_vault.system.companion import Companion, CompanionEndedError


@contextmanager
def child(program: str) -> Iterator[Companion]:
    found = Companion((sys.executable, "-c", program), {})
    try:
        yield found
    finally:
        found.end()


LOUD = "import sys; sys.stderr.write('x' * 1_000_000 + 'the end'); sys.stderr.flush()"


def test_a_child_that_complains_at_length_still_answers() -> None:
    """A pipe that nobody reads holds 64 kB: the traceback of a deep recursion is longer."""
    with child(f"{LOUD}; print('answer', flush=True); sys.stdin.read()") as loud:
        assert loud.receive(20) == "answer"


def test_the_end_of_a_long_complaint_is_kept() -> None:
    with child(f"{LOUD}; sys.exit(3)") as loud, pytest.raises(CompanionEndedError) as caught:
        loud.receive(20)
    assert caught.value.status == 3
    assert len(caught.value.stderr_tail) == 2000
    assert caught.value.stderr_tail.endswith("the end")
