"""Inspects the instance without touching it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from owui_vault.components.database.facts import DatabaseFacts
from owui_vault.components.names import DATABASE, VECTORS
from owui_vault.components.ollama.models import find_models, models_folder
from owui_vault.context.context import OperationContext
from owui_vault.instance.container.container import FoundContainer
from owui_vault.instance.container.nested_mounts import missed_mounts
from owui_vault.instance.data_dir import FACTS, ProbeResult, directory_at, probe_instance
from owui_vault.instance.layout import capture_plan, component_of
from owui_vault.instance.runtime import RuntimeEnvironment, inspect_environment
from owui_vault.instance.secret_key import better_text, unopened_text
from owui_vault.instance.sqlite_library import notes_on
from owui_vault.manifest.excluded_sizes import excluded_sizes, idle_warnings
from owui_vault.manifest.inventory import Listed, Totals, walk_live
from owui_vault.model import (
    CapturePlan,
    Component,
    ComponentSize,
    InstanceReport,
    LeftOut,
    OllamaModel,
    OllamaModels,
    Quiesce,
    SecretKeyRecord,
    TryKey,
    untried,
)
from owui_vault.operations.recovery.recover import work_folder
from owui_vault.ports import Launch, SecretSource
from owui_vault.repositories.overlap import among_the_data
from owui_vault.secrets.application_key import try_key
from owui_vault.system.patterns import takes


def inspect(context: OperationContext) -> InstanceReport:
    """What the instance holds, where its stage will lie, and what a snapshot would not cover."""
    instance = context.the_instance()
    data_dir = directory_at(instance.path)
    modes = {Quiesce.AUTO, Quiesce.LIVE, *(context.quiescer.modes if context.quiescer else ())}
    report = inspect_instance(
        InspectRequest(
            name=instance.name,
            path=data_dir,
            work_dir=work_folder(context, data_dir),
            modes=tuple(mode.value for mode in Quiesce if mode in modes),
            include=instance.include,
            exclude=instance.exclude,
            secret_key=instance.secret_key,
            database_url=instance.database_url.reveal() if instance.database_url else "",
            container=context.container,
            launch=context.launch(),
            try_key=try_key,
            ollama_dir=instance.ollama_dir if instance.ollama is not OllamaModels.OFF else None,
        )
    )
    among = (f"{found}: a snapshot is refused" for found in among_the_data(context, context.repositories))
    return replace(report, warnings=(*report.warnings, *among))


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """Which instance to look at, and with which configuration."""

    path: Path
    name: str
    work_dir: Path
    modes: tuple[str, ...]  # the quiesce modes the caller can offer
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    secret_key: SecretSource | None = None
    database_url: str = ""
    container: FoundContainer | None = None
    ollama_dir: Path | None = None  # None: not asked for
    launch: Launch | None = None
    try_key: TryKey = untried


def inspect_instance(request: InspectRequest) -> InstanceReport:
    """Look at an instance. Raises InstanceNotFoundError; what a snapshot would miss becomes a warning."""
    mounted = request.container.mounted if request.container else ()
    probe = probe_instance(request.path, depth=FACTS, vectors=dict(mounted).get(VECTORS))
    environment = inspect_environment(
        probe.data_dir,
        secret_key=request.secret_key,
        database_url=request.database_url,
        container=request.container,
        launch=request.launch,
    )
    plan = capture_plan(
        probe.data_dir,
        request.work_dir,
        include=request.include,
        exclude=request.exclude,
        mounted=mounted,
        bucket=environment.bucket,
        local_uploads=probe.has_local_uploads,
    )
    missing = excluded_sizes(plan)
    closed: list[str] = []
    sizes = tuple(_sizes(plan, closed.append))
    facts = probe.facts or DatabaseFacts()
    trial = request.try_key(facts.sealed_values, environment.candidates, environment.settings)
    key = environment.key_record(trial)
    better = better_text(environment.keys, trial.chosen)
    return InstanceReport(
        name=request.name,
        data_dir=probe.data_dir,
        fingerprint=facts.fingerprint,
        application_version=environment.version,
        alembic_head=facts.alembic_head,
        journal_modes=probe.journal_modes,
        components=sizes,
        left_out=missing,
        collections=probe.store.collections if probe.store else (),
        secret_key=key,
        filesystem=environment.filesystem,
        stage=request.work_dir / "stage",
        running=environment.running,
        running_is_known=environment.running_is_known,
        processes=environment.holders.pids,
        modes=request.modes,
        warnings=(
            *([better] if better else []),
            *_warnings(probe, environment, facts, key=key, missing=_by_the_user(plan, missing)),
            *(
                f"{each} cannot be read by this user: a snapshot that it takes would miss what is there"
                for each in closed
            ),
            *_mount_warnings(plan, request.container),
            *idle_warnings(plan, include=request.include, exclude=request.exclude),
        ),
        container=request.container.record if request.container else None,
        providers=environment.providers,
        ollama=_ollama(request.ollama_dir),
        sqlite=environment.sqlite,
        notes=notes_on(environment.sqlite),
    )


def _ollama(place: Path | None) -> tuple[OllamaModel, ...]:
    """What a snapshot would list; what cannot be read is the snapshot's to tell."""
    try:
        folder = models_folder(place) if place else None
    except OSError:
        return ()
    return tuple(each.record(stored=False) for each in find_models(folder)) if folder else ()


