"""Restores into a new directory: find, read the manifest, check the target, fetch, check."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from owui_vault.components.database.upload_paths import PathDecision, decide_paths, rewrite_paths
from owui_vault.components.names import DATABASE, ENVIRONMENT_NAME, HELD_NAME, KEY_NAME, OUTSIDE
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.context.state import StateDirectory
from owui_vault.errors import ConfigError, ContentMismatchError, TargetError
from owui_vault.instance.layout import component_of, component_outside
from owui_vault.manifest.attribute_records import attribute_warnings
from owui_vault.manifest.compare import compare_with_manifest
from owui_vault.manifest.documents import MANIFEST_NAME, RESTORE_TEXT_NAME
from owui_vault.manifest.restore_text import Restored, restore_text
from owui_vault.model import Component, Manifest, Progress, RestoreReport, Snapshot, Step
from owui_vault.operations.restore.quiet_start import check_can_be_quiet, is_ruined, settle_schedule
from owui_vault.operations.restore.salvage import fetch_from_any, fetch_or_name
from owui_vault.operations.restore.target import claimed, usable_target
from owui_vault.repositories.lookup import LATE, LocatedSnapshot, find, manifest_in, read_manifest
from owui_vault.system.durable_files import private_directory, require_space, write_durably

_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What the caller asked for. `components` None: everything."""

    snapshot: Snapshot | str
    target: Path
    components: Sequence[Component] | None = None
    repository: str | None = None
    instance: str | None = None
    app_data_dir: str | None = None
    quiet_start: bool = False
    callbacks: Callbacks = field(default_factory=Callbacks)


def restore(context: OperationContext, request: RestoreRequest) -> RestoreReport:
    """Write a snapshot's tree into a new or empty directory; `target/data` is ready to run.

    While it runs, and after a failure, `target` holds a file RESTORE-INCOMPLETE with the reason. Raises TargetError
    before anything is written, and ContentMismatchError when what was restored differs from the manifest.
    """
    started = context.clock.monotonic()
    remarks: list[str] = []
    request = replace(request, callbacks=replace(request.callbacks, warn=remarks.append))
    target = usable_target(context, request.target)
    found = find(context, request.snapshot, request.repository, request.callbacks, instance=request.instance)
    require_space(target, _judged_ahead(context.state, request, found, target) + _SPARE_BYTES, "this restore")
    is_new = not target.exists()
    with claimed(target):
        elsewhere = _fetch(request, found, target)
        manifest = manifest_in(target, found.snapshot)
        components = _components(manifest, request.components)
        decision = _decide_paths(request, target, manifest, components)
        warnings = _check(target, manifest, components, request.callbacks)
        warnings += attribute_warnings(target / "data", manifest, components)
        rewritten = 0
        if decision and decision.rewrite:
            rewritten, _ = rewrite_paths(target / "data", manifest.application, app_data_dir=request.app_data_dir)
        scheduled = settle_schedule(
            target / "data",
            manifest,
            components,
            now=context.clock.now(),
            held=(lambda: private_directory(target / OUTSIDE) / HELD_NAME) if request.quiet_start else None,
            environment=lambda: _environment(target),
        )
        _renew_text(target, manifest, components, quiet=scheduled.held is not None)
        if is_new:
            _let_owner_in(target)
    return RestoreReport(
        snapshot=found.snapshot,
        target=target,
        data_dir=target / "data",
        manifest=manifest,
        components=components,
        rewritten=rewritten,
        app_data_dir=decision.app_data_dir if decision else "",
        secret_key=_secret_key(target, components),
        scheduled=scheduled.due,
        held=scheduled.held,
        warnings=(
            *found.warnings,
            *elsewhere,
            *dict.fromkeys(remarks),
            *warnings,
            *_ruin_warning(manifest, components),
            *scheduled.warnings,
        ),
        unanswered=found.unanswered,
        took=timedelta(seconds=context.clock.monotonic() - started),
    )


def _judged_ahead(state: StateDirectory, request: RestoreRequest, found: LocatedSnapshot, target: Path) -> int:
    """The bytes that will be written, once it is known that what was asked for can be had.

    The manifest, which costs two calls of the engine, is read ahead only where something can be wrong with the request.
    Raises TargetError, ConfigError.
    """
    ordinary = request.components is None and request.app_data_dir is None and not request.quiet_start
    if ordinary and found.snapshot.size_bytes:
        return found.snapshot.size_bytes
    manifest = read_manifest(state, found)
    components = _components(manifest, request.components)
    _decide_paths(request, target, manifest, components)
    if request.quiet_start:
        check_can_be_quiet(manifest, components)
    return sum(record.size_bytes for record in manifest.components if record.name in components)


def _components(manifest: Manifest, wanted: Sequence[Component] | None) -> tuple[Component, ...]:
    held = tuple(record.name for record in manifest.components)
    if wanted is None:
        return held
    missing = [each.value for each in wanted if each not in held]
    if missing:
        raise TargetError(
            f"snapshot {manifest.id} holds no {', '.join(missing)}",
            hint=f"It holds {', '.join(each.value for each in held)}.",
        )
    return tuple(each for each in held if each in wanted)


