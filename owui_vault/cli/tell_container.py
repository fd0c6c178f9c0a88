"""A container in plain English, on the screen."""

from __future__ import annotations

from owui_vault.cli.screen import Screen
from owui_vault.model import ContainerRecord


def container(screen: Screen, record: ContainerRecord) -> None:
    """What the engine tells about it, as far as a person wants to know it."""
    screen.heading(f"Container {record.name}")
    mount, compose = record.mount, record.compose
    volume = f"volume {mount.volume} ({mount.driver or 'local'}), {mount.source}" if mount.volume else str(mount.source)
    screen.pairs([
        ("state", f"{record.status}{f', {record.health}' if record.health else ''}, since {record.started}"),
        ("image", record.image),
        ("digest", record.digest or f"none, made on this machine ({record.image_id})"),
        ("data", f"{mount.kind}: {volume}" if not mount.volume else volume),
        ("seen inside at", record.data_dir),
        ("restart policy", "removed when it stops (--rm)" if record.auto_remove else record.restart_policy),
        ("Compose", f"service {compose.service} of {compose.project}" if compose else "no"),
        ("held together with", ", ".join(record.together) or "none"),
        ("Ollama's models", ", ".join(record.ollama) or "not seen on this engine"),
        ("engine", record.engine),
    ])  # fmt: skip
