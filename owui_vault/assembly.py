"""The only place that chooses implementations: settings to a vault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from owui_vault.config import (
    EngineName,
    HeartbeatSettings,
    InstanceSettings,
    NotificationSettings,
    RepositorySettings,
    Unproven,
    VaultSettings,
    load_settings,
    load_telling,
)
from owui_vault.context.context import Container, DataDirectory, Limits, Repository, Subscription
from owui_vault.errors import ConfigError, VaultError
from owui_vault.model import CaptureLimits, NoticeSink, RetentionPolicy, ignore_notice
from owui_vault.model.secrets import GivenSecret
from owui_vault.ports import Engine, Heartbeat, Quiescer, SecretSource
from owui_vault.secrets import secret_source
from owui_vault.system.python import environ_or_own
from owui_vault.vault import Vault, tell_that_nothing_starts

if TYPE_CHECKING:
    from owui_vault.model import ContainerRecord
    from owui_vault.model.config_reports import ConfigurationReport, EffectiveSettings

# What a configuration does not name is not imported: two engines take longer than the rest of a start.
# ruff: noqa: PLC0415


def open_vault(config: Path | str, environ: Mapping[str, str] | None = None) -> Vault:
    """A vault as a configuration file describes it.

    Reads that file only: no repository and no instance is touched, no passphrase asked for, no signal handler
    installed. `environ` gives the values of `${NAME}` in the file (None: this process's environment). Raises
    ConfigError that names every mistake.
    """
    given = environ_or_own(environ)
    return vault_from_settings(load_settings(Path(config), given), given)


def discover(container: str, environ: Mapping[str, str]) -> ContainerRecord:
    """The container of this name, or the only one of Open WebUI. Raises InstanceError, with those there are."""
    from owui_vault.containers.reader import engine_addresses
    from owui_vault.instance.container.container import find_container

    return find_container(container, engine_addresses(environ)).record


def data_directory(path: Path) -> Path:
    """The data directory there, by its names alone. Raises InstanceNotFoundError, with the one that may be meant."""
    from owui_vault.instance.data_dir import directory_at

    return directory_at(path)


def data_dir_of_unit(unit: str) -> Path:
    """Where a systemd unit says that its Open WebUI keeps its data. Raises ConfigError."""
    from owui_vault.quiesce.unit_settings import launch_of

    launch = launch_of(unit if "." in unit else f"{unit}.service")
    named = launch.settings.get("DATA_DIR", "")
    if not named or not (Path(named).is_absolute() or launch.folder):
        why = "; ".join(launch.unknown) or f"unit {unit} sets no DATA_DIR"
        raise ConfigError(f"where the data are is not known: {why}", hint="Pass --data-dir DIR as well.")
    return (launch.folder or Path("/")) / named


def check_configuration(config: Path | str, environ: Mapping[str, str] | None = None) -> ConfigurationReport:
    """Read a configuration and say what deserves a second look; no instance is touched, no repository asked.

    `environ` as for `open_vault`. Raises ConfigError that names every mistake.
    """
    from owui_vault.operations import check_configuration as checks

    return checks.check_configuration(Path(config), environ_or_own(environ))


def effective_settings(config: Path | str, environ: Mapping[str, str] | None = None) -> EffectiveSettings:
    """The settings that a configuration puts into effect, each with where it came from; no secret is among them.

    `environ` as for `open_vault`. Raises ConfigError that names every mistake.
    """
    from owui_vault.operations.effective_settings import settings_of_file

    return settings_of_file(Path(config), environ_or_own(environ))


def settings_of_options(settings: VaultSettings, environ: Mapping[str, str]) -> EffectiveSettings:
    """The same for settings that stand in no file."""
    from owui_vault.operations import effective_settings as effective

    return effective.settings_of_options(settings, environ)


def vault_from_settings(
    settings: VaultSettings, environ: Mapping[str, str], notices: NoticeSink = ignore_notice
) -> Vault:
    """A vault from settings that were read already, or put together from command line options."""
    instance = settings.instance
    limits = settings.limits
    return Vault(
        _instance(instance, environ) if instance else None,
        [_repository(each, environ) for each in settings.repositories],
        quiescer=_quiescer(instance) if instance else None,
        state_dir=settings.state_dir,
        series=instance.name if instance else None,
        limits=Limits(
            parallel=limits.parallel,
            lock_wait_seconds=limits.lock_wait.total_seconds(),
            idle_seconds=limits.idle.total_seconds(),
            store_seconds=limits.store.total_seconds() if limits.store else None,
            capture=CaptureLimits(
                freeze_seconds=limits.freeze.total_seconds(), stop_seconds=limits.stop.total_seconds()
            ),
        ),
        collapse=settings.collapse,
        config_file=settings.path,
        environ=environ,
        plans=settings.plans,
        pages=settings.pages,
        notices=notices,
        notifiers=list(_subscriptions(settings.notifications, environ)),
        heartbeat=_heartbeat(settings.heartbeat, environ) if settings.heartbeat else None,
        plan_heartbeats={name: _heartbeat(each, environ) for name, each in settings.plan_heartbeats.items()},
    )


def tell_of_mistakes(config: Path | str, error: ConfigError, environ: Mapping[str, str] | None = None) -> None:
    """Tell whoever a configuration file names that nothing can be started with it, as long as that is so: once.

    Notifications and heartbeats are read by themselves, whatever else is wrong in the file. Raises nothing: of a file
    that cannot be read or parsed, or that others can write, nobody is told.
    """
    given = environ_or_own(environ)
    try:
        settings = load_telling(Path(config), given)
        vault = vault_from_settings(settings, given)
    except VaultError:
        return
    tell_that_nothing_starts(vault, error)


def _subscriptions(settings: Sequence[NotificationSettings], environ: Mapping[str, str]) -> Iterator[Subscription]:
    """Known again by address, or by where it is kept: not by the place in the list."""
    if not settings:
        return
    from owui_vault.notify.apprise_notifier import AppriseNotifier

    known: Counter[str] = Counter()
    for number, each in enumerate(settings, 1):
        source = secret_source(each.url, environ)
        given = each.url.secret.reveal() if isinstance(each.url, GivenSecret) else source.describe()
        known[given] += 1
        yield Subscription(
            AppriseNotifier(source, environ),
            when=each.when,
            remind=each.remind,
            plans=each.plans,
            name=f"notifications[{number}]",
            remembered_as=f"{given} {known[given]}",
        )


def _heartbeat(settings: HeartbeatSettings, environ: Mapping[str, str]) -> Heartbeat:
    from owui_vault.notify.heartbeat import UrlHeartbeat

    return UrlHeartbeat(secret_source(settings.url, environ), log=settings.log, environ=environ)


def _instance(instance: InstanceSettings, environ: Mapping[str, str]) -> DataDirectory | Container | None:
    kind: Callable[..., DataDirectory | Container]
    if instance.container is not None:
        kind = partial(Container, instance.container, engine=environ.get("DOCKER_HOST", ""))
    elif instance.data_dir is not None:
        kind = partial(DataDirectory, instance.data_dir)
    else:
        return None
    return kind(
        name=instance.name,
        quiesce=instance.quiesce,
        include=instance.include,
        exclude=instance.exclude,
        store_unproven=instance.unproven is Unproven.STORE,
        secret_key=secret_source(instance.secret_key, environ) if instance.secret_key else None,
        database_url=secret_source(instance.database_url, environ) if instance.database_url else None,
        ollama=instance.ollama,
        ollama_dir=instance.ollama_dir,
    )


def _quiescer(instance: InstanceSettings) -> Quiescer | None:
    if instance.systemd_unit:
        from owui_vault.quiesce.systemd import UnitQuiescer

        return UnitQuiescer(instance.systemd_unit)
    if instance.pid_file:
        from owui_vault.quiesce.process import ProcessQuiescer

        return ProcessQuiescer(instance.pid_file)
    return None


def _repository(settings: RepositorySettings, environ: Mapping[str, str]) -> Repository:
    passphrase = secret_source(settings.passphrase, environ)
    environment = {name: secret_source(value, environ) for name, value in settings.environment.items()}
    return Repository(
        settings.name,
        _engine(settings, passphrase, environment),
        keep=settings.keep or RetentionPolicy(),
        passphrase=passphrase,
        secrets=tuple(environment.values()),
        optional=settings.optional,
        credentials=tuple(f"{name}: {source.describe()}" for name, source in environment.items()),
        append_only=settings.append_only,
    )


def _engine(settings: RepositorySettings, passphrase: SecretSource, environment: Mapping[str, SecretSource]) -> Engine:
    match settings.engine:
        case EngineName.RESTIC:
            from owui_vault.engines.restic.engine import ResticEngine

            return ResticEngine(
                settings.location,
                passphrase,
                environment=environment,
                program=settings.program or "restic",
                options=[f"{name}={value}" for name, value in settings.options.items()],
                upload_limit=settings.upload_limit,
                download_limit=settings.download_limit,
                compression=settings.compression,
            )
        case EngineName.BORG:
            from owui_vault.engines.borg.engine import BorgEngine

            return BorgEngine(
                settings.location,
                passphrase,
                environment=environment,
                program=settings.program or "borg",
                upload_limit=settings.upload_limit,
                compression=settings.compression,
            )
