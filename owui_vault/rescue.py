"""`python -m owui_vault.rescue KIND …`: resume an instance without the run that made it quiet.

process …                  wake one that was paused
unit NAME …                thaw or start one, and what was stopped along with it
container …                unpause or start one
rollback FILE [COMMAND…]   undo the restore in place that FILE describes, unless it was complete, then become COMMAND
fake …                     of `owui_vault.testing`

This address, its kinds and their arguments are written into journals and given to guardians, and both outlive an
upgrade: what was written once works for ever, wherever the code of a kind is by then. It is found only here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

# Each kind imports what it needs, and no more: a rescue is in a hurry, and must not fail for what it does not need.
# ruff: noqa: PLC0415


def main(arguments: Sequence[str]) -> int:
    """Run one rescue; its status. Without a kind that is known the usage is told, with status 2."""
    match arguments:
        case ["process" | "unit" | "container", *_]:
            from owui_vault.quiesce.rescue import main as bring_back

            return bring_back(arguments)
        case ["rollback", _, *_]:
            from owui_vault.operations.recovery.rollback import main as roll_back

            return roll_back(arguments[1:])
        case ["fake", _, _, *_]:
            from owui_vault.testing.fakes import main as bring_back_a_fake

            return bring_back_a_fake(arguments[1:])
        case _:
            sys.stderr.write(f"{(__doc__ or '').strip()}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
