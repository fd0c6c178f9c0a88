"""The one call that a scheduler makes, and whether it will work there: where nothing of a user's shell is known."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from owui_vault.config import RepositorySettings, VaultSettings, load_settings
from owui_vault.config.settings import DEFAULT_INSTANCE_NAME
from owui_vault.errors import ConfigError, DeadlineExceededError
from owui_vault.model.secrets import (
    CommandSecret,
    CredentialSecret,
    EnvironmentSecret,
    FileSecret,
    KeyringSecret,
    SealedSecret,
    SecretReference,
)
from owui_vault.operations.check_configuration import program_of
from owui_vault.system import python
from owui_vault.system.process import Command, run

#: What both schedulers are told to look for programs in: cron's own would be /usr/bin and /bin alone.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EVERY_MINUTES = 10
_NAME = "owui-vault"
_MARK = "# owui-vault schedule of "
_TRIAL_SECONDS = 60.0
#: Among what a scheduler gives: the names of the credentials that it hands over, which are no variable.
CREDENTIALS = ":credentials"
#: Variables that have a say without being named in a configuration.
_SILENT = (
    "TZ", "DOCKER_HOST", "CONTAINER_HOST", "XDG_STATE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
    "BORG_KEYS_DIR", "RCLONE_CONFIG",
)  # fmt: skip
#: The programs that engines start for repositories elsewhere.
_HELPERS = {"rclone:": "rclone", "sftp:": "ssh", "ssh://": "ssh"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The call: `argv` and `run`, every so many minutes; `argv` and `recover` at boot.

    `environment` is all that it needs, and all that a scheduler is asked to give it.
    """

    config: Path
    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    settings: VaultSettings
    every_minutes: int = EVERY_MINUTES

    def shell_line(self, command: str) -> str:
        """The call as a shell reads it."""
        assigned = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*assigned, "exec", shlex.join((*self.argv, command))])


def is_system() -> bool:
    """Whether what is installed is the machine's own: as root."""
    return os.geteuid() == 0


def user_name() -> str:
    """Whose it is."""
    return pwd.getpwuid(os.geteuid()).pw_name


def content_of(path: Path) -> str | None:
    """The text of a file; None: there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def argv(config: Path) -> tuple[str, ...]:
    """The command without its verb. -P: no module is looked for where it happens to be started."""
    return (python.interpreter(), "-P", "-m", "owui_vault", "--quiet", "--config", os.fspath(config))


def surroundings() -> dict[str, str]:
    """The environment of a scheduled call."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    return {"PATH": PATH, "HOME": home, **python.environment(), **python.checkout()}


def tick(
    config: Path, given: Mapping[str, str], environ: Mapping[str, str], *, every_minutes: int = EVERY_MINUTES
) -> tuple[Tick, tuple[str, ...]]:
    """The call for a configuration, and warnings. `given` is what a scheduler adds to the environment of its own.

    Raises ConfigError that names everything that would be missing there.
    """
    _require_nameable(config)
    settings, problems = _problems(config, {**surroundings(), **given}, environ)
    if problems:
        raise ConfigError(
            "\n  ".join([f"{config} would not work when a scheduler calls it", *problems]),
            hint="A scheduler knows nothing of your shell: put what is missing into files, and name these.",
        )
    found = call(config, settings, every_minutes=every_minutes)
    _try(found, given)
    return found, tuple(_differences(settings, given, environ))


def call(config: Path, settings: VaultSettings, *, every_minutes: int = EVERY_MINUTES) -> Tick:
    """The call for a configuration that was read, whether it would work or not."""
    return Tick(
        config=config,
        name=unit_name(settings),
        argv=argv(config),
        environment=surroundings(),
        settings=settings,
        every_minutes=every_minutes,
    )


