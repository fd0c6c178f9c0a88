"""Asking resticpy: its functions that take the command, with the launcher as the beginning of that command.

resticpy runs a command, waits for it and parses its output. It cannot set an environment, pass descriptors, limit the
time, or report the exit status except as English text in an exception; the launcher does that for it.
"""

from __future__ import annotations

import json
import os
import select
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from owui_vault.engines.common.environment import launcher_argv, private_folder
from owui_vault.engines.restic.errors import WHY_NOTHING_MOVES
from owui_vault.errors import (
    CancelledError,
    ConfigError,
    DeadlineExceededError,
    EngineOutputError,
    VaultError,
)
from owui_vault.system.clock import SystemClock
from owui_vault.system.process import log_ended
from owui_vault.system.unwinding import undoing

Result = TypeVar("Result")
_POLL_SECONDS = 0.1
_SOON_SECONDS = 0.02  # from the answer to the end of the launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the launcher needs to know. `base` is the beginning of restic's own command."""

    base: list[str]
    descriptors: Mapping[int, str]
    environment: Mapping[str, str]
    record: str
    timeout_seconds: float
    hopeless: str = ""  # a pattern: once it complains of this, it has so long at most
    hopeless_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Result]):
    """What resticpy made of it, and how restic ended. `why` it was ended by us: `timeout`, `cancelled` or empty."""

    question: Question
    result: Result | None
    error: BaseException | None
    status: int | None
    stderr: str
    why: str

    def result_or(self, failure: Callable[[int | None, str], VaultError], clean: Callable[[str], str]) -> Result:
        """The result. Raises DeadlineExceededError, CancelledError, EngineOutputError or what `failure` makes of it."""
        if self.why == "cancelled":
            raise CancelledError("restic was ended on request")
        if self.why == "timeout":
            reason = failure(self.status, self.stderr)
            if isinstance(reason, WHY_NOTHING_MOVES):
                raise reason  # it said all the time why it did not get on; what else it says is of its being ended
            raise DeadlineExceededError(
                f"restic did not answer within {self.question.timeout_seconds:g} s",
                hint="Check whether the disk or host of the repository responds.",
            ) from reason
        if self.status != 0:
            raise failure(self.status, self.stderr) from None
        if self.error is not None:
            # not `from` it: resticpy quotes what restic said, whatever stands in that
            raise EngineOutputError(f"unexpected answer from restic: {clean(str(self.error))}", engine="restic")
        return self.result  # type: ignore[return-value]  # no error, so there is one


def ask_restic(
    question: Question, function: Callable[[list[str]], Result], cancel: threading.Event, folder: Path
) -> Answer[Result]:
    """Call one of resticpy's functions with a command that begins with the launcher. `folder` is ours alone."""
    started = SystemClock().monotonic()
    with _channel(folder) as channel:
        channel.send(json.dumps(asdict(question)).encode() + b"\n")
        pipes = (str(channel.request_path), str(channel.answer_path))
        base = [*launcher_argv(), "ask", str(os.getpid()), *pipes, "--", *question.base]
        result, error = _call(lambda: function(base), cancel, channel)
        head, _, stderr = channel.received().partition(b"\n")
    told: dict[str, Any] = json.loads(head or b"{}")
    log_ended(told.get("argv", question.base), told.get("status"), SystemClock().monotonic() - started)
    return Answer(
        question=question,
        result=result,
        error=error,
        status=told.get("status"),
        stderr=stderr.decode(errors="replace") if told else str(error or ""),
        why=told.get("why", ""),
    )


def _call(
    function: Callable[[], Result], cancel: threading.Event, channel: _Channel
) -> tuple[Result | None, BaseException | None]:
    """Call it in a thread of its own, so that a signal or `cancel` reaches us and not resticpy's wait."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # what a thread raises is nobody's: handed on to the caller's
            errors.append(error)

    worker = threading.Thread(target=work, name="resticpy", daemon=True)
    worker.start()

    def stop() -> None:
        channel.send(b"!")
        while worker.is_alive():
            channel.receive(_POLL_SECONDS)

    with undoing(stop):
        while worker.is_alive():
            worker.join(_SOON_SECONDS if channel.receive(_POLL_SECONDS) else 0)
            if cancel.is_set():
                channel.send(b"!")
    return next(iter(results), None), next(iter(errors), None)


class _Channel:
    """Two named pipes to the launcher. Open at both ends from the beginning, so that nobody waits to be met."""

    def __init__(self, folder: Path) -> None:
        self.request_path, self.answer_path = folder / "request", folder / "answer"
        for path in (self.request_path, self.answer_path):
            os.mkfifo(path, 0o600)
        self._request = os.open(self.request_path, os.O_RDWR | os.O_NONBLOCK)
        self._answer = os.open(self.answer_path, os.O_RDWR | os.O_NONBLOCK)
        self._arrival = select.poll()  # select(2) takes no descriptor beyond 1,023
        self._arrival.register(self._answer, select.POLLIN)
        self._received = b""

    def send(self, data: bytes) -> None:
        """Hand this over. An environment that does not fit is a mistake, not a wait."""
        with suppress(BlockingIOError):  # full of `!`: that is enough of them
            if os.write(self._request, data) < len(data):
                raise ConfigError("the environment of the repository is too large")

    def receive(self, seconds: float) -> bool:
        """Take what has come; returns whether something has."""
        if not self._arrival.poll(seconds * 1000):
            return False
        self._received += os.read(self._answer, 1 << 16)
        return True

    def received(self) -> bytes:
        """Everything, once the launcher has ended."""
        while self.receive(0):
            pass
        return self._received

    def close(self) -> None:
        os.close(self._request)
        os.close(self._answer)


@contextmanager
def _channel(parent: Path) -> Iterator[_Channel]:
    """A channel in a folder of its own.

    Not `/proc/PID/fd`: that belongs to root once a process has changed its user.
    """
    with tempfile.TemporaryDirectory(dir=private_folder(parent, "asking")) as folder:
        channel = _Channel(Path(folder))
        try:
            yield channel
        finally:
            channel.close()
