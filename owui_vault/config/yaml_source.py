"""A configuration file from disk to plain data: the only door to YAML."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from owui_vault.config.errors import ConfigProblem, KeyPath
from owui_vault.errors import ConfigError, for_root

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 24
_MAX_NODES = 20_000  # after every alias is written out
#: What PyYAML puts in quotes of its own: one sign, or a name of its grammar. All else in quotes is the file's text.
_OF_YAML = re.compile(
    r"'(?:\\?.|\\x[0-9a-f]{2}|<(?:document|stream|block|sequence|mapping|directive|scalar|alias|anchor|tag)"
    r"(?: sequence| mapping)?(?: start| end)?>)'"
)
_QUOTE = re.compile(r"['\"]")


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, the line of each key, and keys that stand twice."""

    data: object
    lines: dict[KeyPath, int]
    mistakes: tuple[ConfigProblem, ...]


def read_document(path: Path) -> Document:
    """Read a YAML file that nobody but its owner can write. Raises ConfigError with a hint for everything else."""
    return parse_document(_read_text(path), path)


def parse_document(text: str, path: Path) -> Document:
    """Parse the text of one YAML document; `path` is for messages."""
    try:
        _check_depth(text, path)
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            lines: dict[KeyPath, int] = {}
            mistakes: tuple[ConfigProblem, ...] = ()
            if node is not None:
                _check_size(node, path)
                mistakes = tuple(_duplicates(node, (), lines))
            data = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: `2026-13-45` looks like a date and is none
        raise _not_yaml(error, path, text) from None  # the cause quotes the file, and with it perhaps a secret
    return Document(data, lines, mistakes)


def _read_text(path: Path) -> str:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"there is no configuration file {path}",
            hint="Pass it with --config FILE, or describe everything with global options such as --data-dir.",
        ) from None
    except OSError as error:
        refused = ConfigError(
            f"cannot read the configuration file {path}: {error.strerror}",
            hint="Run as its owner, or give this user read access.",
        )
        raise (for_root(refused) if isinstance(error, PermissionError) else refused) from error
    try:
        _check_file(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB", hint="Pass the configuration file itself.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text (byte {error.start})", hint="Save the file as UTF-8 text."
        ) from None


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a regular file", hint="Pass a file that holds the configuration.")
    if status.st_mode & 0o022:
        who = "everybody" if status.st_mode & 0o002 else "its group"
        raise ConfigError(
            f"{path} can be written by {who}, and a configuration can run commands",
            hint=f"Remove that permission: chmod go-w {path}",
        )


def _check_depth(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise ConfigError(
                f"{path} is nested more than {_MAX_DEPTH} levels deep", hint="A configuration needs four."
            )


def _check_size(node: yaml.Node, path: Path) -> None:
    """Refuse aliases that contain themselves or multiply: they are small in the file and endless in memory."""
    sizes: dict[int, int] = {}

    def size(current: yaml.Node, above: frozenset[int]) -> int:
        if id(current) in above:
            raise ConfigError(f"{path} has an alias that contains itself", hint="Write the value out instead.")
        if id(current) not in sizes:
            inside = above | {id(current)}
            sizes[id(current)] = 1 + sum(size(child, inside) for child in _children(current))
        return sizes[id(current)]

    if size(node, frozenset()) > _MAX_NODES:
        raise ConfigError(f"{path} expands to more than {_MAX_NODES} values", hint="Use fewer YAML aliases.")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _duplicates(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Iterator[ConfigProblem]:
    """Note the line of every key, and find those written twice: YAML would silently take the last one."""
    if isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            lines[(*path, number)] = child.start_mark.line + 1
            yield from _duplicates(child, (*path, number), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if str(key.value) in seen:
                yield ConfigProblem(here, f"is given twice, first in line {lines[here]}, then in line {line}")
            seen.add(str(key.value))
            lines.setdefault(here, line)
            yield from _duplicates(value, here, lines)


def _not_yaml(error: Exception, path: Path, text: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "a value that cannot be read"
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    hint = "Check that line and the one above: use spaces, not tabs, and quote text with : # * ! @ or {}."
    line = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
    if mark and line[max(0, mark.column - 1) : mark.column + 1] == "${":
        hint = "Put ${…} in quotes inside { }: {location: '${NAME}/folder'}."
    return ConfigError(f"{path} is not valid YAML{place}: {_without_the_files_text(str(problem))}", hint=hint)


def _without_the_files_text(problem: str) -> str:
    """What YAML complains about, without what it quotes: a secret that begins with * or ! is "an undefined alias"."""
    known = [match.span() for match in _OF_YAML.finditer(problem)]
    quotes = [
        match.start()
        for match in _QUOTE.finditer(problem)
        if not any(begin <= match.start() < end for begin, end in known)
    ]
    return f"{problem[: quotes[0] + 1]}…{problem[quotes[-1] :]}" if len(quotes) > 1 else problem
