"""One line for cron, and one for the boot: in a file of /etc/cron.d for root, else in the user's own crontab."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from owui_vault.errors import ConfigError, ProgramMissingError
from owui_vault.model.schedules import InstalledSchedule, Scheduler
from owui_vault.service.schedule.tick import (
    PATH,
    Tick,
    config_of,
    content_of,
    is_system,
    mark_of,
    require_ours,
    user_name,
)
from owui_vault.system import cron, procfs
from owui_vault.system.durable_files import sync_directory, write_durably
from owui_vault.system.process import Command, Completed, run

FOLDER = Path("/etc/cron.d")
_BEGIN = re.compile(r"# owui-vault schedule of (?P<config>/.*): begin")
_NOTICE = "# Written, replaced and removed by `owui-vault schedule`. What is due is decided by `run` itself."
_DAEMONS = frozenset({"cron", "crond", "fcron", "cronie"})
_SECONDS = 30.0
_MOST_CHARACTERS = 990  # cron leaves out what is longer than a thousand, and says so nowhere but in its log


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """cron, for the user that we are. `environ` says by which zone it goes."""

    environ: Mapping[str, str]

    @property
    def kind(self) -> Scheduler:
        """Which one it is."""
        return Scheduler.CRON

    def unusable(self) -> str:
        """Why nothing can be installed here; empty where it can."""
        if is_system():
            return "" if FOLDER.is_dir() else f"there is no {FOLDER}"
        return "" if shutil.which("crontab", path=PATH) else "there is no program `crontab`"

    def runs(self) -> bool:
        """Whether anybody would read what is installed."""
        return any(name in _DAEMONS for name in procfs.names())

    def given(self, _name: str) -> Mapping[str, str]:
        """What it adds to the environment of a call: nothing that anybody could rely on."""
        return {}

    def installed(self) -> Sequence[InstalledSchedule]:
        """What is there for this user."""
        if not is_system():
            return [self._described(config, _place(), block) for config, block in _blocks(_read_crontab())]
        found = []
        for path in sorted(FOLDER.glob("owui-vault*")) if FOLDER.is_dir() else ():
            content = path.read_text(encoding="utf-8", errors="surrogateescape")
            if config := config_of(content):
                found.append(self._described(config, str(path), content))
        return found

    def install(self, tick: Tick) -> bool:
        """Write it, or leave it as it is; whether anything changed. Raises ConfigError, with nothing changed."""
        if not is_system():
            return _replace_in_crontab(tick.config, _text(tick))
        path, wanted, there = FOLDER / tick.name, _text(tick), content_of(FOLDER / tick.name)
        if there == wanted:
            return False
        require_ours(path, there, tick.config)
        write_durably(path, wanted.encode(errors="surrogateescape"), mode=0o644)
        if content_of(path) != wanted:
            raise ConfigError(f"{path} does not hold what was written into it", hint="Who else writes it?")
        return True

    def remove(self, found: InstalledSchedule) -> None:
        """Take it away, without a trace."""
        if not is_system():
            _replace_in_crontab(found.config, "")
            return
        for place in found.places:
            Path(place).unlink(missing_ok=True)
        sync_directory(FOLDER)

    def is_current(self, found: InstalledSchedule, tick: Tick) -> bool:
        """Whether it is what would be written now."""
        if is_system():
            return found.places == (str(FOLDER / tick.name),) and content_of(FOLDER / tick.name) == _text(tick)
        return _text(tick) in _read_crontab()

    def fires(self, found: InstalledSchedule, now: datetime) -> tuple[datetime | None, datetime | None]:
        """When it last fired, which cron tells nobody, and when it will."""
        content = (content_of(Path(found.places[0])) if is_system() else _read_crontab()) or ""
        each = re.search(r"^(\*/\d+|\*) \* \* \* \* .*" + re.escape(_as_written(found.config)), content, re.MULTILINE)
        if each is None or found.obstacles:
            return None, None
        return None, cron.first_after(f"{each[1]} * * * *", now, cron.local_zone(self.environ))

    def _described(self, config: Path, place: str, content: str) -> InstalledSchedule:
        return InstalledSchedule(
            scheduler=self.kind,
            config=config,
            user=user_name(),
            places=(place,),
            obstacles=tuple(self._obstacles(place, content)),
        )

    def _obstacles(self, place: str, content: str) -> Iterator[str]:
        if not self.runs():
            yield "no cron daemon is running"
        if is_system():
            status = Path(place).stat()
            if status.st_uid != 0 or status.st_mode & 0o022:
                yield f"cron leaves {place} alone: it is not root's, or others can write it"
        for interpreter in sorted(set(re.findall(r" exec (\S+) ", content))):
            (program,) = shlex.split(interpreter.replace(r"\%", "%"))
            if not os.access(program, os.X_OK):
                yield f"the interpreter {program} is gone; install the schedule again"


def _lines(tick: Tick, user: str) -> tuple[str, str]:
    found = []
    every = "*" if tick.every_minutes == 1 else f"*/{tick.every_minutes}"
    for times, command in ((f"{every} * * * *", "run"), ("@reboot", "recover")):
        line = tick.shell_line(command).replace("%", r"\%")  # which cron would take for the end of the line
        if len(line) > _MOST_CHARACTERS:
            raise ConfigError(
                "the line would be longer than cron reads", hint="Move the configuration: its path is long."
            )
        found.append(f"{times} {user}{line}")
    return found[0], found[1]


def _as_written(config: Path) -> str:
    return shlex.quote(os.fspath(config)).replace("%", r"\%")


def _text(tick: Tick) -> str:
    """The whole file, or our block of a user's crontab."""
    mark = mark_of(tick.config)
    if is_system():
        lines: tuple[str, ...] = (mark, _NOTICE, *_lines(tick, "root "))
    else:
        lines = (f"{mark}: begin", _NOTICE, *_lines(tick, ""), f"{mark}: end")
    return "".join(f"{each}\n" for each in lines)


