"""The program that names the paths of a new archive to borg, and then holds borg back until we have said yes.

`borg create --paths-from-command` reads paths from this program until it closes its output, stores them, and then waits
for its exit status before the archive is written down: status 0 stores it, any other forgets it. So we see every
complaint about a file before a label that says COMPLETE exists, and if we die meanwhile, the archive never comes to be.

Started as a script by borg: LIST (paths, each ended by NUL) and GATE (a FIFO; one byte `+` means yes).
"""

import os
import signal
import sys

YES = b"+"


def main(paths: str, gate: str) -> int:
    """Hand on the list, then wait for the word. Nobody at the other end any more means no."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # borg has it ignored here; it is how we stop borg and this together
    # Opened without waiting for a writer: if ours is dead already, reading ends at once.
    verdict = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(verdict, True)
    source = os.open(paths, os.O_RDONLY)
    while piece := os.read(source, 1 << 16):
        while piece:
            piece = piece[os.write(1, piece) :]
    os.close(1)
    return 0 if os.read(verdict, 1) == YES else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
