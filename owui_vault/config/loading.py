"""From a configuration file to settings: read, replace variables, check, convert; all mistakes reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from owui_vault.config import document as parts
from owui_vault.config.errors import KeyPath, config_error
from owui_vault.config.explain import explain
from owui_vault.config.features import take_out_unbuilt
from owui_vault.config.paths import default_state_dir, expand_location
from owui_vault.config.plan_settings import notification_mistakes, plan_mistakes, plan_of
from owui_vault.config.secret_part import Part, reference_of
from owui_vault.config.settings import (
    EngineName,
    InstanceSettings,
    LimitSettings,
    LogFileSettings,
    RepositorySettings,
    Unproven,
    VaultSettings,
)
from owui_vault.config.values import ConfigContext, kind
from owui_vault.config.variables import replace_variables
from owui_vault.config.yaml_source import Document, read_document
from owui_vault.errors import ConfigError
from owui_vault.model import CollapseLimits, Compression, OllamaModels, Quiesce, RetentionPolicy, TagPolicy
from owui_vault.model.status import Pages


def load(path: Path, environ: Mapping[str, str]) -> VaultSettings:
    """See `owui_vault.config.load_settings`."""
    path = path.absolute()
    return settings_from(read_document(path), path, environ)


def settings_from(document: Document, path: Path, environ: Mapping[str, str]) -> VaultSettings:
    """Check what was read and convert it. Raises ConfigError with every mistake in it."""
    return checked(document, path, environ).settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file without mistakes: as it stands there, with every variable replaced, checked, and converted."""

    data_as_written: object = field(repr=False)  # may hold secrets, as the next
    data: dict[object, object] = field(repr=False)
    lines: Mapping[KeyPath, int]
    part: parts.VaultPart
    settings: VaultSettings


def checked(document: Document, path: Path, environ: Mapping[str, str]) -> Checked:
    """Check what was read. Raises ConfigError with every mistake in it."""
    if document.data is None:
        raise ConfigError(f"{path} is empty", hint="`owui-vault config generate` prints one to start from.")
    mistakes = list(document.mistakes)
    data = replace_variables(document.data, environ, mistakes)
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} must hold keys and values, not {kind(data)}",
            hint="`owui-vault config generate` prints one to start from.",
        )
    mistakes.extend(take_out_unbuilt(data))
    around = ConfigContext(path.parent, environ)
    try:
        part = parts.VaultPart.model_validate(data, context=around)
    except ValidationError as error:
        told = {mistake.path for mistake in mistakes}
        mistakes.extend(each for each in explain(error) if not _within(each.path, told))
        raise config_error(path, mistakes, document.lines) from None  # the cause would show values
    mistakes.extend(plan_mistakes(part))
    mistakes.extend(notification_mistakes(part))
    if mistakes:
        raise config_error(path, mistakes, document.lines)
    try:
        settings = _settings(part, path, around)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
    return Checked(data_as_written=document.data, lines=document.lines, data=data, part=part, settings=settings)


def _within(path: KeyPath, told: set[KeyPath]) -> bool:
    """Whether a mistake at this place or around it was told already; what follows from it is noise."""
    return any(path[:end] in told for end in range(1, len(path) + 1))


def _settings(part: parts.VaultPart, path: Path, around: ConfigContext) -> VaultSettings:
    return VaultSettings(
        path=path,
        state_dir=part.state_dir or default_state_dir(around.environ),
        instance=_instance(part.instance) if part.instance else None,
        repositories=tuple(_repository(name, each, around) for name, each in part.repositories.items()),
        plans=tuple(plan_of(name, each) for name, each in part.plans.items()),
        limits=LimitSettings(**_written(part.limits)) if part.limits else LimitSettings(),
        collapse=CollapseLimits(**_written(part.collapse)) if part.collapse else CollapseLimits(),
        log_file=LogFileSettings(**_written(part.log_file)) if part.log_file else None,
        pages=Pages(report=part.report, metrics=part.metrics),
        notifications=tuple(each.settings() for each in part.notifications),
        heartbeat=part.heartbeat.settings() if part.heartbeat else None,
        plan_heartbeats={name: each.heartbeat.settings() for name, each in part.plans.items() if each.heartbeat},
    )


def _written(part: Part) -> dict[str, Any]:
    """What stands there: the rest is the default of what is made of it."""
    return {key: value for key, value in part if value is not None}


def _instance(part: parts.InstancePart) -> InstanceSettings:
    return InstanceSettings(
        name=part.name,
        data_dir=part.data_dir,
        container=part.container,
        quiesce=Quiesce(part.quiesce),
        include=part.include,
        exclude=part.exclude,
        unproven=Unproven(part.unproven),
        systemd_unit=part.systemd_unit,
        pid_file=part.pid_file,
        secret_key=reference_of(part.secret_key) if part.secret_key else None,
        database_url=reference_of(part.database_url) if part.database_url else None,
        ollama=OllamaModels(part.ollama),
        ollama_dir=part.ollama_dir,
    )


def _repository(name: str, part: parts.RepositoryPart, around: ConfigContext) -> RepositorySettings:
    return RepositorySettings(
        name=name,
        engine=EngineName(part.engine),
        location=expand_location(part.location, around.folder, around.environ),
        passphrase=reference_of(part.passphrase),
        environment={key: reference_of(value) for key, value in part.environment.items()},
        keep=_policy(part.keep) if part.keep else None,
        program=part.program,
        options=dict(part.options),
        upload_limit=part.upload_limit,
        download_limit=part.download_limit,
        compression=Compression(part.compression) if part.compression else None,
        optional=part.optional,
        append_only=part.append_only,
    )


def _policy(part: parts.KeepPart) -> RetentionPolicy:
    written = dict(part)
    if not isinstance(part.tags, dict):
        return RetentionPolicy(**written)
    of_tags = (TagPolicy(tag=tag, keep=RetentionPolicy(**dict(rules))) for tag, rules in part.tags.items())
    return RetentionPolicy(**written | {"tags": (), "tag_policies": tuple(of_tags)})
