"""Planning an in-place restore: what would be exchanged, whether it fits, and whether the application can open it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from owui_vault.errors import RestoreError, TargetError
from owui_vault.instance.layout import component_of
from owui_vault.instance.locate import Sight, directory_at, look_at
from owui_vault.instance.names import WORK_DIR
from owui_vault.instance.surroundings import Surroundings
from owui_vault.model import Component, InstanceState, Manifest, Quiesce, ReplacementPlan, Snapshot
from owui_vault.ports import Application
from owui_vault.system.files import free_bytes
from owui_vault.system.patterns import matches
from owui_vault.vault.parts import Parts, Watch
from owui_vault.vault.reading import Found, find, read_key, read_manifest

_SPARE_BYTES = 256 << 20
_CACHE = "cache"
_LEFT_OUT = (Component.CACHE, Component.AUDIT_LOG)  # not in a snapshot unless they were included
_OUTSIDE = (Component.SECRET_KEY, Component.CONFIGURATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementRequest:
    """What the caller asked for. `components` None: everything the snapshot holds of the data directory."""

    snapshot: Snapshot | str = "latest"
    components: Sequence[Component] | None = None
    repository: str | None = None
    watch: Watch = field(default_factory=Watch)


def plan_replacement(parts: Parts, request: ReplacementRequest, application: Application) -> ReplacementPlan:
    """Look, touch nothing. Raises RestoreError where it cannot be done, with the reason and what to do."""
    data_dir = directory_at(parts.the_instance().path)
    around = parts.look_around()
    found = find(parts, request.snapshot, request.repository, request.watch)
    manifest = read_manifest(parts, found, request.watch)
    components = _components(manifest, request.components)
    exchanged, stays = divided(data_dir, manifest, components)
    stops = what_stops(parts, around)
    _demand_known_schema(manifest, components, application)
    plan = ReplacementPlan(
        snapshot=found.snapshot,
        manifest=manifest,
        data_dir=data_dir,
        components=components,
        parts=exchanged,
        stays=stays,
        stops=stops,
        needed_bytes=sum(record.size_bytes for record in manifest.components if record.name in components)
        + _SPARE_BYTES,
        free_bytes=free_bytes(data_dir),
        app_data_dir=_app_data_dir(data_dir, around),
        warnings=(
            *_warnings(data_dir, manifest, components, application, exchanged),
            *_key_warnings(parts, found, manifest, around),
        ),
    )
    if plan.needed_bytes > plan.free_bytes:
        raise TargetError(
            f"{data_dir} needs {plan.needed_bytes / 1e6:,.0f} MB beside the data it holds, and"
            f" {plan.free_bytes / 1e6:,.0f} MB are free",
            hint="Free some space there: today's data are kept until `discard`.",
        )
    return plan


def _components(manifest: Manifest, wanted: Sequence[Component] | None) -> tuple[Component, ...]:
    """The components that are exchanged; all of them includes those of which the snapshot holds nothing."""
    held = tuple(record.name for record in manifest.components if record.name not in _OUTSIDE)
    if wanted is None:
        return tuple(each for each in Component if each not in _OUTSIDE and (each in held or each not in _LEFT_OUT))
    missing = [each.value for each in wanted if each not in held]
    if missing:
        raise TargetError(
            f"snapshot {manifest.id} holds no {', '.join(missing)} that lies in the data directory",
            hint=f"It holds {', '.join(each.value for each in held)}.",
        )
    return tuple(each for each in held if each in wanted)


def divided(
    data_dir: Path, manifest: Manifest, components: Sequence[Component]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What there is now, divided into what makes room for the components and what stays."""
    exchanged: list[str] = []
    stays: list[str] = []
    for name in sorted(units(data_dir)):
        left_out = any(matches(each.path, name) for each in manifest.left_out)
        takes_part = component_of(name) in components and not left_out
        (exchanged if takes_part else stays).append(name)
    return tuple(exchanged), tuple(stays)


def units(data_dir: Path) -> Iterator[str]:
    """The parts a data directory is exchanged by: its entries, and two levels down where the cache mixes components."""
    for name in os.listdir(data_dir):
        if name == WORK_DIR:
            continue
        if name == _CACHE and (data_dir / name).is_dir():
            yield from _cache_units(data_dir)
        else:
            yield name


