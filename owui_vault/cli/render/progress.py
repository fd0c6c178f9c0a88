"""Long work on stderr: a bar on a terminal, one line per step otherwise. Showing never disturbs the work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from owui_vault.cli.render.phrases import duration, printable, size
from owui_vault.model import Progress, ProgressSink, Step, ignore_progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from owui_vault.cli.render.waiting import Notices

_PERCENT = re.compile(r"\s*\d+(?:\.\d+)?\s?%$")


_ARROWS = {Step.STORE: "→", Step.FETCH: "←"}
_MOVES_BYTES = frozenset(_ARROWS)


@contextmanager
def shown(stream: TextIO, verbosity: int, notices: Notices | None = None) -> Iterator[ProgressSink]:
    """The sink to hand to an operation while the block runs; `notices` go above its bars."""
    if verbosity < 0:
        yield ignore_progress
    elif verbosity == 0 and stream.isatty():
        with _bars(stream, notices) as sink:
            yield sink
    else:
        yield _Lines(stream)


def words(event: Progress) -> str:
    """The current step, for a person: `storing → nas`, `fetching ← nas`, `verifying in nas`."""
    return event.step.words + (f" {_ARROWS.get(event.step, 'in')} {event.repository}" if event.repository else "")


class _Lines:
    """One line when a step begins, and one for each different thing it says; several repositories may take turns."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._steps: dict[str, Step] = {}  # of each repository, and of what concerns none
        self._said: dict[str, set[str]] = {}

    def __call__(self, event: Progress) -> None:
        # A percentage that moves is for the bar; in a log it would be a hundred lines.
        said = _PERCENT.sub("", event.text)
        text = f"{words(event)}: {printable(said)}" if said else words(event)
        if event.step is not self._steps.get(event.repository):
            self._steps[event.repository] = event.step
            self._said[event.repository] = set()
        is_news = said or not self._said[event.repository]  # a step alone says nothing after its first line
        if is_news and text not in self._said[event.repository]:
            self._said[event.repository].add(text)
            with suppress(OSError):  # whoever read it went away; the work goes on
                print(text, file=self._stream, flush=True)


@contextmanager
def _bars(stream: TextIO, notices: Notices | None) -> Iterator[ProgressSink]:
    from rich.console import Console  # noqa: PLC0415  slow, and needed on a terminal only
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415  same
    from rich.progress import Progress as Bars  # noqa: PLC0415  same

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[much]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Bars(*columns, console=Console(file=stream, markup=False, emoji=False), transient=True) as bars:
        if notices:
            notices.above = lambda text: bars.console.print(text, highlight=False, soft_wrap=True)
        try:
            yield _BarSink(bars)
        finally:
            if notices:
                notices.above = None


def much(done: int, total: int | None, *, left_seconds: float | None = None) -> str:
    """`12 MB of 305 MB, 40 s left`, as far as it is known; empty where nothing moves."""
    if total:
        left = f", {duration(round(left_seconds))} left" if left_seconds and left_seconds >= 1 else ""
        return f"{size(min(done, total))} of {size(total)}{left}"
    return size(done) if done else ""


class _BarSink:
    """One bar for each step in each repository; all bars of a step are finished when the next one begins."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._step: Step | None = None
        self._tasks: dict[str, TaskID] = {}  # of this step

    def __call__(self, event: Progress) -> None:
        if event.step is not self._step:
            self._finish()
            self._step = event.step
        if event.repository not in self._tasks:
            self._tasks[event.repository] = self._bars.add_task(words(event), total=event.total_bytes, text="", much="")
        number = self._tasks[event.repository]
        task = self._bars.tasks[self._bars.task_ids.index(number)]
        if event.step in _MOVES_BYTES:
            self._bars.update(number, completed=event.done_bytes, total=event.total_bytes)
            told = much(event.done_bytes, event.total_bytes, left_seconds=task.time_remaining)
            self._bars.update(number, much=told)
        if event.text:
            self._bars.update(number, text=printable(event.text))

    def _finish(self) -> None:
        for number in self._tasks.values():
            task = self._bars.tasks[self._bars.task_ids.index(number)]
            done = max(task.completed, 1)
            self._bars.update(task.id, total=done, completed=done, much="done", text="")
            self._bars.stop_task(task.id)
        self._tasks.clear()
