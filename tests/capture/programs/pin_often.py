"""Pins a database that others write to, and lets it go, as often as told: `pin_often.py DATABASE TIMES SEED`.

Prints how often it was pinned, how often it could not be, and for how many seconds that took in all.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.sqlite.pin import Pin


def main(path: str, times: int, seed: int) -> None:
    source = random.Random(seed)
    began, held, refused = time.monotonic(), 0, 0
    while held < times:
        try:
            pin = Pin("webui.db", path, 1 << 40)
        except AttemptFailedError:
            refused += 1
            continue
        try:
            if source.random() < 0.2:  # as long as a small database takes to copy
                time.sleep(source.random() * 0.005)
            pin.follow_if_due()
            pin.require_held()
            pin.begin_reference()
            pin.reference_answers()
            held += 1
        except AttemptFailedError:
            refused += 1
        finally:
            pin.release()
    print(held, refused, time.monotonic() - began)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
