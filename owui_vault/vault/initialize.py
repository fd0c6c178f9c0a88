"""Creating the repositories that do not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from owui_vault.errors import ConfigError, RepositoryExistsError, RepositoryMissingError
from owui_vault.model import InitializeReport, InitializeResult, RepositoryInfo
from owui_vault.system.lock import directory_lock
from owui_vault.vault.parts import Parts, Repository
from owui_vault.vault.state import RepositoryMemory
from owui_vault.vault.survey import patiently


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeRequest:
    """`adopt`: go on with a series of another instance. `again`: make a new repository where a known one was."""

    names: Sequence[str] = ()
    adopt: bool = False
    again: bool = False


def initialize(parts: Parts, request: InitializeRequest, fingerprint: str = "") -> InitializeReport:
    """Create each repository that is not there yet; an existing one that the passphrase opens is left as it is.

    Raises RepositoryMissingError, with a hint, where a known repository is gone and `again` was not said.
    """
    results = tuple(_initialize_one(parts, each, request) for each in parts.select(request.names))
    if request.adopt:
        _adopt(parts, fingerprint)
    return InitializeReport(repositories=results)


def _initialize_one(parts: Parts, repository: Repository, request: InitializeRequest) -> InitializeResult:
    call = parts.call(repository)
    with directory_lock(
        call.folder, wait_seconds=parts.limits.lock_wait_seconds, clock=parts.clock, what=repository.name
    ):
        known = parts.state.repository_memory(call.folder)
        try:
            info, created = patiently(parts, lambda: repository.engine.inspect(call)), False
        except RepositoryMissingError as error:
            _demand_unknown(known, repository, request, error)
            info, created = _create(parts, repository)
        if not created:
            _demand_same_id(known, info, request)
        parts.state.remember_repository(call.folder, info.id)
    return InitializeResult(
        repository=repository.name,
        info=info,
        created=created,
        passphrase_source=repository.passphrase.describe() if repository.passphrase else "given by the caller",
    )


def _create(parts: Parts, repository: Repository) -> tuple[RepositoryInfo, bool]:
    call = parts.call(repository)
    try:
        return repository.engine.initialize(call), True
    except RepositoryExistsError:
        # Somebody else made it in this moment.
        return repository.engine.inspect(call), False


def _demand_unknown(
    known: RepositoryMemory, repository: Repository, request: InitializeRequest, error: RepositoryMissingError
) -> None:
    if known.id and not request.again:
        raise RepositoryMissingError(
            f"repository {repository.name!r} was at {repository.engine.location} and is not there now",
            engine=repository.engine.name,
            hint="Is its disk or share mounted? If it is gone for good, run `init --again`.",
        ) from error


def _demand_same_id(known: RepositoryMemory, info: RepositoryInfo, request: InitializeRequest) -> None:
    if known.id and known.id != info.id and not request.again:
        raise RepositoryMissingError(
            f"another repository ({info.id[:10]}) lies at {info.location} where {known.id[:10]} was",
            engine=info.engine,
            hint="Is the right disk or share mounted? If the old one is gone for good, run `init --again`.",
        )


def _adopt(parts: Parts, fingerprint: str) -> None:
    if not fingerprint:
        raise ConfigError(
            "there is nothing to adopt the series for: this instance has no user yet, or its database cannot be read",
            hint="Create the first user, then run `init --adopt`.",
        )
    parts.state.adopt(parts.the_instance().name, fingerprint)
