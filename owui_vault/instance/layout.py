"""Which files of a data directory belong to which component, and what a capture takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from owui_vault.components.names import (
    DATABASE,
    KEY_NAME,
    OLLAMA,
    UPLOADS,
    VECTOR_DATABASE,
    VECTORS,
    WORK_DIR,
    not_the_data,
)
from owui_vault.errors import ConfigError
from owui_vault.instance.processes import version_in
from owui_vault.model import CapturePlan, Component
from owui_vault.system.filesystem import on_one_mount
from owui_vault.system.patterns import matches

# Of the cache, the application keeps state in these three; the rest can be made or downloaded again.
_KEPT_CACHE = {
    "cache/functions": Component.PLUGIN_FILES,
    "cache/tools": Component.PLUGIN_FILES,
    "cache/image/generations": Component.GENERATED_IMAGES,
}
_KNOWN_CACHE = ("cache/audio", "cache/embedding", "cache/pipelines", "cache/tiktoken", "cache/whisper")
OUTSIDE_COMPONENTS = (Component.SECRET_KEY, Component.CONFIGURATION, Component.OLLAMA)
_TOP = {
    DATABASE: Component.DATABASE,
    VECTORS: Component.VECTORS,
    UPLOADS: Component.UPLOADS,
    **dict.fromkeys(("config.json", "old_config.json", "ollama.db", "l.data"), Component.LEGACY),
}
_AUDIT_LOG = re.compile(r"audit\.(?:.*\.)?log(?:\..*)?")  # audit.log, and audit.2026-01-01_….log.zip once rotated
_AUDIT_PATTERNS = ("audit.log", "audit.log.*", "audit.*.log", "audit.*.log.*")
_MARKER_OUTPUT = f"{UPLOADS}/marker_output"
# What an upload's name begins with. What an administrator uploads for Ollama lacks it (routers/ollama.py of 0.12.4).
_OF_A_ROW = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}[_.]")
_MODEL = re.compile(r".+\.(?:gguf|ggml|safetensors)", re.IGNORECASE)
_OF_OLLAMA = "a model on its way to Ollama, which the application deletes itself: upload it again"
_OF_MARKER = "output of Datalab Marker: can be made again from the upload"
_SIDE_FILE = re.compile(r"-(?:wal|shm|journal)$")

# What `exclude` may not reach: without it nothing of the snapshot makes sense.
_DATABASE_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-journal")
_PACKAGE = "open_webui"


def component_of(relative: str) -> Component:
    """The component of a path below the data directory, given with forward slashes."""
    parts = PurePosixPath(relative).parts
    top = parts[0] if parts else ""
    if top == "cache":
        return _cache_component(relative)
    known = _TOP.get(top) or _TOP.get(_SIDE_FILE.sub("", top))
    if known:
        return known
    return Component.AUDIT_LOG if _AUDIT_LOG.fullmatch(top) else Component.OTHER


def component_outside(relative: str) -> Component:
    """The component of a path below `outside/`."""
    if relative == KEY_NAME:
        return Component.SECRET_KEY
    return Component.OLLAMA if PurePosixPath(relative).parts[0] == OLLAMA else Component.CONFIGURATION


def _cache_component(relative: str) -> Component:
    for folder, component in _KEPT_CACHE.items():
        if relative == folder or relative.startswith(f"{folder}/"):
            return component
    return Component.CACHE


def left_out_by_default(data_dir: Path) -> tuple[str, ...]:
    """What is not captured unless the operator includes it: rebuildable caches and the audit log.

    Names are listed one by one, not as `cache`, so that an operator's own `exclude` can still reach what is kept of it.
    """
    found = [*_other_entries(data_dir, "cache", {"functions", "tools", "image"})]
    found += _other_entries(data_dir, "cache/image", {"generations"})
    return tuple(sorted({*_KNOWN_CACHE, *found})) + _AUDIT_PATTERNS


def _other_entries(data_dir: Path, folder: str, kept: set[str]) -> list[str]:
    try:
        names = os.listdir(data_dir / folder)
    except OSError:
        return []
    return [_literal(f"{folder}/{name}") for name in names if name not in kept]


def _literal(name: str) -> str:
    """A name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def capture_plan(  # noqa: PLR0913  each may be left out
    data_dir: Path,
    work_dir: Path,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    mounted: Iterable[tuple[str, Path]] = (),
    bucket: str = "",
    local_uploads: bool = True,
) -> CapturePlan:
    """What a capture takes from a data directory.

    `include` and `exclude` are the operator's patterns, relative to the data directory; `include` wins. `mounted` are
    parts of it that the application has mounted from elsewhere. With a `bucket` (STORAGE_PROVIDER) `uploads/` is a
    cache in which each read rewrites a file in place: left out unless there are `local_uploads`, whose bytes lie
    nowhere else. Raises ConfigError when a pattern leaves the data directory, or would leave out the database.
    """
    root = data_dir.resolve()
    included = tuple(_clean(pattern) for pattern in include)
    excluded = tuple(_clean(pattern) for pattern in exclude)
    _refuse_database(excluded)
    default = tuple(name for name in left_out_by_default(root) if name not in included)
    elsewhere = _mounted(root, mounted)
    links = _deep_first({**dict(_links(root)), **elsewhere})
    models = _models_under_way(located(root, links, UPLOADS))
    reasons = {_MARKER_OUTPUT: _OF_MARKER, **dict.fromkeys(models, _OF_OLLAMA)}
    if bucket and not local_uploads:
        reasons = {UPLOADS: f"a cache of the bucket (STORAGE_PROVIDER={bucket}): read from there again"}
    reasons = {name: reason for name, reason in reasons.items() if name not in included}
    databases = [name for name in (DATABASE, VECTOR_DATABASE) if os.path.lexists(located(root, links, name))]
    if _left_out(VECTOR_DATABASE, included, excluded):
        databases = [name for name in databases if name != VECTOR_DATABASE]
    return CapturePlan(
        data_dir=root,
        work_dir=work_dir,
        databases=tuple(databases),
        write_once=() if bucket else (UPLOADS,),
        rewritten=(_MARKER_OUTPUT, *models.values()),
        links=links,
        mounted=tuple(elsewhere),
        exclude=(*default, *reasons, *excluded, *sorted(not_the_data(root))),
        include=included,
        reasons=tuple(reasons.items()),
    )


