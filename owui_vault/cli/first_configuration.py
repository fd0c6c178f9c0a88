"""`config generate` and `init --discover`: a commented configuration for what is here. Never over an existing one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from owui_vault import assembly
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.render.screen import Screen
from owui_vault.config import TemplateValues, config_candidates, expand, find_config, first_text
from owui_vault.errors import ConfigError
from owui_vault.model import ContainerRecord

_NAME = "vault.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverReport:
    """The file that was written, and the container it is about."""

    file: Path
    container: ContainerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateReport:
    """A configuration. `file` is where it was written, if anywhere."""

    text: str
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What a first configuration is made of."""

    options: GlobalOptions
    environ: Mapping[str, str]
    folder: Path
    unit: str | None = None
    naming: str = "config generate FILE"  # how another file would be named


def discover(options: GlobalOptions, environ: Mapping[str, str], folder: Path) -> DiscoverReport:
    """Find the container and write the file.

    Raises ConfigError where there is a file already or the new one would hide another, InstanceError.
    """
    if options.data_dir is not None:
        raise ConfigError(
            "--discover looks for a container, and --data-dir names a directory",
            hint="For a directory: owui-vault --data-dir DIR config generate FILE.",
        )
    here = Here(options=options, environ=environ, folder=folder, naming="--config FILE")
    file = _new_file(str(options.config or _NAME), here)
    record = assembly.discover(options.container or "", environ)
    _write_new(file, here, first_text(_of_container(record, here, file)))
    return DiscoverReport(file=file, container=record)


def generate(here: Here, file: Path | None) -> GenerateReport:
    """The text for a data directory, a unit or a container, as the options say; written where a file is named.

    Raises ConfigError where there is a file already or the new one would hide another, InstanceError.
    """
    if here.options.config:
        raise ConfigError("--config names a configuration to read", hint="Name the new one: config generate FILE.")
    path = _new_file(str(file), here) if file else None
    text = first_text(_known(here, path))
    if path:
        _write_new(path, here, text)
    return GenerateReport(text=text, file=path)


def _known(here: Here, file: Path | None) -> TemplateValues:
    options = here.options
    if options.container is not None and (options.data_dir or here.unit):
        raise ConfigError("--container takes the place of --data-dir and --unit", hint="Pass only one of them.")
    if options.data_dir or here.unit:
        return _of_directory(here, file)
    return _of_container(assembly.discover(options.container or "", here.environ), here, file)


def _of_directory(here: Here, file: Path | None) -> TemplateValues:
    named = here.options.data_dir
    folder = expand(str(named), here.folder, here.environ) if named else assembly.data_dir_of_unit(here.unit or "")
    place = assembly.data_directory(folder)
    return TemplateValues(
        data_dir=place,
        systemd_unit=here.unit,
        found=f"{place}" + (f", the data of unit {here.unit}" if here.unit else ""),
        file=file,
        repository=here.options.repository,
        engine=here.options.engine,
        passphrase_file=_passphrase_file(here),
    )


def _of_container(record: ContainerRecord, here: Here, file: Path | None) -> TemplateValues:
    return TemplateValues(
        container=record.name,
        found=f"{record.image}, its data in {record.mount.volume or record.mount.source}",
        file=file,
        repository=here.options.repository,
        engine=here.options.engine,
        passphrase_file=_passphrase_file(here),
    )


def _passphrase_file(here: Here) -> Path | None:
    named = here.options.passphrase_file
    return expand(str(named), here.folder, here.environ) if named else None


def _new_file(name: str, here: Here) -> Path:
    """Where it will lie, which nothing does yet.

    Without --config the first of several places is read: a file before the one in use would hide it unseen.
    """
    file = expand(name, here.folder, here.environ)
    if os.path.lexists(file):
        raise ConfigError(f"{file} already exists", hint=f"It is never overwritten. Name another file: {here.naming}")
    in_use = find_config(here.environ, here.folder)
    places = [expand(str(each), here.folder, here.environ) for each in config_candidates(here.environ, here.folder)]
    if here.options.config is None and in_use is not None and file in places:
        raise ConfigError(
            f"{file} would hide {in_use}, which is in use now",
            hint=f"Name another file ({here.naming}), or move that one first.",
        )
    return file


def _write_new(file: Path, here: Here, text: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileNotFoundError as error:
        raise ConfigError(
            f"cannot write {file}: its folder does not exist",
            hint=f"Make it first (install -d -m 700 {file.parent}), or name another file: {here.naming}",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror}",
            hint=f"May this user write there? Or name another file: {here.naming}",
        ) from error


def show_discovered(screen: Screen, report: DiscoverReport) -> None:
    """Report what was found, where it was written, and what to do next."""
    record = report.container
    screen.line(f"found container {record.name} ({record.image})", style="bold")
    screen.pairs([
        ("data", f"{record.mount.volume or record.mount.source} at {record.data_dir}"),
        ("written", str(report.file)),
    ])  # fmt: skip
    screen.line("Edit that file: set where the repository should be, then run `init` without --discover.")


def show_generated(screen: Screen, made: GenerateReport) -> None:
    """The text itself, or where it was written and what comes next."""
    if not made.file:
        screen.text(made.text)
        return
    screen.line(f"written: {made.file}", style="green")
    screen.line(f"Read it, make the passphrase as it says, then: owui-vault --config {made.file} config validate")
