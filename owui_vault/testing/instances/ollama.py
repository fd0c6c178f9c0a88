"""A models folder as Ollama makes it, with models of a few bytes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def make_models(place: Path, *names: str) -> Path:
    """Make `place/models` with a model of each name, which may have a registry and an owner; the models folder."""
    folder = place / "models"
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    shared = _blob(folder, b"the licence that all of them have")
    for name in names:
        path = folder / "manifests" / _place_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        layers = [_blob(folder, os.urandom(3000)), shared]
        manifest = {"schemaVersion": 2, "config": _blob(folder, name.encode()), "layers": layers}
        path.write_text(json.dumps(manifest))
    return folder


def _place_of(name: str) -> str:
    model, _, tag = name.rpartition(":")
    missing = ("registry.ollama.ai", "library")[: 2 - model.count("/")]
    return "/".join((*missing, model, tag))


def _blob(folder: Path, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / f"sha256-{digest}").write_bytes(content)
    return {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(content)}
