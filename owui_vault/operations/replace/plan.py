"""Plans an in-place restore: what would be replaced, whether it fits, and whether the application can open it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from owui_vault.components.database.upload_paths import decide_in_place
from owui_vault.components.names import DATABASE
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.errors import RestoreError, TargetError, WrongInstanceError
from owui_vault.instance.data_dir import FACTS, ProbeResult, probe_instance, restorable_at
from owui_vault.instance.layout import OUTSIDE_COMPONENTS, component_of, deleted_at_start
from owui_vault.instance.runtime import RuntimeEnvironment
from owui_vault.instance.secret_key import FoundKey
from owui_vault.model import Component, InstanceState, Manifest, Quiesce, ReplacementPlan, Snapshot
from owui_vault.operations.recovery.previous_data import require_no_link
from owui_vault.operations.recovery.recover import recover_first
from owui_vault.operations.recovery.swap import cannot_write, running_swap, swap_units
from owui_vault.operations.replace.rename_check import require_not_mounted, require_renamable
from owui_vault.operations.restore.quiet_start import check_can_be_quiet, will_fire
from owui_vault.ports import Application, Quiescer
from owui_vault.repositories.lookup import LocatedSnapshot, find, read_key, read_manifest
from owui_vault.repositories.overlap import require_apart
from owui_vault.system.durable_files import free_bytes
from owui_vault.system.mounts import is_within
from owui_vault.system.patterns import matches

_SPARE_BYTES = 256 << 20
_LEFT_OUT = (Component.CACHE, Component.AUDIT_LOG)  # not in a snapshot unless they were included


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementRequest:
    """What the caller asked for. `components` None: everything the snapshot holds of the data directory."""

    snapshot: Snapshot | str = "latest"
    components: Sequence[Component] | None = None
    repository: str | None = None
    quiet_start: bool = False
    callbacks: Callbacks = field(default_factory=Callbacks)


def plan_replacement(
    context: OperationContext, request: ReplacementRequest, application: Application
) -> ReplacementPlan:
    """Look, touch nothing. Raises RestoreError where it cannot be done, with the reason and what to do.

    The database may be missing or damaged, the directory empty: that is what snapshots are for. What an earlier restore
    left half replaced is rolled back first.
    """
    data_dir = _place(context)
    environment = context.inspect_environment()
    _refuse_doomed(data_dir, environment)
    probe = _look(data_dir, encrypted=environment.encrypted)
    found = find(context, request.snapshot, request.repository, request.callbacks)
    manifest = read_manifest(context.state, found)
    _require_same_instance(context, manifest, probe)
    components = _components(manifest, request.components)
    exchanged, stays = divided(data_dir, manifest, components)
    stops = what_stops(context.quiescer, environment)
    require_renamable(data_dir, exchanged)
    require_not_mounted(context.container, components, exchanged)
    require_known_schema(manifest, components, application)
    if request.quiet_start:
        check_can_be_quiet(manifest, components)
    needed = sum(record.size_bytes for record in manifest.components if record.name in components) + _SPARE_BYTES
    _require_room(data_dir, needed)
    key = planned_key(context, found, manifest, environment) if Component.DATABASE in components else PlannedKey()
    return ReplacementPlan(
        snapshot=found.snapshot,
        manifest=manifest,
        data_dir=data_dir,
        components=components,
        parts=exchanged,
        stays=stays,
        stops=stops,
        needed_bytes=needed,
        free_bytes=free_bytes(data_dir),
        app_data_dir=_seen_at(data_dir, manifest, environment, probe),
        warnings=(
            *found.warnings,
            *_warnings(manifest, components, application, probe),
            *will_fire(manifest, components, quiet=request.quiet_start),
            *_link_warnings(data_dir, exchanged),
            *key.warnings,
        ),
        key_file=key.file,
        unanswered=found.unanswered,
        quiet_start=request.quiet_start,
        unknown_version=_unknown_version(manifest, components, application, probe),
    )


def _place(context: OperationContext) -> Path:
    data_dir = restorable_at(context.the_instance().path)
    require_apart(context, context.repositories)
    require_no_link(data_dir)
    if os.statvfs(data_dir).f_flag & os.ST_RDONLY:
        raise cannot_write(data_dir, OSError(errno.EROFS, os.strerror(errno.EROFS)))
    if running_swap(data_dir).exists():
        recover_first(context)
    return data_dir


def _refuse_doomed(data_dir: Path, environment: RuntimeEnvironment) -> None:
    if deleted_at_start(data_dir, environment.settings):
        raise RestoreError(
            f"{data_dir} is the folder that Open WebUI, installed by pip, deletes at its next start",
            hint="It moves what is there into its package, since DATA_DIR is not set. Restore into a directory"
            " elsewhere (`--target`), and start it with DATA_DIR set to the restored data.",
        )


def _look(data_dir: Path, *, encrypted: bool) -> ProbeResult | None:
    """What the database of today tells; None where there is none. Raises InstanceNotFoundError for a foreign one."""
    if not os.path.lexists(data_dir / DATABASE):
        return None
    probe = probe_instance(data_dir, depth=FACTS, ruins=True)
    return replace(probe, damage="") if encrypted and probe.may_be_encrypted else probe


def _seen_at(data_dir: Path, manifest: Manifest, environment: RuntimeEnvironment, probe: ProbeResult | None) -> str:
    """Where the application sees the directory: as its surroundings, or the rows of today's uploads, name it."""
    written = probe.facts.app_data_dir if probe and probe.facts else ""
    return decide_in_place(data_dir, manifest.application, told=environment.app_data_dir, written=written).app_data_dir


