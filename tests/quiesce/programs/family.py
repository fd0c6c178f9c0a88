"""An application that writes without end, as several processes with several threads: `family.py FILE [independent]`.

Each writer appends one byte at a time to FILE.N. The main process writes its pid to FILE.pid once all of them run.
"""

import ctypes
import os
import signal
import sys
import threading
import time


def write_on(path: str) -> None:
    with open(path, "ab", buffering=0) as file:
        while True:
            file.write(b".")
            time.sleep(0.002)


def main() -> None:
    target, independent = sys.argv[1], len(sys.argv) > 2
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for number in range(2):
        if os.fork() == 0:
            # A service manager signals everybody once: a child forked at that moment would stay behind.
            if not independent:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            write_on(f"{target}.{number + 1}")
    threading.Thread(target=write_on, args=(f"{target}.thread",), daemon=True).start()
    with open(f"{target}.pid.new", "w") as file:
        file.write(f"{os.getpid()}\n")
    os.rename(f"{target}.pid.new", f"{target}.pid")  # noqa: PTH104 - a program of a few lines
    write_on(f"{target}.0")


main()
