"""What becomes of the secret key when data are restored in place: it lies outside of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.instance.runtime import RuntimeEnvironment
from owui_vault.instance.secret_key import FoundKey
from owui_vault.model import Manifest
from owui_vault.repositories.lookup import LocatedSnapshot, read_key
from owui_vault.system.durable_files import is_within


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedKey:
    """The file that is to hold the snapshot's key, empty where there is none to be changed, and what has to be told."""

    file: str = ""
    warnings: tuple[str, ...] = ()


def planned_key(
    context: OperationContext, found: LocatedSnapshot, manifest: Manifest, environment: RuntimeEnvironment
) -> PlannedKey:
    """Into the file where today's key was found, if it is another one; else the operator is told what to do."""
    stored = read_key(context, found, Callbacks()) if manifest.secret_key.found else None
    lost = "; ".join(manifest.secret_key.needed_because)
    if stored is None:
        kept = f"the snapshot holds no secret key; the instance keeps its own, which may not open: {lost}"
        return PlannedKey(warnings=(kept,) if lost else ())
    if environment.key and environment.key.key.reveal().strip() == stored.reveal().strip():
        return PlannedKey()
    file = _file(environment.key, context.the_instance().path) if environment.key and not environment.container else ""
    if file:
        told = f"the secret key in {file} is another one than the snapshot's, and is exchanged along with the data"
        return PlannedKey(file=file, warnings=(told,))
    has = f"has another one ({environment.key.source})" if environment.key else "has none that was found"
    how = (
        "start the container anew with WEBUI_SECRET_KEY set to it" if environment.container else "give it to Open WebUI"
    )
    return PlannedKey(
        warnings=(
            f"the secret key of the snapshot is not restored in place, and the instance {has}: everybody must sign in"
            f" again{f', and these cannot be opened: {lost}' if lost else ''}. To have it back: `restore {manifest.id}"
            f" --component secret_key --target DIR`, then {how} (DIR/outside/webui_secret_key)",
        )
    )


def _file(key: FoundKey, data_dir: Path) -> str:
    """A file beside the data, that may be written; one among them is exchanged with them."""
    if key.file is None or is_within(key.file, data_dir) or not os.access(key.file, os.W_OK):
        return ""
    return os.fspath(key.file)
