"""Parses the lines between a capture and its child: an unexpected shape is a bug in this package."""

from __future__ import annotations

Answer = dict[str, object]


def number(message: Answer, key: str) -> float:
    """A number."""
    value = message[key]
    if not isinstance(value, int | float):
        raise TypeError(f"{key} is not a number: {value!r}")
    return value


def whole(message: Answer, key: str) -> int:
    """A whole number."""
    return int(number(message, key))


def texts(message: Answer, key: str) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(str(each) for each in items(message, key))


def items(message: Answer, key: str) -> list[object]:
    """A list of anything."""
    value = message[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} is not a list: {value!r}")
    return value


def parts(message: Answer, key: str) -> tuple[Answer, ...]:
    """A list of messages."""
    return tuple(part(each) for each in items(message, key))


def part(value: object) -> Answer:
    """A message inside another."""
    if not isinstance(value, dict):
        raise TypeError(f"not a message: {value!r}")
    return value
