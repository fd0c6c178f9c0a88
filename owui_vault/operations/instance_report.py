"""What an instance holds, and what a backup of it would lose: read without touching it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.database.facts import DatabaseFacts
from owui_vault.components.names import DATABASE, VECTORS, not_the_data
from owui_vault.components.ollama.models import find_models, models_folder
from owui_vault.instance.container.container import FoundContainer
from owui_vault.instance.container.nested_mounts import missed_mounts
from owui_vault.instance.data_dir import FACTS, Sight, look_at
from owui_vault.instance.layout import capture_plan, component_of
from owui_vault.instance.runtime import Surroundings, look_around
from owui_vault.instance.secret_key import better_text, unopened_text
from owui_vault.instance.sqlite_library import notes_on
from owui_vault.manifest.excluded_sizes import left_out
from owui_vault.manifest.inventory import Listed, Totals
from owui_vault.model import (
    CapturePlan,
    Component,
    ComponentSize,
    InstanceReport,
    LeftOut,
    OllamaModel,
    SecretKeyRecord,
    TryKey,
    untried,
)
from owui_vault.ports import Launch, SecretSource
from owui_vault.system.patterns import takes


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
    sight = look_at(request.path, depth=FACTS, vectors=dict(mounted).get(VECTORS))
    around = look_around(
        sight.data_dir,
        secret_key=request.secret_key,
        database_url=request.database_url,
        container=request.container,
        launch=request.launch,
    )
    plan = capture_plan(
        sight.data_dir,
        request.work_dir,
        include=request.include,
        exclude=request.exclude,
        mounted=mounted,
        bucket=around.bucket,
        local_uploads=sight.has_local_uploads,
    )
    missing = left_out(plan)
    facts = sight.facts or DatabaseFacts()
    trial = request.try_key(facts.sealed_values, around.candidates, around.settings)
    key = around.key_record(trial)
    better = better_text(around.keys, trial.chosen)
    return InstanceReport(
        name=request.name,
        data_dir=sight.data_dir,
        fingerprint=facts.fingerprint,
        application_version=around.version,
        alembic_head=facts.alembic_head,
        journal_modes=sight.journal_modes,
        components=tuple(_sizes(plan)),
        left_out=missing,
        collections=sight.store.collections if sight.store else (),
        secret_key=key,
        filesystem=around.filesystem,
        stage=request.work_dir / "stage",
        running=around.running,
        processes=around.holders.pids,
        modes=request.modes,
        warnings=(
            *([better] if better else []),
            *_warnings(sight, around, facts, key=key, missing=_by_the_user(plan, missing)),
            *_mount_warnings(plan, request.container),
        ),
        container=request.container.record if request.container else None,
        providers=around.providers,
        ollama=_ollama(request.ollama_dir),
        sqlite=around.sqlite,
        notes=notes_on(around.sqlite),
    )


def _ollama(place: Path | None) -> tuple[OllamaModel, ...]:
    """What a snapshot would list; what cannot be read is the snapshot's to tell."""
    try:
        folder = models_folder(place) if place else None
    except OSError:
        return ()
    return tuple(each.record(stored=False) for each in find_models(folder)) if folder else ()


def _sizes(plan: CapturePlan) -> Iterator[ComponentSize]:
    """What each component holds in all, and whether anything of it is captured."""
    totals = Totals()
    taken: set[Component] = set()
    for listed in _live_files(plan):
        component = totals.add(listed)
        if component not in taken and takes(plan, listed.path):
            taken.add(component)
    for component, files, size in totals.sums():
        yield ComponentSize(name=component, included=component in taken, files=files, size_bytes=size)


def _live_files(plan: CapturePlan) -> Iterator[Listed]:
    links = dict(plan.links)
    foreign = not_the_data(plan.data_dir)
    waiting = [("", plan.data_dir)]
    while waiting:
        prefix, folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            name = prefix + entry.name
            if name in foreign:
                continue
            if name in links and links[name].is_dir():
                waiting.append((f"{name}/", links[name]))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((f"{name}/", Path(entry.path)))
            else:
                yield Listed(name, _size(entry, follow=name in links))


def _size(entry: os.DirEntry[str], *, follow: bool) -> int:
    try:
        return entry.stat().st_size if entry.is_file(follow_symlinks=follow) else 0
    except OSError:
        return 0


def _warnings(
    sight: Sight, around: Surroundings, facts: DatabaseFacts, *, key: SecretKeyRecord, missing: tuple[LeftOut, ...]
) -> Iterator[str]:
    if around.unsupported:
        yield f"{around.unsupported}: a snapshot of this directory would miss it and is refused"
    if sight.damage:
        yield _encrypted(sight) if around.encrypted and sight.may_be_encrypted else sight.damage
    if sight.no_store and not around.vectors_elsewhere:
        yield sight.no_store
    yield from sight.warnings
    yield from around.warnings
    yield from around.neighbour_warnings(facts)
    yield from _key_warnings(key)
    if facts.remote_files:
        yield f"{facts.remote_files:,} uploads lie in a bucket: only their names are in the database"
    if any(component_of(each.path) in (Component.DATABASE, Component.VECTORS, Component.UPLOADS) for each in missing):
        yield "parts of uploads/ or vector_db/ are excluded by the configuration: a restore will miss them"


def _encrypted(sight: Sight) -> str:
    return (
        f"{sight.data_dir / DATABASE} is encrypted (SQLCipher), which Open WebUI could use up to 0.8: it is stored as"
        " it is, and nobody looks into it. Its key is DATABASE_PASSWORD"
    )


def _by_the_user(plan: CapturePlan, missing: tuple[LeftOut, ...]) -> tuple[LeftOut, ...]:
    """What is left out because somebody wants it, not because it can be had again."""
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
