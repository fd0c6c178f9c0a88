"""What is done when a block does not end well, whatever ended it."""

from __future__ import annotations

import pytest
from owui_vault.system.unwinding import on_failure, undoing


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_a_block_is_answered_and_goes_on_its_way(kind: type[BaseException]) -> None:
    seen: list[BaseException] = []
    error = kind("away")
    with pytest.raises(kind) as caught, on_failure(seen.append), undoing(lambda: seen.append(error)):
        raise error
    assert caught.value is error
    assert seen == [error, error]


def test_a_block_that_ends_well_is_left_alone() -> None:
    seen: list[BaseException] = []
    with on_failure(seen.append), undoing(lambda: seen.append(ValueError())):
        pass
    assert seen == []


def test_an_error_on_the_way_out_comes_first_and_remembers_the_other() -> None:
    def fail() -> None:
        raise OSError("could not be undone")

    with pytest.raises(OSError, match="could not be undone") as caught, undoing(fail):
        raise ValueError("first")
    assert isinstance(caught.value.__context__, ValueError)