def _cache_units(data_dir: Path) -> Iterator[str]:
    for name in os.listdir(data_dir / _CACHE):
        if name == "image" and (data_dir / _CACHE / name).is_dir():
            yield from (f"{_CACHE}/{name}/{each}" for each in os.listdir(data_dir / _CACHE / name))
        else:
            yield f"{_CACHE}/{name}"


def what_stops(parts: Parts, around: Surroundings) -> str:
    """The name of what would be stopped; empty when nothing runs. Raises RestoreError when it cannot be stopped."""
    quiescer = parts.quiescer
    if quiescer and Quiesce.STOP in quiescer.modes:
        return "" if quiescer.observe().state is InstanceState.STOPPED else quiescer.name
    if around.holders.found:
        running = ", ".join(f"{each.name} ({each.pid})" for each in around.holders.found)
        raise RestoreError(
            f"Open WebUI runs on this directory ({running}), and nothing here can stop and start it",
            hint="Stop it yourself first, or set instance.container or instance.systemd_unit. A container that its"
            " engine removes when it stops (--rm) cannot be restored in place.",
        )
    if around.holders.hidden and os.geteuid() != 0:  # root misses only those that end meanwhile
        raise RestoreError(
            f"{around.holders.hidden} processes of other users may have this directory open",
            hint="Run as root, so that it can be seen whether Open WebUI runs.",
        )
    return ""


def _demand_known_schema(manifest: Manifest, components: Sequence[Component], application: Application) -> None:
    """Refuse what the application to be started would not open, or worse, would half migrate."""
    known = application.revisions()
    if Component.DATABASE not in components or known is None or not manifest.application.alembic_head:
        return
    unknown = sorted(set(manifest.application.alembic_head.split(",")) - known)
    if unknown:
        version = manifest.application.version or "a newer version"
        raise RestoreError(
            f"snapshot {manifest.id} has the schema {', '.join(unknown)}, which the installed Open WebUI does not know",
            hint=f"Install the version the snapshot was taken of ({version}) or a newer one, then try again.",
        )


def _app_data_dir(data_dir: Path, around: Surroundings) -> str:
    """Where the application sees the directory now: restored rows must name that."""
    sight: Sight = look_at(data_dir)
    seen = sight.facts.app_data_dir if sight.facts else ""
    return seen or around.app_data_dir or os.fspath(data_dir)


def _warnings(
    data_dir: Path,
    manifest: Manifest,
    components: Sequence[Component],
    application: Application,
    exchanged: Sequence[str],
) -> Iterator[str]:
    together = {Component.DATABASE, Component.VECTORS, Component.UPLOADS}
    if together & set(components) and not together <= set(components):
        yield "only some of database, vectors and uploads are restored: they will belong to different moments"
    yield from (f"the snapshot is INCOMPLETE: {problem}" for problem in manifest.problems)
    if application.revisions() is None:
        yield "the installed Open WebUI could not be asked which schemas it knows"
    for name in exchanged:
        if (data_dir / name).is_symlink():
            yield f"{name} is a link to {(data_dir / name).readlink()}: the restored data will lie in {data_dir} itself"


def _key_warnings(parts: Parts, found: Found, manifest: Manifest, around: Surroundings) -> Iterator[str]:
    """The key lies outside the data and is not exchanged with them: whether the instance has the snapshot's."""
    stored = read_key(parts, found, Watch()) if manifest.secret_key.found else None
    lost = "; ".join(manifest.secret_key.needed_because)
    if stored is None:
        if lost:
            yield f"the snapshot holds no secret key; the instance keeps its own, which may not open: {lost}"
        return
    if around.key and around.key.key.reveal().strip() == stored.reveal().strip():
        return
    has = f"has another one ({around.key.source})" if around.key else "has none that was found"
    how = "start the container anew with WEBUI_SECRET_KEY set to it" if around.container else "give it to Open WebUI"
    yield (
        f"the secret key of the snapshot is not restored in place, and the instance {has}: everybody must sign in again"
        f"{f', and these cannot be opened: {lost}' if lost else ''}. To have it back: `restore {manifest.id}"
        f" --component secret_key --target DIR`, then {how} (DIR/outside/webui_secret_key)"
    )
