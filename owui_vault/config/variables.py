"""`${NAME}` and `${NAME:-default}` in the text values of parsed data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from owui_vault.config.errors import ConfigProblem, KeyPath

_PLACE = re.compile(
    r"(?P<literal>\$\$\{)"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>[^}]*))?\}"
    r"|(?P<broken>\$\{)"
)
_NO_TEXT = "is a key that YAML does not read as text; put it in quotes"
_NO_VALUE = "has no value; give it one, or remove the key"  # whoever writes `keep:` did not mean "no retention"


def replace_variables(data: object, environ: Mapping[str, str], mistakes: list[ConfigProblem]) -> object:
    """The same data with variables replaced; what cannot be is added to `mistakes`. Keys are left alone."""
    return _replace(data, (), environ, mistakes)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that a text names, and what stands in for it where it has no value; None: nothing does."""

    name: str
    default: str | None = None


def variables_in(text: str) -> tuple[Variable, ...]:
    """The variables that a text names, each once."""
    found = (each for each in _PLACE.finditer(text) if each["name"])
    return tuple(dict.fromkeys(Variable(each["name"], each["default"]) for each in found))


def variables_of(data: object) -> Iterator[Variable]:
    """The variables that all texts in a document name."""
    match data:
        case str():
            yield from variables_in(data)
        case dict():
            for each in data.values():
                yield from variables_of(each)
        case list():
            for each in data:
                yield from variables_of(each)


def _replace(data: object, path: KeyPath, environ: Mapping[str, str], mistakes: list[ConfigProblem]) -> object:
    match data:
        case str():
            mistakes.extend(ConfigProblem(path, text) for text in _problems(data, environ))
            return _PLACE.sub(lambda found: _value(found, environ), data)
        case dict():
            mistakes.extend(ConfigProblem((*path, str(key)), _NO_TEXT) for key in data if not isinstance(key, str))
            mistakes.extend(ConfigProblem((*path, str(key)), _NO_VALUE) for key, value in data.items() if value is None)
            return {str(key): _replace(value, (*path, str(key)), environ, mistakes) for key, value in data.items()}
        case list():
            return [_replace(value, (*path, number), environ, mistakes) for number, value in enumerate(data)]
    return data


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found["literal"]:
        return "${"
    if found["broken"]:
        return found["broken"]
    value = environ.get(found["name"], "")
    # As in a shell, `:-` also stands in for a variable that is set to nothing.
    return value or found["default"] or "" if found["fallback"] else value


def _problems(text: str, environ: Mapping[str, str]) -> Iterator[str]:
    for found in _PLACE.finditer(text):
        if found["broken"]:
            yield "has a '${' that is not ${NAME} or ${NAME:-default}; a literal one is written '$${'"
        elif found["name"] and not found["fallback"] and found["name"] not in environ:
            name = found["name"]
            yield f"needs the environment variable {name}, which is not set; ${{{name}:-…}} gives a default"
