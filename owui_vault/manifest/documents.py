"""The manifest as a file: written with every snapshot, read back from any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from owui_vault.errors import ContentMismatchError, LaterFormatError
from owui_vault.model import KINDS, MANIFEST_FORMAT, Component, ComponentKind, Manifest
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

    Raises LaterFormatError where a later version wrote what this one does not know, ContentMismatchError where it is no
    manifest.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  takes 0.1 s, and only reading needs it

    try:
        known = json.loads(data)
        if not isinstance(known, dict) or type(known.get("format")) is not int or known["format"] < 1:
            raise ValueError("it does not say which format it has")
        for unknown in _unknown(known):
            raise LaterFormatError(f"{MANIFEST_NAME} {unknown}", _version(known))
        if known["format"] == 1:
            known = _from_first(known)
        return TypeAdapter(Manifest).validate_python(known)
    except (ValueError, TypeError, AttributeError, KeyError, ValidationError) as error:  # none of which is foreseen
        raise ContentMismatchError(
            f"{MANIFEST_NAME} cannot be read: {str(error).splitlines()[0]}",
            hint="Choose another snapshot, or restore with restic or borg alone: RESTORE.txt says how.",
        ) from error


def _unknown(known: dict[str, Any]) -> Iterator[str]:
    """What a later version may have written, and a reader may not pass over."""
    if known["format"] > MANIFEST_FORMAT:
        yield f"has format {known['format']}, and this version reads up to {MANIFEST_FORMAT}"
    if known["format"] == MANIFEST_FORMAT:
        names, kinds = {each.value for each in Component}, {each.value for each in ComponentKind}
        for record in known.get("components", ()):
            if record.get("name") not in names:
                yield f"holds a component {record.get('name')!r}, which this version does not know"
            elif record.get("kind") not in kinds:
                yield f"holds {record['name']} of kind {record.get('kind')!r}, which this version does not know"


def _version(known: dict[str, Any]) -> str:
    name, _, version = str(known.get("created_by", "")).partition(" ")
    return version if name == "owui_vault" and len(version) < 100 and version.isprintable() else ""


def _from_first(known: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1 as one of today, whose kinds of components were all there was."""
    components = [each | {"kind": KINDS[Component(each["name"])].value} for each in known.get("components", ())]
    return known | {"components": components, "plan": None}
