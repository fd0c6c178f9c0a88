"""Runs restic: the two ways to call it, with passphrase and location by descriptor and the launcher in front."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from owui_vault.engines.common import launcher
from owui_vault.engines.common.disk_full import local_disk_full
from owui_vault.engines.common.environment import (
    INHERITED,
    engine_environment,
    launcher_argv,
    private_folder,
    redact,
    reveal_all,
    ssh_command,
)
from owui_vault.engines.common.run_records import new_record
from owui_vault.engines.common.unreachable import HOPELESS, HOPELESS_SECONDS
from owui_vault.engines.restic import questions
from owui_vault.engines.restic.errors import ENGINE, error_for, is_complaint, message_of
from owui_vault.engines.restic.location import Location, password_in, probe, ssh_words, with_credentials
from owui_vault.engines.restic.monitor import LineMonitor, Monitor
from owui_vault.engines.restic.resticpy import Question, ask_restic
from owui_vault.errors import DeadlineExceededError, ProgramMissingError, SecretError, VaultError
from owui_vault.model import NEVER, Compression
from owui_vault.ports import Call, SecretSource
from owui_vault.system import process
from owui_vault.system.durable_files import read_json, write_durably

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
LineSink = Callable[[str], None]

_STDERR_LINES = 500
_PROBE_SECONDS = 20.0
_PASSED_OVER = ("Ignoring", "could not load snapshot")  # the second with restic 0.14
_PROGRESS_PER_SECOND = "10"
_LEFT_ITS_LOCK = re.compile(r"error while unlocking|Remove\(<lock/")
OLDEST = (0, 14)
_COMPRESSIONS = {Compression.OFF: "off", Compression.FAST: "auto", Compression.MAX: "max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one repository is reached."""

    program: str
    location: Location
    passphrase: SecretSource
    environment: Mapping[str, SecretSource | str]
    options: tuple[str, ...]
    upload_limit: int | None = None  # bytes per second, as the next one
    download_limit: int | None = None
    compression: Compression | None = None

    def flags(self) -> list[str]:
        """What restic is told about how it may use this repository. Its limits are whole KiB per second."""
        limits = {"--limit-upload": self.upload_limit, "--limit-download": self.download_limit}
        told = [word for flag, limit in limits.items() if limit for word in (flag, str(max(1, limit >> 10)))]
        return told + (["--compression", _COMPRESSIONS[self.compression]] if self.compression else [])