def _require_same_instance(context: OperationContext, manifest: Manifest, probe: ProbeResult | None) -> None:
    now = probe.fingerprint if probe else ""
    adopted = context.state.instance_memory(context.series()).adopted
    if now and manifest.fingerprint and now not in (manifest.fingerprint, adopted):
        raise WrongInstanceError(
            f"snapshot {manifest.id} is of another instance (its fingerprint is {manifest.fingerprint[:12]}, this one's"
            f" {now[:12]}): it would replace data that it does not hold",
            hint="If this instance replaces the old one for good (a new installation), run `init --adopt` first."
            " Otherwise restore into a separate directory (`--target`).",
        )


def _require_room(data_dir: Path, needed_bytes: int) -> None:
    free = free_bytes(data_dir)
    if needed_bytes > free:
        raise TargetError(
            f"{data_dir} needs {needed_bytes / 1e6:,.0f} MB beside the data it holds, but only {free / 1e6:,.0f} MB are"
            " free",
            hint="Free some space there: the previous data are kept until `discard`.",
        )


def _components(manifest: Manifest, wanted: Sequence[Component] | None) -> tuple[Component, ...]:
    """The components that are exchanged; all of them includes those of which the snapshot holds nothing."""
    held = tuple(record.name for record in manifest.components if record.name not in OUTSIDE_COMPONENTS)
    if wanted is None:
        return tuple(
            each for each in Component if each not in OUTSIDE_COMPONENTS and (each in held or each not in _LEFT_OUT)
        )
    missing = [each.value for each in wanted if each not in held]
    if missing:
        raise TargetError(
            f"snapshot {manifest.id} holds no {', '.join(missing)} that belongs in the data directory",
            hint=f"It holds {', '.join(each.value for each in held)}.",
        )
    return tuple(each for each in held if each in wanted)


