"""Two WAL databases pinned at one moment, again and again; prints what each pair of pins holds."""

from __future__ import annotations

import json
import sys
import time

from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.sqlite.pin import Pin, at_one_moment


def main(first: str, second: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    looks = 0
    witness = Pin.begin_reference

    def counted(pin: Pin) -> None:
        nonlocal looks
        looks += 1
        witness(pin)

    Pin.begin_reference = counted  # type: ignore[method-assign, assignment]  # counts the looks
    while time.monotonic() < until:
        pins = [Pin(path, path, 1 << 30) for path in (first, second)]
        try:
            at_one_moment(pins)
            print(json.dumps([pin._reference.execute("SELECT n FROM counter").fetchone()[0] for pin in pins]))
        except AttemptFailedError as failed:
            print(json.dumps(str(failed)))
        for pin in pins:
            pin.release()
    print(json.dumps({"looks": looks}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
