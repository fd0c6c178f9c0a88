"""The door through which programs are started (`child_process` keeps one running beside us).

resticpy starts its own, through a command prefix we give it.

Argument lists, never a shell; stdin closed or given; exactly the environment that was asked for; output read line by
line; every program bounded by a total time, an idle time or both; ended by SIGINT, then SIGTERM, then SIGKILL, with
its whole session.
"""

from __future__ import annotations

import io
import logging
import os
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from owui_vault.errors import CancelledError, DeadlineExceededError, ProgramMissingError
from owui_vault.model import NEVER
from owui_vault.system.unwinding import undoing

_log = logging.getLogger(__name__)

STDERR_TAIL_CHARACTERS = 2000
_INTERRUPT_SECONDS = 10.0  # restic took up to 4.5 s to end its uploads after SIGINT
_TERMINATE_SECONDS = 5.0
_KILLED_SECONDS = 10.0  # what is killed ends at once, unless it waits for a disk or a server
_POLL_SECONDS = 0.2
_READ_BYTES = 1 << 16

LineSink = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program to run. `environment` is the whole of it: nothing is inherited."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None
    pass_fds: tuple[int, ...] = ()
    stdin: str | None = None
    timeout_seconds: float | None = None
    idle_seconds: float | None = None
    exact: bool = False  # stdout to the byte, not line by line
    name: str = ""  # what messages call it, when `argv` begins with something else, a launcher for one

    @property
    def program(self) -> str:
        """What messages call it."""
        return self.name or Path(self.argv[0]).name

    @property
    def shown(self) -> Sequence[str]:
        """The command without the launcher before it."""
        return self.argv[self.argv.index("--") + 1 :] if self.name and "--" in self.argv else self.argv


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that ended by itself. `status` is negative for a signal."""

    status: int
    stdout: str
    stderr: str

    @property
    def stderr_tail(self) -> str:
        """The end of what it complained about."""
        return self.stderr[-STDERR_TAIL_CHARACTERS:]


def run(
    command: Command,
    *,
    on_stdout: LineSink | None = None,
    on_stderr: LineSink | None = None,
    on_tick: Callable[[], None] | None = None,
    cancel: threading.Event = NEVER,
) -> Completed:
    """Run a program to its end.

    Lines go to a sink as they arrive and are then not kept, but for the tail of stderr. `on_tick` is called all the
    time, a few times a second when the program is silent. Raises ProgramMissingError, DeadlineExceededError (total or
    idle time passed) and CancelledError (`cancel` was set); whatever a sink or `on_tick` raises ends the program first.
    """
    started = time.monotonic()
    child = _start(command)
    out, err = _Output(child.stdout, on_stdout, exact=command.exact), _Output(child.stderr, on_stderr)
    try:
        with undoing(end, child):
            _converse(child, command, (out, err), on_tick=on_tick, cancel=cancel)
    finally:
        for stream in (child.stdout, child.stderr, child.stdin):
            if stream:
                stream.close()
        log_ended(command.shown, child.poll(), time.monotonic() - started)
    return Completed(status=child.wait(), stdout=out.text(), stderr=err.text())


def log_ended(argv: Sequence[str], status: int | None, seconds: float) -> None:
    """Log a program that has ended, for whoever wants to see all of them. No secret is ever an argument."""
    _log.debug("%s: status %s after %.2f s", shlex.join(argv), "unknown" if status is None else status, seconds)


class _Output:
    """One stream of a child, cut into lines that are handed on, or kept when nobody wants them."""

    def __init__(self, stream: IO[bytes] | None, sink: LineSink | None, *, exact: bool = False) -> None:
        self.stream = stream
        self.whole = bytearray() if exact else None
        self.sink = sink
        self.rest = b""
        self.kept: list[str] = []
        self.tail = ""

    def take(self, data: bytes) -> None:
        if self.whole is not None:
            self.whole += data
            return
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def finish(self) -> None:
        if self.rest:
            self._line(self.rest)
            self.rest = b""

    def _line(self, raw: bytes) -> None:
        line = raw.decode(errors="surrogateescape").rstrip("\r")
        if self.sink is None:
            self.kept.append(line)
            return
        self.tail = f"{self.tail}{line}\n"[-STDERR_TAIL_CHARACTERS:]
        self.sink(line)

    def text(self) -> str:
        if self.whole is not None:
            return self.whole.decode(errors="surrogateescape")
        return self.tail if self.sink else "".join(f"{line}\n" for line in self.kept)


def _start(command: Command) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            env=dict(command.environment),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=command.pass_fds,
            start_new_session=True,
            bufsize=0,
        )
    except (FileNotFoundError, PermissionError) as error:
        if command.cwd is not None and not command.cwd.is_dir():
            raise
        raise ProgramMissingError(
            f"cannot run {command.argv[0]}: {error.strerror}",
            hint=f"Install {Path(command.argv[0]).name}, or name its full path.",
        ) from error


def _converse(
    child: subprocess.Popen[bytes],
    command: Command,
    outputs: Sequence[_Output],
    *,
    on_tick: Callable[[], None] | None,
    cancel: threading.Event,
) -> None:
    started = last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for output in outputs:
            if output.stream:
                selector.register(output.stream, selectors.EVENT_READ, output.take)
        _offer_stdin(child, command, selector)
        while selector.get_map() or child.poll() is None:
            if _transfer(selector):
                last = time.monotonic()
            elif child.poll() is not None:
                # What it wrote between that look and its end is in the pipes by now. A grandchild that keeps the
                # output open (an ssh master does) is not waited for.
                while _transfer(selector, 0):
                    pass
                break
            _check_bounds(command, started, last)
            if on_tick:
                on_tick()
            if cancel.is_set():
                raise CancelledError(f"{command.program} was ended on request")
    for output in outputs:
        output.finish()


def _offer_stdin(child: subprocess.Popen[bytes], command: Command, selector: selectors.BaseSelector) -> None:
    if child.stdin is None or command.stdin is None:
        return
    os.set_blocking(child.stdin.fileno(), False)
    selector.register(child.stdin, selectors.EVENT_WRITE, bytearray(command.stdin.encode(errors="surrogateescape")))


def _transfer(selector: selectors.BaseSelector, wait_seconds: float = _POLL_SECONDS) -> bool:
    """Move what is ready; returns whether anything was, after at most one poll."""
    if not selector.get_map():
        time.sleep(wait_seconds / 10)
        return False
    ready = selector.select(wait_seconds)
    for key, _ in ready:
        if isinstance(key.data, bytearray):
            _write_some(selector, key)
            continue
        data = os.read(key.fd, _READ_BYTES)
        if data:
            key.data(data)
        else:
            selector.unregister(key.fileobj)
    return bool(ready)


def _write_some(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    left: bytearray = key.data
    try:
        del left[: os.write(key.fd, left)]
    except BrokenPipeError:
        left.clear()  # it did not want to read; its status tells
    if not left:
        selector.unregister(key.fileobj)
        if isinstance(key.fileobj, io.IOBase):
            key.fileobj.close()


def _check_bounds(command: Command, started: float, last: float) -> None:
    now = time.monotonic()
    program = command.program
    if command.timeout_seconds is not None and now - started > command.timeout_seconds:
        raise DeadlineExceededError(
            f"{program} did not finish within {command.timeout_seconds:g} s",
            hint="Check whether its disk or host responds, then try again.",
        )
    if command.idle_seconds is not None and now - last > command.idle_seconds:
        raise DeadlineExceededError(
            f"{program} produced no output for {command.idle_seconds:g} s",
            hint="Check whether its disk or host responds, or raise limits.idle.",
        )


def end(child: subprocess.Popen[bytes]) -> None:
    """End a program and everything in its session: ask, insist, kill.

    Raises DeadlineExceededError when not even that ends it: it waits inside the kernel, and ends once that lets it go.
    """
    for number, patience in (
        (signal.SIGINT, _INTERRUPT_SECONDS),
        (signal.SIGTERM, _TERMINATE_SECONDS),
        (signal.SIGKILL, _KILLED_SECONDS),
    ):
        if child.poll() is not None:
            break
        _signal_group(child, number)
        _wait(child, patience)
    _kill_session(child.pid)
    if child.poll() is None:
        threading.Thread(target=child.wait, name=f"wait-{child.pid}", daemon=True).start()
        raise DeadlineExceededError(
            f"process {child.pid} was killed but does not exit: it is waiting for a disk or a server",
            hint="Check whether the file systems and hosts it uses respond.",
        )


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for its end, and drop what it says meanwhile: with a full pipe it would wait for us, and never end."""
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for stream in (child.stdout, child.stderr):
            if stream and not stream.closed:
                selector.register(stream, selectors.EVENT_READ, len)
        while child.poll() is None and time.monotonic() < until:
            _transfer(selector)


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _kill_session(leader: int) -> None:
    """Kill what is left of a program. restic 0.19 gives its ssh a group of its own, and leaves it when it ends."""
    for name in os.listdir("/proc"):
        with suppress(ValueError, ProcessLookupError, PermissionError):
            if os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)


def run_attached(argv: Sequence[str], *, stdout_to_stderr: bool = False) -> int:
    """Run a command of the user's on the user's own terminal and environment.

    Returns its status, negative for a signal. Raises ProgramMissingError. Whatever interrupts us ends it first.
    """
    try:
        child = subprocess.Popen(list(argv), stdout=sys.stderr if stdout_to_stderr else None)
    except (FileNotFoundError, PermissionError) as error:
        raise ProgramMissingError(f"cannot run {argv[0]}: {error.strerror}", hint="Name its full path.") from error

    def finish() -> None:
        child.terminate()
        try:
            child.wait(timeout=_TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=_KILLED_SECONDS)

    with undoing(finish):
        return child.wait()


@contextmanager
def secret_descriptor(text: str) -> Iterator[int]:
    """A descriptor to hand to a child by `pass_fds`, from which it reads the secret once."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)  # a secret longer than the pipe is a mistake, not a wait
        with os.fdopen(writer, "wb") as file:
            file.write(text.encode(errors="surrogateescape"))  # a location is a path, of any bytes
        yield reader
    finally:
        os.close(reader)
