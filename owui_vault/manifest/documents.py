"""The manifest as a file: written with every snapshot, read back from any."""

from __future__ import annotations

import json

from owui_vault.errors import ContentMismatchError
from owui_vault.model import MANIFEST_FORMAT, Manifest
from owui_vault.model.json_codec import dumps

MANIFEST_NAME = "manifest.json"
RESTORE_TEXT_NAME = "RESTORE.txt"
CONFIG_NAME = "vault.yaml"
CONTAINER_NAME = "container.json"
COMPOSE_NAME = "compose.yaml"
LARGEST_MANIFEST_BYTES = 64 << 20


def manifest_to_bytes(manifest: Manifest) -> bytes:
    """The text of `manifest.json`."""
    return dumps(manifest).encode() + b"\n"


def manifest_from_bytes(data: bytes) -> Manifest:
    """Read a manifest, with fields unknown to this version ignored.

    Raises ContentMismatchError when it is not one, or was written by a newer format than this package knows.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  takes 0.1 s, and only reading needs it

    try:
        known = json.loads(data)
        written_as = known.get("format") if isinstance(known, dict) else None
        if isinstance(written_as, int) and written_as > MANIFEST_FORMAT:
            raise ContentMismatchError(
                f"the manifest has format {written_as}, this version knows {MANIFEST_FORMAT}",
                hint="Install a newer owui_vault, or restore with restic or borg alone: RESTORE.txt says how.",
            )
        return TypeAdapter(Manifest).validate_python(known)
    except (ValueError, ValidationError) as error:
        raise ContentMismatchError(
            f"{MANIFEST_NAME} cannot be read: {_first_line(error)}",
            hint="Choose another snapshot, or restore with restic or borg alone: RESTORE.txt says how.",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
