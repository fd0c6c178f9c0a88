"""Rolls back a half-finished swap before the instance is started, without the run that began it.

`python -m owui_vault.rescue rollback FILE [COMMAND…]` rolls back the swap that FILE describes unless it was complete,
then becomes COMMAND. The guardian and `recover` run it. If the swap was complete once and is being rolled back, the
instance may still be running on the data that are to go: it is stopped first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from owui_vault.components.names import DATABASE, VECTOR_DATABASE
from owui_vault.errors import QuiesceError, RollbackError, VaultError
from owui_vault.guardian.rescue_command import down_command, rescue_environment
from owui_vault.instance.processes import find_holders
from owui_vault.operations.recovery.swap import InPlace, Swap, in_place, pending_swap, places, roll_back
from owui_vault.system.process import Command, run

_STOP_SECONDS = 80.0  # a guardian gives one rescue 90
_DATABASES = (DATABASE, VECTOR_DATABASE)


def require_databases_closed(place: InPlace, swap: Swap | None = None) -> None:
    """Raise QuiesceError while somebody has a database open, wherever the exchange has put it.

    Whoever has would go on writing into what is moved away under it.
    """
    here = tuple(place.data.path / name for name in _DATABASES)
    databases = tuple(places(swap, place, _DATABASES)) if swap else here
    left = find_holders(databases).found
    if left:
        raise QuiesceError(
            f"{', '.join(f'{each.name} ({each.pid})' for each in left)} still has the data open in {place.data.shown}",
            hint="Another instance is using the same directory, or this one was started again; stop it first.",
        )


def main(argv: Sequence[str]) -> int:
    """Undo what is half finished, then become COMMAND. What hinders goes to stderr, and nothing is started."""
    path, command = Path(argv[0]), tuple(argv[1:])
    try:
        with in_place(path.absolute().parents[1]) as place:
            swap = pending_swap(place)
            if swap:
                if swap.back:
                    _stop(command)
                require_databases_closed(place, swap)
                roll_back(place)
    except FileNotFoundError:
        pass  # nothing is half finished
    except (OSError, VaultError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if command:
        os.execv(command[0], command)  # noqa: S606  the guardian's own command, without a shell
    return 0


def _stop(command: Sequence[str]) -> None:
    """Only our own rescues know how. Under another's, nobody may have the data open: that is looked at next."""
    down = down_command(tuple(command))
    if not down:
        return
    done = run(Command(argv=down, environment=rescue_environment(), timeout_seconds=_STOP_SECONDS))
    if done.status:
        raise RollbackError(f"the application on the restored data could not be stopped: {done.stderr_tail.strip()}")
