"""What has to be done if a block does not end well, whatever ended it, including Ctrl-C and a signal's exception.

The one place for that, so that no other code has to catch and re-raise what is not its own: an exception passes through
here without being handled by anything but the given clean-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec

_P = ParamSpec("_P")


@contextmanager
def on_failure(act: Callable[[BaseException], object]) -> Iterator[None]:
    """Hand what ends the block early to `act`; then it goes on its way, unless `act` raises something else."""

    def leave(_kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            act(error)

    with ExitStack() as stack:
        stack.push(leave)
        yield


@contextmanager
def undoing(undo: Callable[_P, object], *arguments: _P.args, **named: _P.kwargs) -> Iterator[None]:
    """Call `undo` with these arguments if the block does not end well."""
    with on_failure(lambda _error: undo(*arguments, **named)):
        yield
