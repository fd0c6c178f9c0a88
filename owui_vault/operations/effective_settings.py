"""The settings that are in effect, and where each came from. No secret is among them, only where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import Enum
from pathlib import Path

from owui_vault.config.document import LimitsPart, RepositoryPart
from owui_vault.config.errors import KeyPath, dotted
from owui_vault.config.loading import Checked, checked
from owui_vault.config.notify_part import HeartbeatPart
from owui_vault.config.secret_part import Part, SecretPart, reference_of
from owui_vault.config.settings import LimitSettings, VaultSettings
from owui_vault.config.variables import variables_of
from owui_vault.config.yaml_source import read_document
from owui_vault.engines.common.environment import without_credentials
from owui_vault.model.config_reports import EffectiveSettings, Setting
from owui_vault.secrets import secret_source

DEFAULT = "default"
_UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
#: What a repository does where nothing is said, in the words of a person.
_UNSAID = {"keep": "everything: nothing is removed"}


def settings_of_file(path: Path, environ: Mapping[str, str]) -> EffectiveSettings:
    """Read a configuration and say what is in effect. Raises ConfigError with every mistake in it."""
    path = path.absolute()
    known = checked(read_document(path), path, environ)
    walk = _Walk(known=known, environ=environ)
    return EffectiveSettings(file=path, settings=tuple(walk.part((), known.part)))


def settings_of_options(settings: VaultSettings, environ: Mapping[str, str]) -> EffectiveSettings:
    """What options say, and the defaults of the rest."""
    told = [_state_dir(settings, environ)]
    if settings.instance:
        told.append(Setting(key="instance.name", value=settings.instance.name, source=DEFAULT))
        if settings.instance.data_dir:
            value = str(settings.instance.data_dir)
            told.append(Setting(key="instance.data_dir", value=value, source="--data-dir"))
        if settings.instance.container:
            told.append(Setting(key="instance.container", value=settings.instance.container, source="--container"))
    for each in settings.repositories:
        place = f"repositories.{each.name}"
        secrets = {"passphrase": each.passphrase} | {
            f"environment.{name}": one for name, one in each.environment.items()
        }
        told += [
            Setting(key=f"{place}.engine", value=each.engine.value, source="--engine, or its default"),
            Setting(key=f"{place}.location", value=without_credentials(each.location), source="--repository"),
            *(
                Setting(
                    key=f"{place}.{name}", value=secret_source(one, environ).describe(), source="options or environment"
                )
                for name, one in secrets.items()
            ),
        ]
    told += [
        Setting(key=f"limits.{each.name}", value=_shown(getattr(settings.limits, each.name)), source=DEFAULT)
        for each in fields(LimitSettings)
    ]
    return EffectiveSettings(settings=tuple(told))


def _state_dir(settings: VaultSettings, environ: Mapping[str, str]) -> Setting:
    said = environ.get("XDG_STATE_HOME", "")
    from_there = bool(said.startswith("/")) and settings.state_dir.is_relative_to(said)
    source = "environment variable XDG_STATE_HOME" if from_there else DEFAULT
    return Setting(key="state_dir", value=str(settings.state_dir), source=source)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Through the parts of a file, and the defaults of what does not stand in it."""

    known: Checked
    environ: Mapping[str, str]

    def part(self, place: KeyPath, part: Part) -> Iterator[Setting]:
        for key, field in type(part).model_fields.items():
            yield from self.value((*place, field.alias or key), getattr(part, key), part)

    def value(self, place: KeyPath, value: object, owner: object = None) -> Iterator[Setting]:
        """One key. Without a value it has none in effect, and nothing is said."""
        value = self.without_short_form(place, value)
        if isinstance(value, SecretPart):
            described = secret_source(reference_of(value), self.environ).describe()
            yield Setting(key=dotted(place), value=described, source=self.source(place))
        elif isinstance(value, Part) and self.is_mapping(place):
            yield from self.part(place, value)
        elif isinstance(value, dict):
            for key, each in value.items():
                yield from self.value((*place, str(key)), each)
        elif isinstance(value, tuple) and any(isinstance(each, Part) for each in value):
            for number, each in enumerate(value):
                yield from self.value((*place, number), each)
        elif place in self.known.lines:
            yield Setting(key=dotted(place), value=self.written(place, value), source=self.source(place))
        elif place == ("state_dir",):
            yield _state_dir(self.known.settings, self.environ)
        elif place == ("limits",):
            yield from self.part(place, LimitsPart())
        else:
            yield from self.default(place, value, owner)

    def default(self, place: KeyPath, value: object, owner: object) -> Iterator[Setting]:
        key = str(place[-1])
        if isinstance(owner, LimitsPart):
            value = getattr(LimitSettings(), key)
            yield Setting(key=dotted(place), value=_shown(value), source=DEFAULT)
        elif isinstance(owner, RepositoryPart) and key in _UNSAID:
            yield Setting(key=dotted(place), value=_UNSAID[key], source=DEFAULT)
        elif value not in (None, (), 0) or isinstance(value, bool):
            yield Setting(key=dotted(place), value=_shown(value), source=DEFAULT)

    def without_short_form(self, place: KeyPath, value: object) -> object:
        """Of a heartbeat that is a URL, or where one is, that alone: it is as good as a password, and never shown."""
        written = self.at(self.known.data, place) if isinstance(value, HeartbeatPart) else None
        is_long = isinstance(written, dict) and "url" in written
        return value.url if isinstance(value, HeartbeatPart) and not is_long else value

    def is_mapping(self, place: KeyPath) -> bool:
        """Whether it stands in the file key by key: one of one word, such as a cron expression, is shown as that."""
        return not place or isinstance(self.at(self.known.data, place), dict)

    def written(self, place: KeyPath, value: object) -> str:
        """As it stands in the file, where what is made of it would be harder to read."""
        if isinstance(value, Path):
            return str(value)
        if place[-1] == "location" and place[0] == "repositories":
            name = place[1]
            (location,) = (each.location for each in self.known.settings.repositories if each.name == name)
            return without_credentials(location)
        return _shown(self.at(self.known.data, place))

    def source(self, place: KeyPath) -> str:
        """The line, and the variables in it."""
        line = f"line {self.known.lines[place]}" if place in self.known.lines else DEFAULT
        told = [
            f"environment variable {each.name}" if self.environ.get(each.name) else f"default of ${{{each.name}}}"
            for each in dict.fromkeys(variables_of(self.at(self.known.data_as_written, place)))
        ]
        return ", ".join([line, *told])

    def at(self, data: object, place: KeyPath) -> object:
        for key in place:
            if isinstance(data, dict):
                data = next((each for name, each in data.items() if str(name) == str(key)), None)
            elif isinstance(data, list) and isinstance(key, int):
                data = data[key]
        return data


def _shown(value: object) -> str:
    match value:
        case None:
            text = "none"
        case timedelta():
            text = _duration(value)
        case Enum():
            text = str(value.value)
        case list() | tuple():
            text = ", ".join(_shown(each) for each in value)
        case dict():
            text = ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
        case _:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text


def _duration(length: timedelta) -> str:
    """`5m`, as it would be written in the file."""
    seconds = int(length.total_seconds())
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds and seconds % size == 0), ("s", 1))
    return f"{seconds // size}{unit}"
