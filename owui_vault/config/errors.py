"""Mistakes in a configuration: collected, then reported all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from owui_vault.errors import ConfigError

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong at one place. `text` never repeats what may be a secret."""

    path: KeyPath
    text: str


def dotted(path: Sequence[str | int]) -> str:
    """`repositories.nas.keep.daily`, list entries as `[2]`, counted from one as people do."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'daily'?` or, with nothing near, the list of what is known."""
    names = sorted(known)
    meant = _WORDS_OF_OTHERS.get(word, "")
    if meant in names:
        return f"did you mean '{meant}'?"
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if found:
        return f"did you mean '{found[0]}'?"
    return f"allowed here: {', '.join(names)}" if names else "no key is allowed here"


def config_error(file: Path, mistakes: Sequence[ConfigProblem], lines: Mapping[KeyPath, int]) -> ConfigError:
    """The error that tells all of them, in the order of the file."""
    ordered = sorted(mistakes, key=lambda each: (_line(each.path, lines) or 0, dotted(each.path)))
    told = list(dict.fromkeys(_tell(each, lines) for each in ordered))
    if len(told) == 1:
        return ConfigError(f"{file}: {told[0]}", hint=_HINT)
    return ConfigError("\n  ".join([f"{file}: {len(told)} mistakes", *told]), hint=_HINT)


_HINT = "Fix the file; `owui-vault config generate` prints one with its keys explained."
_WORDS_OF_OTHERS = {
    **dict.fromkeys(("password", "encryption_passphrase", "secret"), "passphrase"),
    **dict.fromkeys(("path", "url", "repo", "repository"), "location"),
    **dict.fromkeys(("retention", "keep_daily", "keep_last"), "keep"),
    **dict.fromkeys(("notify", "hooks", "alerts"), "notifications"),
    **dict.fromkeys(("healthchecks", "ping", "uptime_kuma"), "heartbeat"),
    **dict.fromkeys(("schedules", "schedule", "jobs"), "plans"),
    **dict.fromkeys(("env", "environment_variables"), "environment"),
    **dict.fromkeys(("dir", "directory", "data"), "data_dir"),
}


def _tell(mistake: ConfigProblem, lines: Mapping[KeyPath, int]) -> str:
    line = _line(mistake.path, lines)
    place = dotted(mistake.path) or "the whole file"
    return f"{place} (line {line}): {mistake.text}" if line else f"{place}: {mistake.text}"


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of the place, or of the nearest one around it that stands in the file."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
