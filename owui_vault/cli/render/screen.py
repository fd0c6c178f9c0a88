"""Writes to stdout and stderr: text for a person, one JSON object for a program, errors for both."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from owui_vault.cli.render.phrases import printable
from owui_vault.errors import EngineError, VaultError
from owui_vault.model import json_codec
from owui_vault.system.python import environ_or_own

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1
_PIPE_WIDTH = 200  # nothing is cut or folded for `| grep`
_STDERR_LINES = 5
_TERMINAL_WIDTH = 80  # where a terminal does not say
_NARROWEST_COLUMN = 20  # a wrapped one


def prepare_streams() -> None:
    """Names that are no text must not end a backup: they are shown as escapes. Neither must a closed stream."""
    _fill_descriptors()
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def _fill_descriptors() -> None:
    """Leave none of the first three free: what is opened next would be taken for stdin, a passphrase for instance."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


def width_of(stream: TextIO) -> int | None:
    """How many columns a line on this terminal has; None where it is no terminal, and nothing is wrapped."""
    if not stream.isatty():
        return None
    told = environ_or_own().get("COLUMNS", "")
    if told.isdigit() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _TERMINAL_WIDTH
    except (OSError, ValueError):
        return _TERMINAL_WIDTH


def wrapped(text: str, width: int | None, hang: int) -> list[str]:
    """The lines of a text, broken between words only; all but the first are indented by `hang`."""
    if width is None or len(text) <= width or hang >= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip())]
    wrapper = textwrap.TextWrapper(
        width=width,
        initial_indent=indent,
        subsequent_indent=" " * hang,
        break_long_words=False,  # half a path, or half an id, is of no use
        break_on_hyphens=False,
    )
    return wrapper.wrap(text[len(indent) :])


class Screen:
    """Text for a person on stdout. rich is imported with the first of them.

    `told_below` is the error that is printed after this text, and needs no second telling in it.
    """

    def __init__(self, stream: TextIO, *, told_below: VaultError | None = None) -> None:
        self._stream = stream
        self._width = width_of(stream)
        self._console: Console | None = None
        self.told_below = told_below

    @property
    def console(self) -> Console:
        """The console, which takes nothing in a text for markup."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415  slow, and of no use with --json

            self._console = Console(
                file=self._stream,
                width=self._width or _PIPE_WIDTH,
                highlight=False,
                markup=False,
                emoji=False,
                soft_wrap=True,
            )
        return self._console

    def line(self, text: str = "", style: str | None = None, *, hang: int | None = None) -> None:
        """One line; on a terminal that is too narrow, several: all but the first are indented by `hang`."""
        shown = printable(text)
        indent = len(shown) - len(shown.lstrip())
        for each in wrapped(shown, self._width, indent + 2 if hang is None else hang):
            self.console.print(each, style=style)

    def text(self, text: str) -> None:
        """Lines as they are: for another program."""
        for line in text.splitlines():
            self.console.print(printable(line))

    def exactly(self, text: str) -> None:
        """A whole document, for another program."""
        self._stream.write(text)

    def heading(self, text: str) -> None:
        """A line that begins a part."""
        self.line()
        self.line(text, style="bold")

    def items(self, texts: Iterable[str], style: str | None = None) -> None:
        """A list."""
        for text in texts:
            self.line(f"  - {text}", style=style, hang=4)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values under each other; pairs without a value are left out."""
        told = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in told), default=0)
        for name, value in told:
            self.line(f"  {name:<{width}}  {value}", hang=width + 4)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        right: frozenset[str] = frozenset(),
        *,
        least: Sequence[str] = (),
    ) -> None:
        """A table; the columns in `right` are numbers.

        Where it is too wide for the terminal, empty columns go, then those in `least`, in that order; then the last one
        is wrapped. Not rich's: that one cuts cells, and half an id is of no use.
        """
        from rich.cells import cell_len  # noqa: PLC0415  slow, and of no use with --json

        cells = [list(columns), *([printable(cell) for cell in row] for row in rows)]

        def widths() -> list[int]:
            return [max(cell_len(row[number]) for row in cells) for number in range(len(cells[0]))]

        def too_wide() -> bool:
            return self._width is not None and sum(widths()) + 2 * (len(cells[0]) - 1) > self._width

        empty = [name for name in columns if not any(row[columns.index(name)] for row in cells[1:])]
        for name in (*(empty if len(cells) > 1 else ()), *least):
            if name in cells[0] and too_wide():
                number = cells[0].index(name)
                for row in cells:
                    del row[number]
        known = widths()

        def padded(text: str, number: int) -> str:
            spaces = " " * (known[number] - cell_len(text))
            return spaces + text if cells[0][number] in right else text + spaces

        before_last = sum(known[:-1]) + 2 * (len(known) - 1)
        room = self._width if self._width and self._width - before_last >= _NARROWEST_COLUMN else None
        for row in cells:
            first = "".join(padded(text, number) + "  " for number, text in enumerate(row[:-1]))
            last = padded(row[-1], len(row) - 1).rstrip()
            lines = wrapped(" " * before_last + last, room, before_last)
            for each in (first + lines[0][before_last:], *lines[1:]):
                self.console.print(each.rstrip(), style="bold" if row is cells[0] else None)


def print_json(value: object, **more: object) -> None:
    """The one object of a `--json` run: the fields of `value`, and `more`."""
    fields = json_codec.to_json(value)
    told = {"format": FORMAT, **(fields if isinstance(fields, dict) else {}), **codec_fields(more)}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


def codec_fields(more: dict[str, object]) -> dict[str, json_codec.Json]:
    """Each value as JSON."""
    return {name: json_codec.to_json(value) for name, value in more.items()}


def print_error(error: VaultError, exit_code: int, *, as_json: bool, verbose: bool = False, instead: str = "") -> None:
    """An error on stderr, if `verbose` with the engine's last words; with `--json` the one object on stdout instead.

    `instead`: the command that would do it.
    """
    if as_json:
        told = json_codec.error_to_json(error)
        report = {"report": error.report} if error.report else {}
        print_json({"error": {**(told if isinstance(told, dict) else {}), "exit_code": exit_code}}, **report)
        return
    lines = [f"owui-vault: {_several_lines(error.message)}"]
    if verbose and isinstance(error, EngineError) and error.stderr_tail.strip():
        tail = error.stderr_tail.strip().splitlines()[-_STDERR_LINES:]
        lines += [f"  {error.engine or 'the engine'} said: {printable(line)}" for line in tail]
    if error.hint:
        lines.append(f"  hint: {_several_lines(error.hint)}")
    if instead:
        lines.append(f"  type: {printable(instead)}")
    width = width_of(sys.stderr)
    for line in "\n".join(lines).splitlines():
        print("\n".join(wrapped(line, width, 4 if line.startswith("  ") else 2)), file=sys.stderr)


def print_note(text: str) -> None:
    """What is worth knowing before the answer, on stderr."""
    print("\n".join(wrapped(printable(text), width_of(sys.stderr), 2)), file=sys.stderr)


def close_stdout() -> None:
    """Flush what is left; a reader that went away (`| head`) is no failure of the command."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or the interpreter complains when it flushes at exit
        os.close(nowhere)


def _several_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())
