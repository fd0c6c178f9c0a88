"""Lines of a running program as an iterator, so that a caller may stop in the middle."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from owui_vault.errors import CancelledError

_AHEAD = 1000  # lines read before somebody wants them
_POLL_SECONDS = 0.2

Listen = Callable[[Callable[[str], None], threading.Event], None]


def pulled(listen: Listen, cancel: threading.Event) -> Iterator[str]:
    """Run `listen(sink, cancel)` in a thread and yield what goes into the sink.

    What it raises is raised here. When the iterator is closed early, its event is set and its end waited for.
    """
    lines: queue.Queue[str | None] = queue.Queue(maxsize=_AHEAD)
    stop = _Either(cancel)
    failure: list[BaseException] = []

    def sink(line: str | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                lines.put(line, timeout=_POLL_SECONDS)
                return
        raise CancelledError("nobody reads on")

    def work() -> None:
        try:
            listen(sink, stop)
        except BaseException as error:
            failure.append(error)
        with suppress(CancelledError):
            sink(None)

    thread = threading.Thread(target=work, name="contents", daemon=True)
    thread.start()
    try:
        yield from _until_end(lines, thread)
    finally:
        stop.set()
        thread.join()
    if failure:
        raise failure[0]


def _until_end(lines: queue.Queue[str | None], thread: threading.Thread) -> Iterator[str]:
    while True:
        try:
            line = lines.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if thread.is_alive():
                continue
            return
        if line is None:
            return
        yield line


class _Either(threading.Event):
    """Set when it is set itself, or when another one is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()
