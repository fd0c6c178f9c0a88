"""Which Python runs our own programs: the capture's child, the guardian, rescues, probes. Decided here alone.

`sys.executable` is only right where Python itself was started: inside a program that embeds Python it is that program,
or empty, and a guardian started by it would be a second copy of the host.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"python(3(\.\d+)?)?")  # not python-host or pythonista, which embed one


def interpreter(*, any_version: bool = False) -> str:
    """The Python to start our programs with: this one's own, in its virtual environment if it has one.

    `any_version` is for programs that need the standard library only: where our own is out of our reach, since we have
    become another user (pyenv keeps it below the first one's HOME), the system's will do. Raises ProgramMissingError.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = (sys.executable, f"{sys.exec_prefix}/bin/{name}", f"{sys.base_exec_prefix}/bin/{name}")
    for candidate in own:
        if candidate and _NAME.fullmatch(Path(candidate).name) and _runs(candidate):
            return candidate
    import shutil  # noqa: PLC0415  slow, and rarely needed: these programs import this module as well

    from owui_vault.errors import ProgramMissingError  # noqa: PLC0415  same

    found = shutil.which("python3") if any_version else None
    if found is None:
        raise ProgramMissingError(
            "there is no Python interpreter to run the programs of this package with",
            hint=f"Install {name} beside the program that embeds it.",
        )
    return found


def environ_or_own(environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """The environment to go by: what a caller was given, even if it is empty, otherwise this process's."""
    return os.environ if environ is None else environ


def environment() -> dict[str, str]:
    """All that such a program inherits. Some Pythons find their own libraries by LD_LIBRARY_PATH only."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"LC_ALL": "C.UTF-8", **kept}


def checkout() -> dict[str, str]:
    """What an interpreter must be told to find this package, where it is not installed."""
    installed = PACKAGE.parent.name in ("site-packages", "dist-packages")
    return {} if installed else {"PYTHONPATH": os.fspath(PACKAGE.parent)}


def module_environment() -> dict[str, str]:
    """The same for `python -m owui_vault.…`, also where the package is not installed but is in a checkout."""
    return {**environment(), "PYTHONPATH": os.fspath(PACKAGE.parent), "PYTHONDONTWRITEBYTECODE": "1"}


def _runs(path: str) -> bool:
    return os.access(path, os.X_OK, effective_ids=True)
