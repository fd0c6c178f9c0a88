"""The same with several repositories at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import TypeVar

from owui_vault.context.context import Callbacks
from owui_vault.model import Listening, Progress
from owui_vault.system.unwinding import undoing

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(
    things: Sequence[T], act: Callable[[T, Callbacks], R], callbacks: Callbacks, *, at_most: int
) -> tuple[R, ...]:
    """What `act` answers for each, in their order, `at_most` of them at a time.

    `act` gets callbacks of its own. What it says of its progress is heard in the thread that called this: a caller's
    callback may read from the vault, which only that thread may do within an operation. The first exception, in a
    callback or in the calling thread too, ends the others, and is raised when all have ended.
    """
    if len(things) == 1 or at_most == 1:
        return tuple(act(each, callbacks) for each in things)
    news: SimpleQueue[Progress | Future[R]] = SimpleQueue()
    ending = Listening(callbacks.cancel)  # ours to set: the caller's may be meant for more than this operation
    theirs = replace(callbacks, progress=news.put, cancel=ending)
    under_way: list[Future[R]] = []

    def end() -> None:
        for each in under_way:
            each.cancel()  # what has not begun
        ending.set()

    with ThreadPoolExecutor(max_workers=at_most, thread_name_prefix="repository") as pool, undoing(end):
        for each in things:
            under_way.append(pool.submit(act, each, theirs))
            under_way[-1].add_done_callback(news.put)
        ended = 0
        while ended < len(things):
            told = news.get()
            if isinstance(told, Future):
                told.result()  # raises what it ended with
                ended += 1
            else:
                callbacks.progress(told)
        return tuple(each.result() for each in under_way)
