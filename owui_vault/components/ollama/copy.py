"""Puts Ollama's models into a snapshot's tree: the manifests always, the blobs if they are configured."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.ollama.models import BLOBS, Blob, FoundModel
from owui_vault.errors import NoSpaceError
from owui_vault.model import OllamaModel
from owui_vault.system.durable_files import require_space
from owui_vault.system.filesystem import copy_bytes, on_one_mount, open_to_read, reflink

MODELS = "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModels:
    """What is in the tree, and what should be and is not."""

    models: tuple[OllamaModel, ...] = ()
    problems: tuple[str, ...] = ()


def keep_models(folder: Path, models: tuple[FoundModel, ...], target: Path, *, with_blobs: bool) -> KeptModels:
    """Make `target/models` a models folder that Ollama itself can use, with its manifests alone or with the blobs."""
    place = target / MODELS
    for model in models:
        path = place / model.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.manifest)
    missing = _keep_blobs(folder, models, place) if with_blobs else {}
    broken = {model.name: _why(model, missing) for model in models}
    return KeptModels(
        models=tuple(model.record(stored=with_blobs and not broken[model.name]) for model in models),
        problems=tuple(f"Ollama's model {name} is incomplete: {why}" for name, why in broken.items() if why),
    )


def _keep_blobs(folder: Path, models: tuple[FoundModel, ...], place: Path) -> dict[str, str]:
    """The blobs that are not there afterwards, each with the reason."""
    wanted = {blob.name: blob for model in models for blob in model.blobs}
    source = Path(os.path.realpath(folder / BLOBS))
    (place / BLOBS).mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    linked = source.is_dir() and on_one_mount(source, place / BLOBS)
    if not linked:
        needed = sum(blob.size_bytes for blob in wanted.values())
        try:
            require_space(place, needed, "copies of Ollama's models")
        except NoSpaceError as error:
            return dict.fromkeys(wanted, error.message)
    for blob in wanted.values():
        why = _keep(source / blob.name, place / BLOBS / blob.name, blob)
        if why:
            missing[blob.name] = why
    return missing


def _keep(source: Path, target: Path, blob: Blob) -> str:
    """Link one, or copy it; why it could not be, or nothing. A link is the live file itself and is never touched."""
    try:
        real = source.resolve(strict=True)
        status = real.stat()
        if not stat.S_ISREG(status.st_mode):
            return f"{blob.name} is not a file"
        if status.st_size != blob.size_bytes:
            return f"{blob.name} has {status.st_size:,} of {blob.size_bytes:,} bytes"
        try:
            os.link(real, target)
        except OSError:
            _copy(real, target, status)
    except OSError as error:
        return f"{blob.name}: {error.strerror or error}"
    return ""


def _copy(source: Path, target: Path, status: os.stat_result) -> None:
    descriptor = open_to_read(os.fspath(source))
    out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if not reflink(descriptor, out):
            copy_bytes(descriptor, out, status.st_size)
        os.utime(out, ns=(status.st_mtime_ns, status.st_mtime_ns))  # engines go by size and time
    finally:
        os.close(out)
        os.close(descriptor)


def _why(model: FoundModel, missing: dict[str, str]) -> str:
    return next((missing[blob.name] for blob in model.blobs if blob.name in missing), "")