def obstacles(config: Path, given: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with a configuration that is called by a scheduler already."""
    around = {**surroundings(), **given}
    try:
        return tuple(_problems(config, around, around)[1])
    except ConfigError as error:
        return (error.message,)


def unit_name(settings: VaultSettings) -> str:
    """What the files are called: by the series, so that two instances of a machine have one each.

    cron reads no file with a dot in its name. The underscore keeps what a series is called apart from our own words.
    """
    series = settings.series
    return _NAME if series == DEFAULT_INSTANCE_NAME else f"{_NAME}_{series.replace('.', '_')}"


def mark_of(config: Path) -> str:
    """The first line of each file of ours: whose it is."""
    return f"{_MARK}{config}"


def config_of(content: str) -> Path | None:
    """The configuration that a file of ours calls; None: it is not ours."""
    first = content.partition("\n")[0]
    return Path(first.removeprefix(_MARK)) if first.startswith(f"{_MARK}/") else None


def require_ours(path: Path, there: str | None, config: Path) -> None:
    """Raise ConfigError where a file belongs to somebody else, or to another configuration."""
    if there is None or config_of(there) == config:
        return
    other = config_of(there)
    raise ConfigError(
        f"{path} {f'calls {other}' if other else 'was not written by `owui-vault schedule`'}, and stays as it is",
        hint=f"Remove it{f' (owui-vault --config {other} schedule remove)' if other else ''},"
        " or give this instance another `name`.",
    )


def _require_nameable(config: Path) -> None:
    if any(ord(each) < 32 or ord(each) == 127 for each in os.fspath(config)):
        raise ConfigError("the name of the configuration file has control characters", hint="Rename it.")
    if not config.is_file():
        raise ConfigError(f"there is no configuration at {config}", hint="Pass one with --config FILE.")


def _problems(config: Path, around: Mapping[str, str], environ: Mapping[str, str]) -> tuple[VaultSettings, list[str]]:
    problems = []
    try:
        settings = load_settings(config, around)
    except ConfigError as error:
        problems.append(error.message)
        settings = load_settings(config, {**environ, **around})  # raises where it is wrong everywhere
    for repository in settings.repositories:
        problems += _of_repository(repository, around)
    instance = settings.instance
    for key in ("secret_key", "database_url"):
        if instance and (reference := getattr(instance, key)):
            problems += _of_secret(f"instance.{key}", reference, around)
    return settings, problems


def _of_repository(repository: RepositorySettings, around: Mapping[str, str]) -> Iterator[str]:
    place = f"repositories.{repository.name}"
    yield from _of_program(place, program_of(repository), around)
    own_ssh = "BORG_RSH" in repository.environment or any(each.startswith("sftp.") for each in repository.options)
    for beginning, helper in _HELPERS.items():
        if repository.location.startswith(beginning) and not (helper == "ssh" and own_ssh):
            yield from _of_program(place, helper, around)
    yield from _of_secret(f"{place}.passphrase", repository.passphrase, around)
    for name, reference in repository.environment.items():
        yield from _of_secret(f"{place}.environment.{name}", reference, around)


def _of_program(place: str, program: str, around: Mapping[str, str]) -> Iterator[str]:
    if shutil.which(program, path=around["PATH"]) is None:
        where = "" if "/" in program else f" in {around['PATH']}; give its full path"
        yield f"{place}: there is no program {program}{where}"


def _of_secret(place: str, reference: SecretReference, around: Mapping[str, str]) -> Iterator[str]:
    match reference:
        case EnvironmentSecret(variable=name):
            if not around.get(name):
                yield f"{place}: the environment variable {name} will not be set"
        case FileSecret(path=path):
            yield from _of_file(place, path)
        case CommandSecret(argv=argv):
            yield from _of_program(place, argv[0], around)
        case CredentialSecret(name=name):
            yield from _of_credential(place, name, around)
        case KeyringSecret():
            yield f"{place}: a keyring opens only with its user's session; put the secret into a file"
        case SealedSecret(path=path, unlock=unlock):
            yield from _of_file(place, path)
            yield from _of_secret(place, unlock, around)


def _of_file(place: str, path: Path) -> Iterator[str]:
    if not os.access(path, os.R_OK):
        yield f"{place}: {path} is not there, or cannot be read"


def _of_credential(place: str, name: str, around: Mapping[str, str]) -> Iterator[str]:
    folder = Path(around.get("CREDENTIALS_DIRECTORY") or "/run/secrets")
    if name not in around.get(CREDENTIALS, "").split() and not (folder / name).exists():
        yield f"{place}: nobody hands over the credential {name}; a drop-in of the unit can (docs/systemd.md)"


def _try(found: Tick, given: Mapping[str, str]) -> None:
    """Make the call, without its consequences: the one proof that interpreter, package and configuration are right."""
    command = Command(
        argv=(*found.argv, "run", "--dry-run"),
        environment={**found.environment, **{name: value for name, value in given.items() if name != CREDENTIALS}},
        cwd=Path("/"),
        timeout_seconds=_TRIAL_SECONDS,
    )
    try:
        done = run(command)
    except DeadlineExceededError as error:
        raise ConfigError(f"a trial of the call did not end: {error.message}", hint=error.hint) from error
    if done.status != 0:
        tail = done.stderr_tail.strip().removeprefix("owui-vault: ").replace("\nhint: ", "; ")
        raise ConfigError(
            f"the call fails where a scheduler makes it: {tail}", hint=f"Tried: {shlex.join(command.argv)}"
        )


def _differences(settings: VaultSettings, given: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    """What is set here, will not be there, and may matter."""
    remote = any(each.location.startswith(("sftp:", "ssh://")) for each in settings.repositories)
    names = (*_SILENT, "SSH_AUTH_SOCK") if remote else _SILENT
    for name in names:
        if environ.get(name) and name not in given:
            yield f"{name} is set here, and will not be where the scheduler calls"