def _decide_paths(
    request: RestoreRequest, target: Path, manifest: Manifest, components: Sequence[Component]
) -> PathDecision | None:
    """Where the application must see the data; None without the database, which alone says so. Raises ConfigError."""
    if Component.DATABASE in components:
        decision = decide_paths(target / "data", manifest.application, request.app_data_dir)
        if is_ruined(manifest):  # nothing can be changed in it
            return PathDecision(app_data_dir=manifest.application.data_dir, rewrite=False)
        return decision
    if request.app_data_dir is not None:
        raise ConfigError(
            "--app-data-dir changes rows of the database, which is not among the components",
            hint="Leave it out, or restore `database` as well.",
        )
    return None


def _fetch(request: RestoreRequest, found: LocatedSnapshot, target: Path) -> tuple[str, ...]:
    """What had to come from another repository, where none was named."""
    paths: tuple[str, ...] = ()
    if request.components is not None:
        of_them = paths_of(request.components, (entry.path for entry in found.contents()))
        paths = (MANIFEST_NAME, RESTORE_TEXT_NAME, *of_them)
    found.client.progress(Step.FETCH)
    if request.repository:
        fetch_or_name(found, target, paths=paths)
        return ()
    return fetch_from_any(found, target, paths=paths)


def paths_of(components: Sequence[Component], everything: Iterator[str]) -> list[str]:
    """The paths that belong to the components; one that is below another is left to it."""
    chosen: list[str] = []
    for path in sorted(everything, key=lambda path: path.replace("/", "\0")):  # what is below a folder follows it
        if chosen and path.startswith(f"{chosen[-1]}/"):
            continue
        if component_of_tree(path) in components:
            chosen.append(path)
    return chosen


def component_of_tree(path: str) -> Component | None:
    """The component of a path of the whole tree; None for the folders and documents around the components."""
    if path.startswith(f"{OUTSIDE}/"):
        return component_outside(path.removeprefix(f"{OUTSIDE}/"))
    if not path.startswith("data/"):
        return None
    relative = path.removeprefix("data/")
    if relative in ("cache", "cache/image"):
        return None
    return component_of(relative)


def _check(target: Path, manifest: Manifest, components: Sequence[Component], callbacks: Callbacks) -> tuple[str, ...]:
    callbacks.progress(Progress(step=Step.CHECK, text="comparing with the manifest"))
    found = compare_with_manifest(target / "data", manifest, components=components, cancel=callbacks.cancel)
    if found.problems:
        raise ContentMismatchError(
            f"the restored files differ from the manifest: {'; '.join(found.problems[:5])}",
            hint="The fetched files are left for inspection. Run `verify`, or restore another snapshot.",
        )
    incomplete = tuple(f"this snapshot is INCOMPLETE: {problem}" for problem in manifest.problems)
    return (*incomplete, *found.changed, *found.doubtful)


def _renew_text(target: Path, manifest: Manifest, components: Sequence[Component], *, quiet: bool) -> None:
    """RESTORE.txt was written for the whole snapshot, while all seemed well; the copy here says what is here."""
    path = target / RESTORE_TEXT_NAME
    held = tuple(record.name for record in manifest.components)
    only = tuple(components) if set(components) != set(held) else None
    if (only is None and not quiet and LATE not in manifest.problems) or path.is_symlink() or not path.is_file():
        return
    write_durably(path, restore_text(manifest, Restored.of(target, only)).encode(), mode=0o644)


def _environment(target: Path) -> dict[str, str]:
    """The instance's settings, as they came back."""
    settings = target / OUTSIDE / ENVIRONMENT_NAME
    if settings.is_symlink() or not settings.is_file():
        return {}
    return dict(line.split("=", 1) for line in settings.read_text(errors="replace").splitlines() if "=" in line)


def _ruin_warning(manifest: Manifest, components: Sequence[Component]) -> tuple[str, ...]:
    if Component.DATABASE not in components or not is_ruined(manifest):
        return ()
    what = "encrypted (SQLCipher)" if manifest.is_encrypted else "damaged"
    return (f"{DATABASE} is {what}: the paths of uploads in it stay as they are",)


def _secret_key(target: Path, components: Sequence[Component]) -> Path | None:
    path = target / OUTSIDE / KEY_NAME
    return path if Component.SECRET_KEY in components and path.is_file() and not path.is_symlink() else None


def _let_owner_in(target: Path) -> None:
    """A new target is ours alone; whoever runs the application must get through it to its data, and nobody else."""
    path = next((each for each in (target / "data" / DATABASE, target / "data") if each.exists()), target)
    status = path.stat()
    if os.geteuid() == 0 and status.st_uid != 0:
        os.chown(target, -1, status.st_gid)
        target.chmod(0o710)
