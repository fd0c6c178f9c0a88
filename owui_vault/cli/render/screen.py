"""Writes to stdout and stderr: text for a person, one JSON object for a program, errors for both."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from owui_vault.cli.render.phrases import printable
from owui_vault.errors import EngineError, VaultError
from owui_vault.model import json_codec

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1
_PIPE_WIDTH = 200  # nothing is cut or folded for `| grep`
_STDERR_LINES = 5


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


class Screen:
    """Text for a person on stdout. rich is imported with the first of them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """The console, which takes nothing in a text for markup."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415  slow, and of no use with --json

            width = None if self._stream.isatty() else _PIPE_WIDTH
            self._console = Console(
                file=self._stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True
            )
        return self._console

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line."""
        self.console.print(printable(text), style=style)

    def heading(self, text: str) -> None:
        """A line that begins a part."""
        self.line()
        self.line(text, style="bold")

    def items(self, texts: Iterable[str], style: str | None = None) -> None:
        """A list."""
        for text in texts:
            self.line(f"  - {text}", style=style)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values under each other; pairs without a value are left out."""
        told = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in told), default=0)
        for name, value in told:
            self.line(f"  {name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], right: frozenset[str] = frozenset()) -> None:
        """A table; the columns in `right` are numbers.

        Not rich's: on a narrow terminal that one cuts cells, and half an id is of no use.
        """
        from rich.cells import cell_len  # noqa: PLC0415  slow, and of no use with --json

        cells = [list(columns), *([printable(cell) for cell in row] for row in rows)]
        widths = [max(cell_len(row[number]) for row in cells) for number in range(len(columns))]

        def padded(text: str, number: int) -> str:
            spaces = " " * (widths[number] - cell_len(text))
            return spaces + text if columns[number] in right else text + spaces

        for row in cells:
            line = "  ".join(padded(text, number) for number, text in enumerate(row)).rstrip()
            self.console.print(line, style="bold" if row is cells[0] else None)


def print_json(value: object, **more: object) -> None:
    """The one object of a `--json` run: the fields of `value`, and `more`."""
    fields = json_codec.to_json(value)
    told = {"format": FORMAT, **(fields if isinstance(fields, dict) else {}), **codec_fields(more)}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


def codec_fields(more: dict[str, object]) -> dict[str, json_codec.Json]:
    """Each value as JSON."""
    return {name: json_codec.to_json(value) for name, value in more.items()}


def print_error(error: VaultError, exit_code: int, *, as_json: bool) -> None:
    """An error on stderr; with `--json` the one object on stdout instead."""
    if as_json:
        told = json_codec.error_to_json(error)
        report = {"report": error.report} if error.report else {}
        print_json({"error": {**(told if isinstance(told, dict) else {}), "exit_code": exit_code}}, **report)
        return
    lines = [f"owui-vault: {_several_lines(error.message)}"]
    if isinstance(error, EngineError) and error.stderr_tail.strip():
        tail = error.stderr_tail.strip().splitlines()[-_STDERR_LINES:]
        lines += [f"  {error.engine or 'the engine'} said: {printable(line)}" for line in tail]
    if error.hint:
        lines.append(f"  hint: {_several_lines(error.hint)}")
    print("\n".join(lines), file=sys.stderr)


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
