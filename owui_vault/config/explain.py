"""Explains pydantic's errors in plain English, each with its path."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError

from owui_vault.config.document import LIST, MAPPING, VaultPart
from owui_vault.config.errors import ConfigProblem, KeyPath, nearest
from owui_vault.config.values import kind

_NOT_KEYS = ("[key]", LIST, MAPPING)


def explain(error: ValidationError) -> Iterator[ConfigProblem]:
    """One mistake for each finding. Values are named by their kind only: they may be secrets."""
    for finding in error.errors(include_url=False):
        place: KeyPath = tuple(part for part in finding["loc"] if part not in _NOT_KEYS)
        yield ConfigProblem(place, _say(finding["type"], place, finding["input"], finding.get("ctx", {})))


def _say(code: str, place: KeyPath, value: object, context: Mapping[str, object]) -> str:
    match code:
        case "value_error":
            told = str(context["error"])
        case "extra_forbidden":
            told = f"is not known; {nearest(str(place[-1]), known_keys(place[:-1]))}"
        case "missing":
            told = "is missing"
        case "model_type" | "dict_type" | "model_attributes_type":
            told = f"must be a mapping of keys and values, not {kind(value)}"
        case "tuple_type":
            told = f"must be a list, not {kind(value)}"
        case "literal_error":
            told = f"must be one of {context['expected']}".replace("'", "")
        case _:
            told = f"is invalid ({code.replace('_', ' ')})"
    return told


def known_keys(place: KeyPath) -> tuple[str, ...]:
    """The keys that may stand at a place of the file."""
    model: type[BaseModel] | None = VaultPart
    inside_mapping = False
    for part in place:
        if inside_mapping or isinstance(part, int):  # a name that the author chose, or a place in a list
            inside_mapping = False
            continue
        if model is None or part not in model.model_fields:
            return ()
        annotation = model.model_fields[str(part)].annotation
        inside_mapping = _is_mapping(annotation)
        model = _model_in(annotation)
    if model is None or inside_mapping:
        return ()
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _is_mapping(annotation: object) -> bool:
    """Whether the keys below are of the file's author."""
    return typing.get_origin(annotation) is dict or any(_is_mapping(each) for each in typing.get_args(annotation))


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model), None)