def _sizes(plan: CapturePlan, closed: Callable[[str], object]) -> Iterator[ComponentSize]:
    """What each component holds in all, and whether anything of it is captured."""
    totals = Totals()
    taken: set[Component] = set()
    for name, size_bytes in walk_live(plan, closed=closed):
        component = totals.add(Listed(name, size_bytes()))
        if component not in taken and takes(plan, name):
            taken.add(component)
    for component, files, total_bytes in totals.sums():
        yield ComponentSize(name=component, included=component in taken, files=files, size_bytes=total_bytes)


def _warnings(
    probe: ProbeResult,
    environment: RuntimeEnvironment,
    facts: DatabaseFacts,
    *,
    key: SecretKeyRecord,
    missing: tuple[LeftOut, ...],
) -> Iterator[str]:
    if environment.unsupported:
        yield f"{environment.unsupported}: a snapshot of this directory would miss it and is refused"
    if probe.damage:
        yield _encrypted(probe) if environment.encrypted and probe.may_be_encrypted else probe.damage
    if probe.no_store and not environment.vectors_elsewhere:
        yield probe.no_store
    yield from probe.warnings
    yield from environment.warnings
    yield from environment.neighbour_warnings(facts)
    yield from _key_warnings(key)
    if facts.remote_files:
        yield f"{facts.remote_files:,} uploads are in a bucket: only their names are in the database"
    if any(component_of(each.path) in (Component.DATABASE, Component.VECTORS, Component.UPLOADS) for each in missing):
        yield "parts of uploads/ or vector_db/ are excluded by the configuration: a restore will miss them"


def _encrypted(probe: ProbeResult) -> str:
    return (
        f"{probe.data_dir / DATABASE} is encrypted (SQLCipher), which Open WebUI could use up to 0.8: it is stored as"
        " it is, and its content is not checked. Its key is DATABASE_PASSWORD"
    )


def _by_the_user(plan: CapturePlan, missing: tuple[LeftOut, ...]) -> tuple[LeftOut, ...]:
    """What is left out because somebody wants it, not because it can be made again."""
    ours = {pattern for pattern, _reason in plan.reasons}
    return tuple(each for each in missing if each.path not in ours)


def _mount_warnings(plan: CapturePlan, container: FoundContainer | None) -> Iterator[str]:
    for each in missed_mounts(plan, container.nested if container else ()):
        yield f"{each}: a snapshot will be INCOMPLETE. Run owui_vault where it can be reached (docs/docker.md)"


def _key_warnings(key: SecretKeyRecord) -> Iterator[str]:
    """What is said when there is no secret key to store, or not the right one."""
    if not key.found:
        lost = f", and {'; '.join(key.needed_because)} cannot be opened any more" if key.needed_because else ""
        yield (
            f"the secret key was not found: after a restore everybody must sign in again{lost}."
            " Name it in instance.secret_key"
        )
    if wrong := unopened_text(key):
        yield f"{wrong}. Name the right one in instance.secret_key: a snapshot will be INCOMPLETE"
