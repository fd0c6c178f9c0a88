"""Runs borg: which program, in which environment, and what its exit means.

Borg has no Python interface; its command line and its JSON are what it documents for other programs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from owui_vault.engines.borg.errors import CANNOT_BE_LOCKED, ENGINE, Circumstances, classify, telling_lines
from owui_vault.engines.borg.locks import clear_remains, holder_in
from owui_vault.engines.borg.output import Message, Transcript
from owui_vault.engines.borg.security import forget_what_was_written, hear_of_writing, writers_memory
from owui_vault.engines.common import launcher
from owui_vault.engines.common.disk_full import local_disk_full
from owui_vault.engines.common.environment import engine_environment, launcher_argv, private_folder, redact, ssh_command
from owui_vault.engines.common.run_records import new_record
from owui_vault.errors import EngineError, EngineOutputError, ProgramMissingError, RepositoryLockedError, VaultError
from owui_vault.model import Compression
from owui_vault.ports import Call
from owui_vault.system.process import STDERR_TAIL_CHARACTERS, Command, LineSink, run, secret_descriptor
from owui_vault.system.python import interpreter
from owui_vault.system.removal import remove_tree
from owui_vault.system.unwinding import undoing

Result = TypeVar("Result")
_SHOWN_CHARACTERS = 200  # of an answer that could not be understood
_OLDEST, _TOO_NEW = (1, 2), (2, 0)
#: `python -m borg --version` calls itself by the name of its file.
_VERSION = re.compile(r"(?:borg|__main__\.py) (?P<text>(?P<major>\d+)\.(?P<minor>\d+)\S*)")
_VERSION_SECONDS = 30.0
_LOCK_RESERVE_SECONDS = 5.0
#: Of borg 1.4 with BORG_EXIT_CODES=modern (1.2 has 1 alone); 126 and 127 mean that it could not be run.
_WARNINGS = range(100, 126)
_NOT_EXECUTABLE = 126  # what a shell script answers whose program may not be run
_INSTALL = "Install borg 1.2 or newer (`apt install borgbackup`), or the extra `owui-vault[borg]`."
_FLAGS = ("--log-json",)
_WRITING = ("create", "delete", "recreate")
_ELSEWHERE = re.compile(r"[^/]*:")  # told from paths as borg does it
_NOISE = re.compile(r"^Include pattern .* never matched")  # a folder above what was asked for need not be an entry
_KEPT = ("BORG_KEYS_DIR",)  # where the user's key files lie; without it borg looks below HOME


def find_program(program: str) -> tuple[str, ...]:
    """The command that starts borg.

    `borg` is that of this Python environment (the extra `owui-vault[borg]`) where there is one, since whoever installed
    it wants it, else the one on PATH. Any other name or path is that very program, seen from where this process
    works: borg is run elsewhere.
    """
    if program == ENGINE and _installed_version():
        # -P: else `-m` looks for modules in the working directory first, and that is the tree to be stored.
        return (interpreter(), "-P", "-m", "borg")
    return (str(Path(program).absolute()) if "/" in program else program,)


def _installed_version() -> str:
    """The version of the package in this Python environment; empty where there is none."""
    try:
        return importlib.metadata.version("borgbackup")
    except importlib.metadata.PackageNotFoundError:
        return ""


def local_folder(location: str) -> Path | None:
    """Where a repository of this machine is; None for one elsewhere: `ssh://…` or `user@host:…`."""
    path = location.removeprefix("file://")
    return None if _ELSEWHERE.match(path) else Path(path)


def archive_argument(name: str) -> str:
    """How an archive of this name is called on borg's command line, where `{now}` and the like are replaced."""
    return "::" + name.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all runs on one repository have in common. Holds revealed secrets: lives as long as one operation."""

    argv: tuple[str, ...]  # find_program's
    location: str
    shown_location: str
    passphrase: str
    environment: Mapping[str, str]  # the user's, revealed
    remote_path: str = ""
    upload_limit: int | None = None  # bytes per second
    compression: Compression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run of borg that did what it was asked for, perhaps with warnings."""

    status: int
    stdout: str
    complaints: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command of borg. `long` ones are bounded by silence, the others by their whole time."""

    arguments: tuple[str, ...]
    long: bool = False
    cwd: Path | None = None
    environment: Mapping[str, str] | None = None  # in addition
    on_stdout: LineSink | None = None
    on_message: Callable[[Message], None] | None = None
    reads: bool = False  # may be done without a lock where none can be written
    on_tick: Callable[[], None] | None = None  # see system.process.run


class Borg:
    """One operation's runs of borg on one repository."""

    def __init__(self, setting: Setting, call: Call, names: dict[str, str]) -> None:
        self._setting = setting
        self._names = names  # of archives, by id: the engine's, from one operation to the next
        self.call = call
        self.folder = private_folder(call.folder, "borg")
        self._seen = self.folder / "security"
        self._written = writers_memory(self._seen, call.shared) if call.shared else self._seen
        self._encrypted_memory = self.folder / "encrypted.json"

    def run(self, request: Request) -> Finished:
        """Run borg to its end.

        Raises what the table in `errors` says, ProgramMissingError, DeadlineExceededError, CancelledError.
        """

        def clear() -> None:  # to another machine the lock of a killed borg would stand until our next run
            with suppress(OSError):
                self.clear_locks()

        with undoing(clear):
            return self._with_or_without_lock(request)

    def _with_or_without_lock(self, request: Request) -> Finished:
        try:
            return self._once(request)
        except EngineError as error:
            if not (request.reads and self.cannot_lock(error)):
                raise
        # The disk of a dead machine, mounted read-only: nobody can write there, so that nobody is in our way either.
        return self._once(request, "--bypass-lock")

    def _once(self, request: Request, *flags: str) -> Finished:
        transcript = Transcript(listener=self._listener(request))
        name, *rest = request.arguments
        arguments = (name, *_FLAGS, *flags, *self._remote(), *self._lock_wait(request), *rest)
        record = new_record(self.call.folder)
        with secret_descriptor(self._setting.passphrase) as descriptor:
            done = run(
                Command(
                    argv=(*self._launched(str(record)), *arguments),
                    name=ENGINE,
                    environment=self._environment(descriptor, request.environment, reads=request.reads),
                    cwd=request.cwd or self.folder,
                    pass_fds=(descriptor,),
                    timeout_seconds=None if request.long else self.call.timeout_seconds,
                    idle_seconds=self.call.idle_seconds if request.long else None,
                ),
                on_stdout=request.on_stdout,
                on_stderr=transcript.take,
                on_tick=request.on_tick,
                cancel=self.call.cancel,
            )
        if done.status >= 0:  # it ended by itself; else its record says that it may have left a lock behind
            record.unlink(missing_ok=True)
        if not (done.status in (0, 1) or done.status in _WARNINGS):
            raise self._error(done.status, arguments, transcript)
        if name in _WRITING:
            hear_of_writing(self._seen, self._written)
        return Finished(status=done.status, stdout=done.stdout, complaints=tuple(transcript.complaints))

    def _listener(self, request: Request) -> Callable[[Message], None]:
        """Who hears each message as it comes. What borg ends with has an id, and is told by the error."""

        def hear(message: Message) -> None:
            told_at_the_end = message.msgid and message.level != "WARNING"
            if request.long and message.is_complaint and not told_at_the_end and not _NOISE.search(message.text):
                self.call.complain(self.clean(message.text))
            if request.on_message:
                request.on_message(message)

        return hear

    @staticmethod
    def cannot_lock(error: EngineError) -> bool:
        """Whether it failed since no lock can be written there."""
        return error.message.endswith(CANNOT_BE_LOCKED)

    def _launched(self, record: str = "") -> tuple[str, ...]:
        """The launcher first: borg ends when we do, however that happens."""
        return (*launcher_argv(), "run", str(os.getpid()), record, "--", *self._setting.argv)

    def _error(self, status: int, arguments: tuple[str, ...], transcript: Transcript) -> VaultError:
        program = " ".join(self._setting.argv)
        if status in (launcher.CANNOT_RUN, _NOT_EXECUTABLE):
            return ProgramMissingError(f"cannot run {program}", hint=_INSTALL)
        texts = transcript.texts
        if found := local_disk_full("\n".join(texts), self.call.folder, self.clean):
            return found
        where = Circumstances(
            location=self._setting.shown_location,
            folder=str(self.folder),
            argv=tuple(self.clean(each) for each in (*self._setting.argv, *arguments)),
            stderr_tail=self.clean("\n".join(telling_lines(texts)))[-STDERR_TAIL_CHARACTERS:],
            clean=self.clean,
        )
        error = classify(status, transcript.msgids, texts, where)
        if isinstance(error, RepositoryLockedError) and (folder := local_folder(self._setting.location)):
            error.holder = holder_in(folder)
        return error

    def understood(self, parse: Callable[[str], Result], text: str) -> Result:
        """An answer of borg as a value. Raises EngineOutputError, which shows its beginning."""
        try:
            return parse(text)
        except EngineOutputError as error:
            shown = self.clean(error.stderr_tail)[:_SHOWN_CHARACTERS]
            raise EngineOutputError(
                self.clean(error.message), engine=ENGINE, stderr_tail=shown, hint=error.hint
            ) from None

    def clean(self, text: str) -> str:
        """What borg said, as it may be shown; only for what was understood before: a secret may be a word of it."""
        return redact(text, (self._setting.passphrase, *self._setting.environment.values()))

    def at(self, location: str) -> Borg:
        """The same, on what stands in for the repository; messages call it what they did."""
        return Borg(replace(self._setting, location=location), self.call, self._names)

    @property
    def shown_location(self) -> str:
        """For messages."""
        return self._setting.shown_location

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is reached over a network."""
        return local_folder(self._setting.location) is None

    def forget(self) -> None:
        """Have the repository accepted as it is: its cache remembers it as well."""
        forget_what_was_written(self._seen, self._written)
        remove_tree(self.folder / "cache")

    def clear_locks(self) -> None:
        """Remove the locks of our dead, in the repository and in its caches."""
        repository = local_folder(self._setting.location)
        places = [repository] if repository else []
        if all(place.is_dir() for place in places):  # else its disk is not mounted, and the runs are still needed
            caches = (path for path in (self.folder / "cache").glob("*") if path.is_dir())
            clear_remains(self.call.folder, [*places, *caches])

    def remember_encrypted(self, repository_id: str) -> None:
        """Note that the repository at this location was seen to be encrypted."""
        if not self.known_encrypted():
            self._encrypted_memory.write_text(json.dumps([self._place, repository_id]))

    def known_encrypted(self) -> bool:
        """Whether somebody looked already."""
        return bool(_read_memory(self._encrypted_memory, self._place))

    def remember_names(self, names: Mapping[str, str]) -> None:
        """Note what all archives are called, by their ids."""
        for gone in self._names.keys() - names:
            self._names.pop(gone, None)
        self._names.update(names)

    def known_name(self, archive_id: str) -> str:
        """What the archive was called when this engine listed all of them last; empty for an unknown one."""
        return self._names.get(archive_id, "")

    @property
    def _place(self) -> str:
        """The location so that no password in it comes to be on a disk."""
        return hashlib.sha256(self._setting.location.encode(errors="surrogateescape")).hexdigest()

    def version(self) -> str:
        """The version of the program. Raises ProgramMissingError when it is too old or too new.

        Starting borg takes 0.1 to 0.2 s of the second that a snapshot takes, hence the memory in the folder.
        """
        memory, key = self.folder / "version.json", self._identity()
        known = _read_memory(memory, key)
        if known:
            return known
        done = run(
            Command(
                argv=(*self._launched(), "--version"),
                name=ENGINE,
                environment=self._environment(None, None),
                timeout_seconds=_VERSION_SECONDS,
            ),
            cancel=self.call.cancel,
        )
        if done.status in (launcher.CANNOT_RUN, _NOT_EXECUTABLE):
            raise ProgramMissingError(f"cannot run {' '.join(self._setting.argv)}", hint=_INSTALL)
        found = _checked_version(done.stdout, " ".join(self._setting.argv))
        memory.write_text(json.dumps([key, found]))
        return found

    def _identity(self) -> str:
        """Changes whenever the program is replaced."""
        program, *rest = self._setting.argv
        if rest:
            return f"{program} {_installed_version()}"
        path = shutil.which(program, path=self._environment(None, None)["PATH"])
        if path is None:
            return ""
        facts = Path(path).stat()
        return f"{path} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"

    def _environment(
        self, descriptor: int | None, more: Mapping[str, str] | None, *, reads: bool = True
    ) -> dict[str, str]:
        kept = {name: self.call.environ[name] for name in _KEPT if name in self.call.environ}
        extra = {"BORG_RSH": ssh_command(self.call.timeout_seconds)} | kept | dict(self._setting.environment)
        ours = {
            "BORG_REPO": self._setting.location,
            "BORG_EXIT_CODES": "modern",
            "BORG_CACHE_DIR": str(self.folder / "cache"),
            "BORG_SECURITY_DIR": str(self._seen if reads else self._written),
            # Says yes to a repository that was moved; one put back to an older state is refused nevertheless.
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            **(more or {}),
        }
        if reads:
            # Borg tries its ciphers and its chunker at each start, a quarter of a short call. Before it writes it still
            # does; what it reads it authenticates, so that a cipher that is wrong shows there in any case.
            ours["BORG_SELFTEST"] = "disabled"
        if descriptor is not None:
            ours["BORG_PASSPHRASE_FD"] = str(descriptor)
        return engine_environment(ours, extra, self.call.environ)

    def _remote(self) -> tuple[str, ...]:
        setting = self._setting
        path = ("--remote-path", setting.remote_path) if setting.remote_path else ()
        limit = ("--upload-ratelimit", str(max(1, setting.upload_limit >> 10))) if setting.upload_limit else ()
        return (*path, *limit)

    @property
    def compression(self) -> Compression | None:
        """How hard it is to try to make small what it stores; None: as is best for most."""
        return self._setting.compression

    def _lock_wait(self, request: Request) -> tuple[str, ...]:
        """Less than the time of the whole call, so that the answer is `locked` and not `too slow`."""
        bound = self.call.idle_seconds if request.long else self.call.timeout_seconds
        bound = min(bound, self.call.timeout_seconds)
        wait = min(bound * 0.75, bound - _LOCK_RESERVE_SECONDS, self.call.lock_seconds)
        return ("--lock-wait", str(max(1, int(wait))))


def _read_memory(path: Path, key: str) -> str:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return ""
    fits = isinstance(document, list) and len(document) == 2 and key and document[0] == key
    return str(document[1]) if fits else ""


def _checked_version(text: str, program: str) -> str:
    found = _VERSION.search(text)
    if not found:
        raise ProgramMissingError(f"{program} does not behave like borg", hint=_INSTALL)
    if not _OLDEST <= (int(found["major"]), int(found["minor"])) < _TOO_NEW:
        raise ProgramMissingError(
            f"{program} is {ENGINE} {found['text']}, but 1.2 to 1.4 are required",
            hint=_INSTALL,
        )
    return found["text"]