def _blocks(crontab: str) -> Iterator[tuple[Path, str]]:
    """Ours, with all that stands between the marks. Raises ConfigError for a mark that has lost the other one."""
    rest = crontab
    while mark := re.search(f"^{_BEGIN.pattern}\n", rest, re.MULTILINE):
        end = f"# owui-vault schedule of {mark['config']}: end\n"
        inside, found, rest = rest[mark.end() :].partition(end)
        if not found or _BEGIN.search(inside):
            raise ConfigError(
                f"in the crontab of {user_name()} a line that ends a block of owui-vault is missing",
                hint="Remove what is left of the block with `crontab -e`, then try again.",
            )
        yield Path(mark["config"]), mark[0] + inside + found


def _replace_in_crontab(config: Path, wanted: str) -> bool:
    """Put `wanted` in the place of our block; every other byte stays what it is."""
    before = _read_crontab()
    known = dict(_blocks(before))
    if config in known:
        after = before.replace(known[config], wanted)
    else:
        after = before + ("\n" if wanted and before and not before.endswith("\n") else "") + wanted
    if after == before:
        return False
    if after:
        _crontab("-", stdin=after)
    else:
        _crontab("-r")
    if _read_crontab() != after:
        _crontab("-", stdin=before)
        raise ConfigError("the crontab does not hold what was written into it", hint="It is as it was before.")
    return True


def _read_crontab() -> str:
    done = _crontab("-l", may_fail=True)
    if done.status != 0 and "no crontab for" in done.stderr:
        return ""
    if done.status != 0:
        raise ConfigError(f"the crontab cannot be read: {done.stderr_tail.strip()}", hint="See `crontab -l`.")
    if "\\r\n" in done.stdout:
        # `crontab -l` prints what ends a line in other systems as two letters, and would have them back as such.
        raise ConfigError(
            f"the crontab of {user_name()} has lines that end with a carriage return, which cron cannot read either",
            hint="Remove them with `crontab -e`, then try again.",
        )
    return done.stdout


def _crontab(argument: str, *, stdin: str | None = None, may_fail: bool = False) -> Completed:
    environment = {"PATH": PATH, "HOME": pwd.getpwuid(os.geteuid()).pw_dir, "LC_ALL": "C"}
    argv = ("crontab", argument)
    try:
        done = run(Command(argv=argv, environment=environment, stdin=stdin, timeout_seconds=_SECONDS, exact=True))
    except ProgramMissingError:
        return Completed(status=0, stdout="", stderr="")
    if done.status != 0 and not may_fail:
        raise ConfigError(f"the crontab cannot be written: {done.stderr_tail.strip()}", hint="See `man crontab`.")
    return done


def _place() -> str:
    return f"crontab of {user_name()}"
