"""Measure the processes that tests start, too: the capture's child, the guardian, the command line.

Children get exactly the environment they need, so coverage cannot be switched on there by a variable. A `.pth` file in
the virtual environment looks for a flag file instead, which only exists while `make coverage` runs. Some children are
started without any site folder (`-S`); for their sake tests/conftest.py makes a wrapper `sys.executable`, which drops
that option.

To measure a child takes ten times the processor time of a child that does nothing, so there are two wrappers. One
measures captures, and is for the tests of captures; the other does not, and is for everybody who takes one on the way.

    python tools/coverage_in_children.py on | off
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "coverage-in-children"
WITH_CAPTURES, WITHOUT_CAPTURES = WRAPPERS = FOLDER / "python3", FOLDER / "without-captures" / "python3"
SITE = Path(sysconfig.get_path("purelib"))

WRAPPER_TEXT = f"""\
#!/bin/sh
case "$*" in
    # Ten thousand of them walk the same few lines: one in eight is measured.
    *launcher.py*) [ $(($$ % 8)) = 0 ] || exec {sys.executable} "$@" ;;
    *owui_vault.capture.child.main*) [ "$0" = {WITH_CAPTURES} ] || exec {sys.executable} "$@" ;;
esac
for argument; do
    shift
    if [ "$argument" = -S ] && [ -z "$seen" ]; then seen=1; else set -- "$@" "$argument"; fi
done
MEASURED_PYTHON="$0" exec {sys.executable} "$@"
"""

STARTER_TEXT = f"""\
import os
import sys

STARTED_AS = os.environ.pop("MEASURED_PYTHON", {str(WITH_CAPTURES)!r})


def ours():
    words = " ".join(sys.orig_argv[1:])
    others = ("bin/pytest", "-m pytest", "sys.stdin.readline", "each in sys.modules", "sorted(sys.modules")
    return "owui_vault" in words and not any(other in words for other in others)


def measure():
    import atexit
    import signal

    import coverage

    sys.executable = STARTED_AS
    measured = coverage.Coverage(
        config_file={str(ROOT / "pyproject.toml")!r},
        data_file={str(ROOT / ".coverage")!r},
        data_suffix=True,
        source=[{str(ROOT / "owui_vault")!r}],
    )

    def finish():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        measured.stop()
        try:
            measured.save()
        except Exception:
            pass  # another user, who may not write here

    measured.start()
    atexit.register(finish)
    if any("owui_vault.capture" in argument for argument in sys.orig_argv):
        # The capture's child is always ended by SIGKILL, after an answer: what was measured is saved before each one.
        answer = sys.stdout.flush

        def flush():
            measured.save()
            answer()

        sys.stdout.flush = flush


if os.path.exists({str(WITH_CAPTURES)!r}) and ours():
    measure()
"""


def main() -> None:
    pth, starter = SITE / "coverage_in_children.pth", SITE / "coverage_in_children.py"
    if sys.argv[1:] == ["on"]:
        starter.write_text(STARTER_TEXT)
        pth.write_text("import coverage_in_children\n")
        for wrapper in WRAPPERS:
            wrapper.parent.mkdir(parents=True, exist_ok=True)
            wrapper.write_text(WRAPPER_TEXT)
            wrapper.chmod(0o755)
    else:
        for path in (*WRAPPERS, pth, starter):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