def agree(one: Access, other: Access) -> bool:
    """Whether one environment and one set of options serve both: no variable and no option has two meanings.

    Both over sftp do not: restic is told one way to start ssh for all. Two of one kind share all that is named for
    either: a key that one names and the other has from a profile would be used for both. So it is with what every
    program inherits, such as PATH. Values that cannot be compared without asking for them count as different.
    """
    named = one.environment.keys() | other.environment.keys()
    kinds = {each.location.text.partition(":")[0] for each in (one, other)}
    shared = named if len(kinds) == 1 else named & INHERITED
    if any(one.environment.get(name) != other.environment.get(name) for name in shared):
        return False
    options = [dict(option.partition("=")[::2] for option in each.options) for each in (one, other)]
    pairs: tuple[tuple[Mapping[str, object], Mapping[str, object]], ...] = (
        (one.environment, other.environment),
        (options[0], options[1]),
    )
    same = all(first[name] == second[name] for first, second in pairs for name in first.keys() & second.keys())
    return same and not (ssh_words(one.location.text) and ssh_words(other.location.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What restic said when it ended by itself. `stderr` is kept although it was handed on."""

    status: int
    stdout: str
    stderr: tuple[str, ...]
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """Who takes the lines. What nobody takes of stdout is kept."""

    stdout: LineSink | None = None
    stderr: LineSink | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a run may take in all and be silent."""

    total: float | None = None
    idle: float | None = None


class Restic:
    """restic for the length of one operation: secrets are asked for once, and forgotten with it."""

    def __init__(self, access: Access, call: Call) -> None:
        self.call = call
        self.location = access.location
        self._source: Restic | None = None
        self.passed_over: list[str] = []  # what it could not read and left out of an answer
        self._extra = reveal_all(access.environment, call.secrets)
        self._told = with_credentials(access.location.text, self._extra)
        self._passphrase = call.secrets.of(access.passphrase)
        if not self._passphrase.strip():
            raise SecretError(f"the passphrase of {access.location.shown} is empty")
        values = (call.secrets.of(value) for value in access.environment.values() if not isinstance(value, str))
        self._secrets: tuple[str, ...] = (self._passphrase, password_in(self._told), *values)
        self._environment = engine_environment(self._ours(), self._extra, call.environ)
        self._program = self._find(access.program)
        options = (*access.options, *self._patient(access))
        self._options = tuple(word for option in options for word in ("-o", option))
        self._flags = tuple(access.flags())
        self._fetching = tuple(replace(access, upload_limit=None, compression=None).flags())
        probe(access.location, self._environment, seconds=min(_PROBE_SECONDS, call.timeout_seconds))

    def _ours(self) -> dict[str, str]:
        return {
            "RESTIC_CACHE_DIR": str(private_folder(self.call.folder, "cache")),
            "RESTIC_PROGRESS_FPS": _PROGRESS_PER_SECOND,
        }

    def _find(self, program: str) -> str:
        found = shutil.which(program, path=self._environment["PATH"])
        if found is None:
            raise ProgramMissingError(
                f"{program} is not installed",
                hint="Install it (Debian, Ubuntu: apt install restic), or name its full path.",
            )
        return str(Path(found).absolute())  # restic is run in the stage, from where a relative path leads elsewhere

    def _patient(self, access: Access) -> tuple[str, ...]:
        """How restic is to start ssh, where nobody has said it: its own waits for a silent host for ever."""
        words = ssh_words(access.location.text)
        if not words or any(option.startswith(("sftp.command=", "sftp.args=")) for option in access.options):
            return ()
        return (f"sftp.command={ssh_command(self.call.timeout_seconds)} {shlex.join(words)}",)

    def _base(self, passphrase: int, location: int) -> list[str]:
        files = ("--password-file", f"/dev/fd/{passphrase}", "--repository-file", f"/dev/fd/{location}")
        return [self._program, *files, *self._options, *self._flags]

    def _as_source(self, passphrase: int, location: int) -> list[str]:
        files = ("--from-password-file", f"/dev/fd/{passphrase}", "--from-repository-file", f"/dev/fd/{location}")
        return [*files, *self._options, *self._fetching]

    def clean(self, text: str) -> str:
        """What restic said, as it may be shown; only for what was understood before: a secret may be a word of it."""
        return redact(text, self._secrets)

    def error(self, status: int | None, stderr: Sequence[str], argv: Sequence[str]) -> VaultError:
        """What to raise for a failure."""
        text = "\n".join(stderr)
        found = local_disk_full(text, self.call.folder, self.clean)
        return found or error_for(status, text, location=self.location.shown, argv=argv, secrets=self._secrets)

    def run(
        self,
        *arguments: str,
        sinks: Sinks | None = None,
        monitor: Monitor | None = None,
        cwd: Path | None = None,
        bounds: Bounds | None = None,
    ) -> RunResult:
        """Run restic through our own door. The caller looks at the status.

        Whatever it does, it is ended when it goes on complaining that the repository does not answer.
        """
        sinks, monitor = sinks or Sinks(), monitor or LineMonitor(self.call)
        bounds = bounds or Bounds(idle=self.call.idle_seconds)
        record, kept = new_record(self.call.folder), deque[str](maxlen=_STDERR_LINES)
        with ExitStack() as stack:
            secrets = (self._passphrase, self._told)
            descriptors = [stack.enter_context(process.secret_descriptor(text)) for text in secrets]
            argv = (*self._base(*descriptors), *arguments)
            if source := self._source:
                secrets = (source._passphrase, source._told)
                theirs = [stack.enter_context(process.secret_descriptor(text)) for text in secrets]
                argv = (*argv, *source._as_source(*theirs))
                descriptors += theirs
                record.touch(mode=0o600)
                # One file: the next run in either repository finds out whether this one is dead.
                beside = new_record(source.call.folder)
                beside.hardlink_to(record)
            monitor.follow(record, self.clean, lambda line: self.error(None, [line], argv))
            command = process.Command(
                argv=(*launcher_argv(), "run", str(os.getpid()), str(record), "--", *argv),
                name=ENGINE,
                environment=self._environment,
                cwd=cwd,
                pass_fds=tuple(descriptors),
                timeout_seconds=bounds.total,
                idle_seconds=bounds.idle,
            )
            try:
                done = process.run(
                    command,
                    on_stdout=_each(monitor.heard, sinks.stdout) if sinks.stdout else None,
                    on_stderr=_each(kept.append, monitor.hear, sinks.stderr, self._complain if bounds.idle else None),
                    on_tick=monitor.tick,
                    cancel=self.call.cancel,
                )
            except DeadlineExceededError as error:
                raise monitor.why(error) from error
        # Else its record says that it may have left something behind: it was killed, or could not remove its lock.
        if done.status == 0 or (done.status > 0 and not any(map(_LEFT_ITS_LOCK.search, kept))):
            record.unlink(missing_ok=True)
            if source:
                beside.unlink(missing_ok=True)
        if done.status in (launcher.CANNOT_RUN, launcher.PARENT_GONE):
            raise ProgramMissingError(f"cannot run {self._program}: {self.clean(' '.join(kept))}")
        return RunResult(status=done.status, stdout=done.stdout, stderr=tuple(kept), argv=argv)

    def _complain(self, line: str) -> None:
        if is_complaint(line):
            self.call.complain(self.clean(line.strip()))

    def run_checked(
        self,
        *arguments: str,
        sinks: Sinks | None = None,
        monitor: Monitor | None = None,
        short: bool = False,
    ) -> None:
        """Run it, and raise what any other status than 0 means. `short` runs are bounded by their whole time."""
        bounds = Bounds(total=self.call.timeout_seconds) if short else None
        result = self.run(*arguments, sinks=sinks, monitor=monitor, bounds=bounds)
        if result.status != 0:
            raise self.error(result.status, result.stderr, result.argv)

    def reading_from(self, source: Restic) -> Restic:
        """The same for a command that reads from another repository as well: `copy`."""
        both = copy(self)
        both._source = source
        both._secrets = (*self._secrets, *source._secrets)
        both._environment = {**source._extra, **self._environment}
        return both

    def uncancellable(self) -> Restic:
        """The same, but `cancel` is not heard: for what must not be left half finished."""
        calm = copy(self)
        calm.call = replace(self.call, cancel=NEVER)
        return calm

    def version(self) -> str:
        """Which restic this is. Raises ProgramMissingError when it is too old.

        Asking takes 0.15 s, so that the answer is kept for as long as the program's file stays the same.
        """
        memory, program = self.call.folder / "version.json", _identity(self._program)
        known = read_json(memory)
        if known.get("program") == program and isinstance(version := known.get("version"), str):
            return version
        version = self.ask(questions.version)
        if _numbers(version) < OLDEST:
            raise ProgramMissingError(f"restic {version} is too old", hint="Install restic 0.14 or newer.")
        write_durably(memory, json.dumps({"program": program, "version": version}).encode())
        return version

    def version_numbers(self) -> tuple[int, ...]:
        """The same, to be compared."""
        return _numbers(self.version())

    def ask(self, question: Callable[[list[str]], Result], *flags: str, bounds: Call | None = None) -> Result:
        """Let resticpy ask a question. `flags` stand before the command. Raises what the failure means."""
        call = bounds or self.call
        record = new_record(self.call.folder)
        asked = Question(
            base=[*self._base(60, 61), "--json", *flags],
            descriptors={60: self._passphrase, 61: self._told},
            environment=self._environment,
            record=str(record),
            timeout_seconds=call.timeout_seconds,
            hopeless=HOPELESS,
            hopeless_seconds=HOPELESS_SECONDS,
        )
        answer = ask_restic(asked, question, call.cancel, call.folder)
        if answer.why == "" and answer.status is not None and answer.status >= 0:  # no status: the launcher was killed
            record.unlink(missing_ok=True)
        if answer.status == 0:
            for line in answer.stderr.splitlines():  # "Ignoring …: invalid data returned" comes with status 0
                text = message_of(line)
                logger.warning("restic on %s: %s", self.location.shown, self.clean(text))
                if text.startswith(_PASSED_OVER):
                    self.passed_over.append(self.clean(text))
        return answer.result_or(lambda status, stderr: self.error(status, stderr.splitlines(), asked.base), self.clean)

    @property
    def shown(self) -> str:
        """The location, credentials removed."""
        return self.location.shown


def _identity(program: str) -> list[object]:
    """Changes whenever the program is replaced."""
    status = Path(program).stat()
    return [program, status.st_ino, status.st_size, status.st_mtime_ns]


def _each(*sinks: LineSink | None) -> LineSink:
    """One sink for all of these."""

    def take(line: str) -> None:
        for sink in sinks:
            if sink:
                sink(line)

    return take


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
