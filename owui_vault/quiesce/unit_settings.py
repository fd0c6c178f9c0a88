"""The settings that systemd starts a unit with: its database may be named only in the unit file.

Later ones override earlier ones (systemd.exec(5)): what the manager passes to all of its units, `Environment=`,
`EnvironmentFile=`, and assignments in the command itself, as with `env NAME=VALUE …`.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from owui_vault.errors import VaultError
from owui_vault.ports import Launch
from owui_vault.quiesce import systemctl

_PROPERTIES = ("LoadState", "Environment", "EnvironmentFiles", "PassEnvironment", "ExecStart", "WorkingDirectory")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPE = re.compile(r"\\(.)")
_FILE = re.compile(r"(?P<path>/.*?) \(ignore_errors=(?P<optional>yes|no)\)")
_COMMAND = re.compile(r"argv\[\]=(?P<argv>.*?) ; ignore_errors=")
_ASSIGNMENT = re.compile(r"['\"]?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>[^\s'\"]*)['\"]?")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh"})


def launch_of(unit: str) -> Launch:
    """Ask systemd, and look whether the files that it would read can be read here."""
    told_by = f"unit {unit}"
    try:
        lines = systemctl.lines("show", unit, f"--property={','.join(_PROPERTIES)}")
        manager = systemctl.lines("show-environment")
    except VaultError as error:
        return Launch(told_by=told_by, unknown=(f"the settings of {told_by} are unknown: {error.message}",))
    told: dict[str, list[str]] = {name: [] for name in _PROPERTIES}
    for line in lines:
        name, _, value = line.partition("=")
        if value:
            told.setdefault(name, []).append(value)
    if told["LoadState"] != ["loaded"]:
        return Launch(told_by=told_by, unknown=(f"the settings of {told_by} are unknown: systemd knows no such unit",))
    of_manager = _assignments(manager)
    command = next((match["argv"] for each in told["ExecStart"] if (match := _COMMAND.search(each))), "")
    folder = next(iter(told["WorkingDirectory"]), "").lstrip("!-")
    listed = [match for each in told["EnvironmentFiles"] for match in _FILE.finditer(each)]
    files = [path for match in listed for path in _expanded(match["path"])]
    return Launch(
        told_by=told_by,
        settings={**of_manager, **_assignments(told["Environment"]), **_in_command(command)},
        files=tuple(files),
        folder=Path(folder) if folder.startswith("/") else None,
        unknown=(
            *(f"{path}, settings of {told_by}, cannot be read here" for path in files if _is_closed(path)),
            *_of_a_script(command, told_by),
        ),
    )


def _assignments(lines: list[str]) -> dict[str, str]:
    """`A=b "C=d e"`, as systemctl prints it."""
    words = (_ESCAPE.sub(r"\1", match[1]) if match[2] is None else match[2] for match in _words(lines))
    return {name: value for name, found, value in (word.partition("=") for word in words) if found}


def _words(lines: list[str]) -> Iterator[re.Match[str]]:
    for line in lines:
        yield from _WORD.finditer(line)


def _expanded(path: str) -> list[Path]:
    """One that is not there, or may be absent, is named nevertheless where it is no pattern."""
    return [Path(each) for each in sorted(glob.glob(path))] if glob.has_magic(path) else [Path(path)]  # noqa: PTH207  # Path.glob wants a folder to start from


def _is_closed(path: Path) -> bool:
    """Whether it may hold settings that are not ours to see. One that is not there sets nothing."""
    try:
        with path.open("rb"):
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _in_command(argv: str) -> dict[str, str]:
    """`/usr/bin/env NAME=VALUE … open-webui serve`, or the same in the text for a shell."""
    return {match["name"]: match["value"] for match in _ASSIGNMENT.finditer(argv)}


def _of_a_script(argv: str, told_by: str) -> Iterator[str]:
    """A script may set what it likes before it starts the application."""
    words = argv.split()
    program = Path(words[1] if len(words) > 1 and Path(words[0]).name in _SHELLS else words[0]) if words else None
    if program and program.is_file() and _is_shell_script(program):
        yield f"{told_by} starts a script, {program}: the settings it makes are unknown"


def _is_shell_script(program: Path) -> bool:
    try:
        with program.open("rb") as file:
            first = file.readline(200)
    except OSError:
        return True
    return first.startswith(b"#!") and any(each.encode() in first.split(b"/")[-1].split() for each in _SHELLS)