def divided(
    data_dir: Path, manifest: Manifest, components: Sequence[Component]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What there is now, divided into what makes room for the components and what stays."""
    exchanged: list[str] = []
    stays: list[str] = []
    for name in sorted(swap_units(data_dir)):
        left_out = any(matches(each.path, name) for each in manifest.left_out)
        takes_part = component_of(name) in components and not left_out
        (exchanged if takes_part else stays).append(name)
    return tuple(exchanged), tuple(stays)


def what_stops(quiescer: Quiescer | None, environment: RuntimeEnvironment) -> str:
    """The name of what would be stopped; empty when nothing runs. Raises RestoreError when it cannot be stopped."""
    can_stop = quiescer is not None and Quiesce.STOP in quiescer.modes
    if quiescer and can_stop and quiescer.observe().state is not InstanceState.STOPPED:
        return quiescer.name
    if environment.holders.found:
        running = ", ".join(f"{each.name} ({each.pid})" for each in environment.holders.found)
        but = f"{quiescer.name} is stopped" if quiescer and can_stop else "nothing here can stop and start it"
        raise RestoreError(
            f"Open WebUI runs on this directory ({running}), and {but}",
            hint="Stop it yourself first, or set instance.container or instance.systemd_unit. A container that its"
            " engine removes when it stops (--rm) cannot be restored in place.",
        )
    if environment.holders.hidden and os.geteuid() != 0 and not can_stop:  # root misses only those that end meanwhile
        raise RestoreError(
            f"{environment.holders.hidden} processes of other users may have this directory open",
            hint="Run as root to see whether Open WebUI is running.",
        )
    return ""


def require_known_schema(manifest: Manifest, components: Sequence[Component], application: Application) -> None:
    """Refuse what the application to be started would not open, or worse, would half migrate."""
    known = application.revisions()
    if Component.DATABASE not in components or known is None or not manifest.application.alembic_head:
        return
    unknown = sorted(set(manifest.application.alembic_head.split(",")) - known)
    if unknown:
        version = manifest.application.version or "a newer version"
        raise RestoreError(
            f"snapshot {manifest.id} has the schema {', '.join(unknown)}, which the installed Open WebUI does not know",
            hint=f"Install the version the snapshot was taken from ({version}) or a newer one, then try again.",
        )


def _warnings(
    manifest: Manifest, components: Sequence[Component], application: Application, probe: ProbeResult | None
) -> Iterator[str]:
    together = {Component.DATABASE, Component.VECTORS, Component.UPLOADS}
    if together & set(components) and not together <= set(components):
        yield "only some of database, vectors and uploads are restored: they will belong to different moments"
    yield from (f"the snapshot is INCOMPLETE: {problem}" for problem in manifest.problems)
    if application.revisions() is None:
        yield "the installed Open WebUI could not be asked which schemas it knows"
    if Component.DATABASE in components:
        yield from _schema_warnings(manifest, application, probe)
    if probe is None:
        yield f"there is no {DATABASE} now: is the disk or volume of the data directory mounted?"
    elif probe.damage:
        yield f"the present data are damaged, and are kept as they are: {probe.damage}"


def _link_warnings(data_dir: Path, exchanged: Sequence[str]) -> Iterator[str]:
    for name in exchanged:
        if (data_dir / name).is_symlink():
            yield f"{name} is a link to {(data_dir / name).readlink()}: the restored data will be in {data_dir} itself"


def _schemas(manifest: Manifest, probe: ProbeResult | None) -> tuple[str, str]:
    """The snapshot's schema and today's; empty where one is not known."""
    return manifest.application.alembic_head, probe.facts.alembic_head if probe and probe.facts else ""


def _schema_warnings(manifest: Manifest, application: Application, probe: ProbeResult | None) -> Iterator[str]:
    """Revisions are hashes without an order: only an application that knows both can tell that it will migrate."""
    then, now = _schemas(manifest, probe)
    if not (then and now) or then == now:
        return
    if application.revisions() is None:
        yield (
            f"the snapshot's schema ({then}) is not that of the present data ({now}), and which of the two is newer is"
            f" not known: start only the version that wrote the snapshot ({manifest.application.version or 'unknown'})"
            " or a newer one on it"
        )
    else:
        yield (
            f"the snapshot's schema ({then}) is not that of the present data ({now}); the installed Open WebUI knows it"
            " and will migrate it at its start if it is older"
        )


def _unknown_version(
    manifest: Manifest, components: Sequence[Component], application: Application, probe: ProbeResult | None
) -> str:
    """Why it is not known whether the application can open the snapshot's database; empty where that is no question.

    Where there are no data of today, there is nothing that a wrong version would make worse.
    """
    then, now = _schemas(manifest, probe)
    if Component.DATABASE not in components or not (then and now) or then == now or application.revisions() is not None:
        return ""
    return (
        f"the installed Open WebUI could not be asked whether it knows the schema {then} (the present data have {now})"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedKey:
    """The file that is to hold the snapshot's key, empty where there is none to be changed, and what has to be told."""

    file: str = ""
    warnings: tuple[str, ...] = ()


def planned_key(
    context: OperationContext, found: LocatedSnapshot, manifest: Manifest, environment: RuntimeEnvironment
) -> PlannedKey:
    """Into the file where today's key was found, if it is another one; else the operator is told what to do.

    The key is outside the data that are exchanged.
    """
    stored = read_key(context.state, found) if manifest.secret_key.found else None
    lost = "; ".join(manifest.secret_key.needed_because)
    if stored is None:
        kept = f"the snapshot holds no secret key; the instance keeps its own, which may not open: {lost}"
        return PlannedKey(warnings=(kept,) if lost else ())
    if environment.key and environment.key.key.reveal().strip() == stored.reveal().strip():
        return PlannedKey()
    file = _file(environment.key, context.the_instance().path) if environment.key and not environment.container else ""
    if file:
        told = f"the secret key in {file} differs from the snapshot's, and is replaced along with the data"
        return PlannedKey(file=file, warnings=(told,))
    has = f"has another one ({environment.key.source})" if environment.key else "has none that was found"
    how = "recreate the container with WEBUI_SECRET_KEY set to it" if environment.container else "give it to Open WebUI"
    return PlannedKey(
        warnings=(
            f"the secret key of the snapshot is not restored in place, and the instance {has}: everybody must sign in"
            f" again{f', and these cannot be opened: {lost}' if lost else ''}. To get it: `restore {manifest.id}"
            f" --component secret_key --target DIR`, then {how} (DIR/outside/webui_secret_key)",
        )
    )


def _file(key: FoundKey, data_dir: Path) -> str:
    """A file beside the data, that may be written; one among them is exchanged with them."""
    if key.file is None or is_within(key.file, data_dir) or not os.access(key.file, os.W_OK):
        return ""
    return os.fspath(key.file)
