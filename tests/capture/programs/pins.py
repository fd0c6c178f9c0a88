"""Two WAL databases pinned at one moment, again and again; prints what each pair of pins holds."""

from __future__ import annotations

import json
import sys
import time

from owui_vault.capture.classify import Database
from owui_vault.capture.errors import AttemptFailedError
from owui_vault.capture.pin import Pin, hold_all


def main(first: str, second: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pins = [Pin(Database(name=path, real=path, mode="wal")) for path in (first, second)]
        try:
            hold_all(pins)
            print(json.dumps([pin.connection().execute("SELECT n FROM counter").fetchone()[0] for pin in pins]))
        except AttemptFailedError as failed:
            print(json.dumps(str(failed)))
        for pin in pins:
            pin.release()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
