"""Turns global options into settings: those of a file, or of the one repository that the options describe."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from owui_vault.cli.options import GlobalOptions, Needs, Passphrase
from owui_vault.cli.render.screen import print_note
from owui_vault.cli.terminal import PASSPHRASE_VARIABLE, ask
from owui_vault.config import (
    EngineName,
    InstanceSettings,
    RepositorySettings,
    VaultSettings,
    config_candidates,
    default_state_dir,
    expand,
    expand_location,
    find_config,
    load_settings,
)
from owui_vault.errors import ConfigError
from owui_vault.model.secrets import EnvironmentSecret, FileSecret, GivenSecret, SecretReference
from owui_vault.system.unwinding import on_failure

_log = logging.getLogger(__name__)

REPOSITORY_NAME = "repository"
# Without a file there is no other place to name the keys of a cloud store, or how ssh is to be called.
_ENGINE_PREFIXES = ("AWS_", "B2_", "AZURE_", "GOOGLE_", "OS_", "ST_", "RCLONE_", "RESTIC_REST_")
_ENGINE_VARIABLES = ("BORG_RSH", "BORG_REMOTE_PATH", "BORG_KEYS_DIR", "BORG_KEY_FILE")


def settings_for(options: GlobalOptions, needs: Needs, environ: Mapping[str, str], folder: Path) -> VaultSettings:
    """The settings a command works with. Relative paths of options start at `folder`. Raises ConfigError."""
    if options.without_file:
        return _from_options(options, needs, environ, folder)
    if options.config is None and needs.looks_for_container and find_config(environ, folder) is None:
        return VaultSettings(state_dir=default_state_dir(environ), instance=InstanceSettings(container=""))
    file = file_for(options, environ, folder)
    with telling_of_mistakes(file, needs, environ):
        return load_settings(file, environ)


def file_for(options: GlobalOptions, environ: Mapping[str, str], folder: Path) -> Path:
    """The configuration that is read. Raises ConfigError where there is none."""
    file = expand(str(options.config), folder, environ) if options.config else find_config(environ, folder)
    if file is None:
        looked = ", ".join(str(path) for path in config_candidates(environ, folder))
        raise ConfigError(
            f"there is no configuration; looked for {looked}",
            hint="Pass one with --config FILE, or pass --data-dir DIR and --repository LOCATION.",
        )
    _log.info("the configuration in use is %s", file)
    if options.config is None and file == folder / "vault.yaml":
        _tell_of_hidden(file, config_candidates(environ, folder))
    return file


def _tell_of_hidden(file: Path, places: Sequence[Path]) -> None:
    """A file of the working directory takes the place of the one that is used everywhere else."""
    for other in places:
        with suppress(OSError):  # of root's folder, where another user runs this
            if other != file and not other.samefile(file):
                print_note(f"note: {file} is used here, and not {other}")
                return


@contextmanager
def telling_of_mistakes(file: Path | None, needs: Needs, environ: Mapping[str, str]) -> Iterator[None]:
    """Where nobody looks, a file that nothing can be started with is told to whoever it names."""

    def tell(error: BaseException) -> None:
        from owui_vault.assembly import tell_of_mistakes  # noqa: PLC0415  only where something is wrong

        if file and needs.tells_of_mistakes and isinstance(error, ConfigError):
            tell_of_mistakes(file, error, environ)

    with on_failure(tell):
        yield


def _from_options(options: GlobalOptions, needs: Needs, environ: Mapping[str, str], folder: Path) -> VaultSettings:
    if options.config:
        raise ConfigError(
            "--config was given together with options that replace the file",
            hint="Pass either --config, or --data-dir, --repository, --engine and --passphrase-file.",
        )
    if options.container is not None and (options.data_dir or not options.container.strip()):
        raise ConfigError(
            "--container names one container, and takes the place of --data-dir", hint="Pass only one of the two."
        )
    data_dir = expand(str(options.data_dir), folder, environ) if options.data_dir else None
    instance = InstanceSettings(data_dir=data_dir, container=options.container)
    return VaultSettings(
        state_dir=default_state_dir(environ),
        instance=instance if data_dir or options.container else None,
        repositories=tuple(_repositories(options, needs, environ, folder)),
    )


def _repositories(
    options: GlobalOptions, needs: Needs, environ: Mapping[str, str], folder: Path
) -> list[RepositorySettings]:
    if options.repository is None:
        if options.engine or options.passphrase_file:
            raise ConfigError(
                "--engine and --passphrase-file describe a repository", hint="Pass --repository LOCATION."
            )
        return []
    if not options.repository.strip():
        raise ConfigError("--repository is empty", hint="Give the location of the repository.")
    return [
        RepositorySettings(
            name=REPOSITORY_NAME,
            engine=EngineName(options.engine or "restic"),
            location=expand_location(options.repository, folder, environ),
            passphrase=_passphrase(options, needs, environ, folder),
            environment={
                name: EnvironmentSecret(variable=name)
                for name, value in environ.items()
                if value and (name in _ENGINE_VARIABLES or name.startswith(_ENGINE_PREFIXES))
            },
        )
    ]


def _passphrase(options: GlobalOptions, needs: Needs, environ: Mapping[str, str], folder: Path) -> SecretReference:
    if options.passphrase_file:
        return FileSecret(path=expand(str(options.passphrase_file), folder, environ))
    if PASSPHRASE_VARIABLE in environ or needs.passphrase is Passphrase.NOT_NEEDED:
        return EnvironmentSecret(variable=PASSPHRASE_VARIABLE)
    return GivenSecret(
        secret=ask("Passphrase of the repository", twice=needs.passphrase is Passphrase.ASKED_TWICE),
        origin="typed at the terminal",
    )
