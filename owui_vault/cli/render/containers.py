"""A container in plain English, on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from owui_vault.cli.render.phrases import count, size
from owui_vault.cli.render.screen import Screen
from owui_vault.model import ContainerRecord, OllamaModel


def container(screen: Screen, record: ContainerRecord) -> None:
    """What the engine says about it, as far as a person needs it."""
    screen.heading(f"Container {record.name}")
    mount, compose = record.mount, record.compose
    volume = f"volume {mount.volume} ({mount.driver or 'local'}), {mount.source}" if mount.volume else str(mount.source)
    screen.pairs([
        ("state", f"{record.status}{f', {record.health}' if record.health else ''}, since {record.started}"),
        ("image", record.image),
        ("digest", record.digest or f"none, built on this machine ({record.image_id})"),
        ("data", f"{mount.kind}: {volume}" if not mount.volume else volume),
        ("seen inside at", record.data_dir),
        ("restart policy", "removed when it stops (--rm)" if record.auto_remove else record.restart_policy),
        ("Compose", f"service {compose.service} of {compose.project}" if compose else "no"),
        ("held together with", ", ".join(record.together) or "none"),
        ("Ollama's models", _where_ollama(record)),
        ("engine", record.engine),
    ])  # fmt: skip


def ollama(screen: Screen, models: Sequence[OllamaModel]) -> None:
    """Ollama's models, if they are configured."""
    if not models:
        return
    screen.heading(f"Ollama: {count(len(models), 'model')}")
    rows = [(each.name, size(each.size_bytes), "in the snapshot" if each.stored else "listed") for each in models]
    screen.table(("model", "size", ""), rows, right=frozenset({"size"}))


def _where_ollama(record: ContainerRecord) -> str:
    if not record.ollama:
        return "not seen on this engine"
    return f"{', '.join(record.ollama)} (instance.ollama says how much of them is stored)"
