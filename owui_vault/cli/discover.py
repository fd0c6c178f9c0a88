"""`init --discover`: a commented configuration for what was found. Never over an existing one."""

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


def discover(options: GlobalOptions, environ: Mapping[str, str], folder: Path) -> DiscoverReport:
    """Find the container and write the file.

    Raises ConfigError where there is a file already or the new one would hide another, InstanceError.
    """
    if options.data_dir is not None:
        raise ConfigError(
            "--discover looks for a container, and --data-dir names a directory",
            hint="Leave out --data-dir, or write the configuration yourself: `instance: {data_dir: DIR}`.",
        )
    file = expand(str(options.config or _NAME), folder, environ)
    if os.path.lexists(file):
        raise ConfigError(f"{file} already exists", hint="Pass another one with --config FILE.")
    _check_hides_none(file, options, environ, folder)
    record = assembly.discover(options.container or "", environ)
    text = first_text(
        TemplateValues(
            container=record.name,
            found=f"{record.image}, its data in {record.mount.volume or record.mount.source}",
            repository=options.repository,
            engine=options.engine,
            passphrase_file=options.passphrase_file and expand(str(options.passphrase_file), folder, environ),
        )
    )
    _write_new(file, text)
    return DiscoverReport(file=file, container=record)


def _check_hides_none(file: Path, options: GlobalOptions, environ: Mapping[str, str], folder: Path) -> None:
    """Without --config the first of several places is read: a file before the one in use would hide it unseen."""
    in_use = find_config(environ, folder)
    places = [expand(str(each), folder, environ) for each in config_candidates(environ, folder)]
    if options.config is None and in_use is not None and file in places:
        raise ConfigError(
            f"{file} would hide {in_use}, which is in use now",
            hint="Pass another file with --config FILE, or move that one first.",
        )


def _write_new(file: Path, text: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror}",
            hint="Does its folder exist, and may this user write there? Or pass another one with --config FILE.",
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
