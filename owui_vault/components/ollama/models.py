"""Ollama's models: a list in its `manifests` folder, and bytes in `blobs`, where each file is named by its SHA-256.

Blobs never change, and a manifest is written in one step, so nothing has to be quiet while they are copied.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from owui_vault.model import OllamaModel

MANIFESTS, BLOBS = "manifests", "blobs"
_OWN_REGISTRY, _OWN_FOLDER = "registry.ollama.ai", "library"  # left out of a model's name, as Ollama itself does
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LARGEST_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file of a model. `name` is `sha256-` and its SHA-256."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """One model. `file` is its manifest, relative to the models folder."""

    name: str
    file: str
    manifest: bytes
    digest: str
    blobs: tuple[Blob, ...]

    def record(self, *, stored: bool) -> OllamaModel:
        """As manifests and reports list it."""
        size = sum(each.size_bytes for each in self.blobs)
        return OllamaModel(name=self.name, digest=self.digest, size_bytes=size, stored=stored)


def models_folder(place: Path) -> Path | None:
    """The folder that holds `manifests`: the place itself or `models` in it; None where there is none.

    Raises PermissionError.
    """
    for folder in (place / "models", place):
        if (folder / MANIFESTS).is_dir():
            os.listdir(folder / MANIFESTS)
            return folder
    return None


def find_models(folder: Path) -> tuple[FoundModel, ...]:
    """All models of a models folder, by name. What is no manifest, or is going away just now, is skipped."""
    return tuple(sorted(_models(folder), key=lambda each: each.name))


def _models(folder: Path) -> Iterator[FoundModel]:
    from hashlib import sha256  # noqa: PLC0415 - most runs list no model

    for path in (folder / MANIFESTS).rglob("*"):
        parts = path.relative_to(folder / MANIFESTS).parts
        try:
            if len(parts) < 3 or not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST_BYTES:
                continue
            text = path.read_bytes()
        except OSError:
            continue
        blobs = _blobs_of(text)
        if blobs:
            yield FoundModel(
                name=_name(parts),
                file=str(path.relative_to(folder)),
                manifest=text,
                digest=sha256(text).hexdigest(),
                blobs=blobs,
            )


def _name(parts: tuple[str, ...]) -> str:
    registry, *folders, model, tag = parts
    kept = [registry, *folders]
    if registry == _OWN_REGISTRY:
        kept = [] if folders == [_OWN_FOLDER] else folders
    return "/".join([*kept, f"{model}:{tag}"])


def _blobs_of(manifest: bytes) -> tuple[Blob, ...]:
    """What a manifest names, each once; empty for a text that is none."""
    try:
        told = json.loads(manifest)
        layers = [told["config"], *told["layers"]]
        found = {_DIGEST.fullmatch(each["digest"]): each["size"] for each in layers}
    except (ValueError, KeyError, TypeError):
        return ()
    if not all(match and isinstance(size, int) and size >= 0 for match, size in found.items()):
        return ()
    sizes = {f"sha256-{match[1]}": size for match, size in found.items() if match}
    return tuple(Blob(name=name, size_bytes=size) for name, size in sizes.items())
