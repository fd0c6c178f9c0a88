"""The one folder that `open-webui serve` deletes: `data` beside its package, where `DATA_DIR` is not set.

At its start it copies what lies there into `open_webui/data`, packs it as `open_webui_data.zip`, and removes it
(`env.py` of 0.6.43 and 0.12.4). What was restored there is gone from where it was put.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from owui_vault.instance.processes import version_in

_PACKAGE = "open_webui"


def doomed_folder(path: Path) -> Path | None:
    """The folder at or above a path that an installed Open WebUI deletes at its start; None where none does."""
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