def _models_under_way(uploads: Path) -> dict[str, str]:
    """Models that an administrator is uploading to Ollama, or that were left half uploaded: pattern and name."""
    try:
        names = [entry.name for entry in os.scandir(uploads) if _MODEL.fullmatch(entry.name)]
    except OSError:
        return {}
    found = (f"{UPLOADS}/{name}" for name in names if not _OF_A_ROW.match(name))
    return {_literal(name): name for name in found}


def located(root: Path, links: Iterable[tuple[str, Path]], name: str) -> Path:
    """Where something of a data directory really is; of several links the first counts."""
    for link, real in links:
        if PurePosixPath(name).is_relative_to(link):
            return real / PurePosixPath(name).relative_to(link)
    return root / name


def _mounted(root: Path, mounted: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """What is mounted, and a database there that is a link itself."""
    found = dict(mounted)
    store = located(root, _deep_first(found), VECTOR_DATABASE)
    if found and store.is_symlink():
        found[VECTOR_DATABASE] = store.resolve()
    return found


def _deep_first(found: Mapping[str, Path]) -> tuple[tuple[str, Path], ...]:
    """The nearest link leads to where something is."""
    return tuple(sorted(found.items(), key=lambda each: -len(PurePosixPath(each[0]).parts)))


def _clean(pattern: str) -> str:
    """A pattern without decoration: no leading `./`, no trailing slash."""
    text = pattern.removeprefix("./").rstrip("/")
    if text.split("/", 1)[0] == WORK_DIR or not text or text.startswith("/") or ".." in PurePosixPath(text).parts:
        raise ConfigError(
            f"the pattern {pattern!r} is not a path inside the data directory",
            hint="Patterns are relative to the data directory, for example cache/whisper or uploads/*.mp4.",
        )
    return text


def _left_out(name: str, included: Iterable[str], excluded: Iterable[str]) -> bool:
    return any(matches(each, name) for each in excluded) and not any(matches(each, name) for each in included)


def _refuse_database(excluded: Iterable[str]) -> None:
    for pattern in excluded:
        if any(matches(pattern, name) for name in _DATABASE_FILES):
            raise ConfigError(
                f"the pattern {pattern!r} in exclude would leave out the database",
                hint="A snapshot without webui.db is of no use; take the pattern out, or make it narrower.",
            )


def _links(root: Path) -> tuple[tuple[str, Path], ...]:
    """Components that are symlinks in the data directory, with what is behind them. Inside, links stay links."""
    names = (DATABASE, UPLOADS, VECTORS, VECTOR_DATABASE, "cache")
    return tuple((name, (root / name).resolve()) for name in names if (root / name).is_symlink())


def components_elsewhere(data_dir: Path) -> tuple[Path, ...]:
    """What components that are symlinks in a data directory lead to: it belongs to the live data as well."""
    return tuple(path for _name, path in _links(data_dir.resolve()))


def work_dir_for(data_dir: Path, state_dir: Path, instance: str) -> Path:
    """Where the stage is: in the state directory if uploads can be linked to there, else inside the data.

    Where the data may not be written to, a read-only mount for one, everything is copied into the state directory.
    """
    root = data_dir.resolve()
    existing = state_dir
    while not existing.exists():
        existing = existing.parent
    outside = not state_dir.resolve().is_relative_to(root)
    if outside and (on_one_mount(existing, root) or not os.access(root, os.W_OK)):
        return state_dir / "work" / instance
    return root / WORK_DIR


def doomed_folder(path: Path) -> Path | None:
    """The folder at or above a path that an installed Open WebUI deletes at its start; None where none does.

    It is `data` beside its package, where `DATA_DIR` is not set: `open-webui serve` copies what is there into
    `open_webui/data`, packs it as `open_webui_data.zip`, and removes it (`env.py` of 0.6.43 and 0.12.4).
    """
    places = (path, *path.parents)
    return next((each for each in places if each.name == "data" and _is_beside_the_package(each)), None)


def deleted_at_start(data_dir: Path, settings: Mapping[str, str]) -> bool:
    """Whether the next start deletes a data directory: it is that folder, and `DATA_DIR` does not name it."""
    if doomed_folder(data_dir) != data_dir:
        return False
    named = settings.get("DATA_DIR", "")
    return not named or os.path.realpath(named) != os.path.realpath(data_dir)


def _is_beside_the_package(folder: Path) -> bool:
    """By what pip notes beside it. The image and a checkout have such a folder too, and start in another way."""
    return bool(version_in(folder.parent)) and (folder.parent / _PACKAGE).is_dir()
