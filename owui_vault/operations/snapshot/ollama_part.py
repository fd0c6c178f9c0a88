"""Ollama's models as a part of a snapshot: what is asked for, found, and kept below `outside/ollama/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from owui_vault.components.names import OLLAMA
from owui_vault.components.ollama.copy import KeptModels, keep_models
from owui_vault.components.ollama.models import find_models, models_folder
from owui_vault.context.context import Parts
from owui_vault.model import Component, ComponentRecord, OllamaModels


def keep_ollama(parts: Parts, outside: Path) -> KeptModels:
    """Put what is asked for below `outside`, which lies in the stage. What cannot be had is a problem, never an error.

    Ollama is another program: its models belong to no moment of the instance's, and do not change once they are there.
    """
    instance = parts.the_instance()
    if instance.ollama is OllamaModels.OFF:
        return KeptModels()
    if instance.ollama_dir is None:
        return KeptModels(problems=("Ollama's models were not found: set instance.ollama_dir to where they are",))
    try:
        folder = models_folder(instance.ollama_dir)
        models = find_models(folder) if folder else ()
    except OSError as error:
        return KeptModels(problems=(f"Ollama's models in {instance.ollama_dir} cannot be read: {error.strerror}",))
    if folder is None:
        return KeptModels(problems=(f"{instance.ollama_dir} does not hold Ollama's models (there is no `manifests`)",))
    return keep_models(folder, models, outside / OLLAMA, with_blobs=instance.ollama is OllamaModels.BLOBS)


def ollama_record(outside: Path) -> Iterator[ComponentRecord]:
    """The record of what was kept, if anything was."""
    found = sorted(path for path in (outside / OLLAMA).rglob("*") if path.is_file())
    if not found:
        return
    sizes = [(str(path.relative_to(outside)), path.stat().st_size) for path in found]
    lines = sorted(f"{name}\0{size}\n".encode(errors="surrogateescape") for name, size in sizes)
    yield ComponentRecord(
        name=Component.OLLAMA,
        files=len(sizes),
        size_bytes=sum(size for _, size in sizes),
        digest=hashlib.sha256(b"".join(lines)).hexdigest(),
    )
