"""A child with a life of its own: it outlives us, and our death (end of file on its stdin) is its signal to act."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from owui_vault.system.lines import Lines

_SEND_SECONDS = 10.0


class Detached:
    """One such child: a session of its own, `/` as its directory, exactly this environment and these descriptors."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()) -> None:
        self._child = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd="/",
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
        self._lines = Lines(self._child)
        self._ended = False

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def say(self, line: str) -> bool:
        """Send one line; whether the child took it."""
        try:
            self._lines.write(line, _SEND_SECONDS)
        except (BrokenPipeError, TimeoutError):
            return False
        return True

    def heard(self, timeout_seconds: float) -> str | None:
        """The next line, or None when none came in time or none can come any more (`ended` tells which)."""
        if self._ended:
            return None
        try:
            return self._lines.read(timeout_seconds)
        except EOFError:
            self._ended = True
        except TimeoutError:
            pass
        return None

    @property
    def ended(self) -> bool:
        """Whether the child closed its output, which it does by ending."""
        return self._ended

    def let_go(self) -> None:
        """Close our ends. The child goes on as it likes."""
        self._ended = True
        self._lines.close()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
