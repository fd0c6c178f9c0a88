"""Creates the repositories that do not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from owui_vault.context.context import Callbacks, DataDirectory, OperationContext, Repository
from owui_vault.context.state import RepositoryMemory
from owui_vault.errors import (
    ConfigError,
    RepositoryExistsError,
    RepositoryMissingError,
    RepositoryRolledBackError,
    SameRepositoryError,
)
from owui_vault.instance.data_dir import require_not_around
from owui_vault.model import InitializeReport, InitializeResult, RepositoryInfo
from owui_vault.operations.notifications import notify_failures
from owui_vault.repositories.credentials import credentials_of
from owui_vault.repositories.identity import require_new
from owui_vault.repositories.overlap import require_apart, require_engine_kind, require_own_ground
from owui_vault.repositories.repository_client import RepositoryClient, require_same_id


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeRequest:
    """`adopt`: go on with a series of another instance. `again`: make a new repository where a known one was.

    `like`: the repository that new ones are to cut files like; None: the first one that answers and can be copied from.
    """

    names: Sequence[str] = ()
    adopt: bool = False
    again: bool = False
    like: str | None = None


def initialize(context: OperationContext, request: InitializeRequest) -> InitializeReport:
    """Create each repository that is not there yet; an existing one that the passphrase opens is left as it is.

    A repository that fails does not keep the others from it: its error is in the report. Where a known one is gone and
    `again` was not said, that is RepositoryMissingError. When all failed, the first error is raised with `.report`.
    """
    fingerprint = context.fingerprint() if request.adopt else None
    if request.adopt and not fingerprint:
        raise ConfigError(
            "cannot adopt the series: this instance has no users yet, or its database cannot be read",
            hint="Create the first user, then run `init --adopt`.",
        )
    repositories = context.select(request.names)
    if isinstance(context.instance, DataDirectory):
        require_not_around(context.instance.path)
    require_apart(context, repositories)
    for each in repositories:
        require_own_ground(context.repositories, each)
    models = [_model(context, request.like)] if request.like else []
    results = tuple(_attempt(context, each, request, models) for each in repositories)
    warnings = tuple(f"{each.repository}: {text}" for each in results for text in each.warnings)
    report = InitializeReport(repositories=results, warnings=warnings)
    errors = [result.error for result in report.repositories if result.error]
    for error in errors:
        if isinstance(error, SameRepositoryError):  # a mistake in the configuration, and no repository's trouble
            error.report = report
            raise error
    if len(errors) == len(report.repositories):
        errors[0].report = report
        raise errors[0]
    notify_failures(context, "initialize", report.repositories)
    if fingerprint:
        context.state.adopt(context.the_instance().name, fingerprint)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A repository that new ones may be like."""

    client: RepositoryClient
    info: RepositoryInfo


def _model(context: OperationContext, name: str) -> _Model:
    (repository,) = context.select(name)
    client = RepositoryClient(context, repository)
    return _Model(client=client, info=client.inspect())


def _differs(model: _Model | None, client: RepositoryClient, info: RepositoryInfo) -> tuple[str, ...]:
    """A warning where copies would share nothing with what is stored there."""
    if model is None or model.info.chunking == info.chunking:
        return ()
    return (
        f"it cuts files into other pieces than {model.client.name!r}, so that what `replicate` copies between the two"
        f" takes its space twice; a new repository made with `init {client.name} --like {model.client.name}` shares it",
    )


def _attempt(
    context: OperationContext, repository: Repository, request: InitializeRequest, models: list[_Model]
) -> InitializeResult:
    """One repository; later ones may be like it."""
    warnings: list[str] = []
    client = RepositoryClient(context, repository, Callbacks(warn=warnings.append))
    like = next((each for each in models if client.can_copy_from(each.client)), None)
    try:
        info, created = _initialize_one(context, client, request, like)
    except Exception as raised:  # one repository of several
        error = client.failure(raised, "creating")
        return InitializeResult(repository=repository.name, passphrase_source=_source(repository), error=error)
    models.append(_Model(client=client, info=info))
    return InitializeResult(
        repository=repository.name,
        info=info,
        created=created,
        passphrase_source=_source(repository),
        warnings=(*warnings, *_differs(like, client, info)),
        credentials=credentials_of(repository, info, context.environ),
    )


def _source(repository: Repository) -> str:
    return repository.passphrase.describe() if repository.passphrase else "given by the caller"


def _initialize_one(
    context: OperationContext, client: RepositoryClient, request: InitializeRequest, like: _Model | None
) -> tuple[RepositoryInfo, bool]:
    """The repository, and whether it was created."""
    require_engine_kind(client.repository)
    with client.locked():
        known = client.memory
        try:
            info, created = _inspect(client, request), False
        except RepositoryMissingError as error:
            _require_unknown(known, client.repository, request, error)
            info, created = _create(client, like)
        require_new(context, client.repository, info)
        if not created and not request.again:
            require_same_id(known.id, info)
        elif not created:
            client.forget()
        context.state.remember_repository(client.folder, info.id)
    return info, created


def _inspect(client: RepositoryClient, request: InitializeRequest) -> RepositoryInfo:
    try:
        return client.inspect()
    except RepositoryRolledBackError:
        if not request.again:
            raise
        client.forget()
        return client.inspect()


def _create(client: RepositoryClient, like: _Model | None) -> tuple[RepositoryInfo, bool]:
    try:
        if like:
            return client.initialize_like(like.client), True
        return client.initialize(), True
    except RepositoryExistsError:
        # Somebody else made it in this moment.
        return client.inspect(), False


def _require_unknown(
    known: RepositoryMemory, repository: Repository, request: InitializeRequest, error: RepositoryMissingError
) -> None:
    if known.id and not request.again:
        raise RepositoryMissingError(
            f"repository {repository.name!r} was at {repository.engine.location} and is no longer there",
            engine=repository.engine.name,
            hint="Is its disk or share mounted? If it is gone for good, run `init --again`.",
        ) from error
