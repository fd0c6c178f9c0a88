"""Long work on stderr: a bar on a terminal, one line per step otherwise. Showing never disturbs the work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from owui_vault.cli.render.phrases import printable
from owui_vault.model import Progress, ProgressSink, Step, ignore_progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PERCENT = re.compile(r"\s*\d+(?:\.\d+)?\s?%$")


@contextmanager
def shown(stream: TextIO, verbosity: int) -> Iterator[ProgressSink]:
    """The sink to hand to an operation while the block runs."""
    if verbosity < 0:
        yield ignore_progress
    elif verbosity == 0 and stream.isatty():
        with _bars(stream) as sink:
            yield sink
    else:
        yield _Lines(stream)


def words(event: Progress) -> str:
    """The current step, for a person: `storing → nas`."""
    return event.step.words + (f" → {event.repository}" if event.repository else "")


def _attributed(event: Progress, current: tuple[Step, str] | None) -> Progress:
    """An engine does not know what its repository is called; the vault named it when the step began."""
    if event.repository or current is None or current[0] is not event.step:
        return event
    return replace(event, repository=current[1])


class _Lines:
    """One line when a step begins, and one for each different thing it says."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step: tuple[Step, str] | None = None
        self._said: set[str] = set()

    def __call__(self, event: Progress) -> None:
        event = _attributed(event, self._step)
        step = (event.step, event.repository)
        # A percentage that moves is for the bar; in a log it would be a hundred lines.
        said = _PERCENT.sub("", event.text)
        text = f"{words(event)}: {printable(said)}" if said else words(event)
        if step != self._step:
            self._step = step
            self._said.clear()
        if text not in self._said:
            self._said.add(text)
            with suppress(OSError):  # whoever read it went away; the work goes on
                print(text, file=self._stream, flush=True)


@contextmanager
def _bars(stream: TextIO) -> Iterator[ProgressSink]:
    from rich.console import Console  # noqa: PLC0415  slow, and needed on a terminal only
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415  same
    from rich.progress import Progress as Bars  # noqa: PLC0415  same

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Bars(*columns, console=Console(file=stream, markup=False), transient=True) as bars:
        yield _BarSink(bars)


class _BarSink:
    """One bar for each step in each repository; the one before is finished when the next begins."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[tuple[Step, str], TaskID] = {}
        self._current: tuple[Step, str] | None = None

    def __call__(self, event: Progress) -> None:
        event = _attributed(event, self._current)
        step = (event.step, event.repository)
        if step != self._current:
            self._finish()
            self._current = step
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(words(event), total=event.total_bytes, text="")
        task = self._tasks[step]
        self._bars.update(task, completed=event.done_bytes, total=event.total_bytes)
        if event.text:
            self._bars.update(task, text=printable(event.text))

    def _finish(self) -> None:
        if self._current in self._tasks:
            task = self._bars.tasks[self._bars.task_ids.index(self._tasks[self._current])]
            done = max(task.completed, 1)
            self._bars.update(task.id, total=done, completed=done)
            self._bars.stop_task(task.id)
