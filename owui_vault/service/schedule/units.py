"""A timer, the service that it starts, and one for the boot: the system's own for root, else the user's."""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from owui_vault.errors import ConfigError, DeadlineExceededError, ProgramMissingError
from owui_vault.model.schedules import InstalledSchedule, Scheduler
from owui_vault.repositories.overlap import path_of
from owui_vault.service.schedule.tick import (
    CREDENTIALS,
    PATH,
    Tick,
    config_of,
    content_of,
    is_system,
    mark_of,
    require_ours,
    user_name,
)
from owui_vault.system.durable_files import write_durably
from owui_vault.system.process import Command, Completed, run
from owui_vault.system.unwinding import undoing

SYSTEM_UNITS = Path("/etc/systemd/system")
_RUNS = Path("/run/systemd/system")
_LINGER = Path("/var/lib/systemd/linger")
_NOTICE = (
    "# Written, replaced and removed by `owui-vault schedule`: what you want to change belongs into a drop-in"
    " (`systemctl edit`)."
)
_SECONDS = 60.0
_READ_ONLY = (Path("/usr"), Path("/boot"), Path("/efi"), Path("/etc"))  # by ProtectSystem=full
_HARDENED = """\
# What a run never needs; docs/systemd.md says what not to add.
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemd:
    """systemd, for the user that we are. `environ` says where a user's own units lie."""

    environ: Mapping[str, str]

    @property
    def kind(self) -> Scheduler:
        """Which one it is."""
        return Scheduler.SYSTEMD

    def unusable(self) -> str:
        """Why nothing can be installed here; empty where it can."""
        if not _RUNS.is_dir():
            return "systemd does not run here"
        done = self._systemctl("show", "--property=Version")
        return "" if done.status == 0 else f"systemd does not answer: {done.stderr_tail.strip()}"

    def runs(self) -> bool:
        """Whether anybody would read what is installed."""
        return not self.unusable()

    def given(self, name: str) -> Mapping[str, str]:
        """What drop-ins of ours-to-be add to the environment of a call."""
        found: dict[str, str] = {}
        for path in sorted((self._folder / f"{name}.service.d").glob("*.conf")):
            for key, value in re.findall(r"^\s*(\w+)\s*=(.*)$", path.read_text(errors="surrogateescape"), re.MULTILINE):
                if key == "Environment":
                    found.update(part.partition("=")[::2] for part in shlex.split(value) if "=" in part)
                elif key == "EnvironmentFile":
                    found.update(_variables(Path(value.strip().removeprefix("-"))))
                elif re.fullmatch(r"(Load|Set)Credential(Encrypted)?", key):
                    found[CREDENTIALS] = f"{found.get(CREDENTIALS, '')} {value.strip().partition(':')[0]}"
        return found

    def installed(self) -> Sequence[InstalledSchedule]:
        """What is there for this user."""
        found = []
        for timer in sorted(self._folder.glob("owui-vault*.timer")):
            config = config_of(content_of(timer) or "")
            if config is None:
                continue
            names = _names(timer.stem)
            places = tuple(str(path) for path in (self._folder / each for each in names) if path.exists())
            described = InstalledSchedule(scheduler=self.kind, config=config, user=user_name(), places=places)
            found.append(replace(described, obstacles=tuple(self._obstacles(described, timer.name))))
        return found

    def install(self, tick: Tick) -> bool:
        """Write it, or leave it as it is; whether anything changed. Raises ConfigError, with nothing changed."""
        files = {self._folder / name: text for name, text in self._files(tick).items()}
        before = {path: content_of(path) for path in files}
        for path, there in before.items():
            require_ours(path, there, tick.config)
        changed = {path: text for path, text in files.items() if before[path] != text}
        with undoing(self._put_back, before):
            self._folder.mkdir(parents=True, exist_ok=True)
            for path, text in changed.items():
                write_durably(path, text.encode(errors="surrogateescape"), mode=0o644)
            return self._take_up(tick.name, changed=bool(changed))

    def _take_up(self, name: str, *, changed: bool) -> bool:
        service, timer, recover = _names(name)
        if changed:
            self._checked("daemon-reload")
        elif not self._obstacles_of_timer(timer) and self._show(recover).get("UnitFileState") == "enabled":
            return False
        self._checked("enable", timer, recover)
        self._checked("restart" if changed else "start", timer)
        if not is_system() and not _lingers():
            _run("loginctl", "enable-linger", user_name(), environment=self._environment())
        obstacles = self._obstacles_of_timer(timer)
        if obstacles or self._show(service).get("LoadState") != "loaded":
            raise ConfigError(
                f"systemd has not taken up {timer}: {'; '.join(obstacles) or 'it does not know the service'}",
                hint=f"See systemctl status {timer}.",
            )
        return True

    def _put_back(self, before: Mapping[Path, str | None]) -> None:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_durably(path, content.encode(errors="surrogateescape"), mode=0o644)
        self._systemctl("daemon-reload")

    def remove(self, found: InstalledSchedule) -> None:
        """Take it away, without a trace."""
        units = [Path(each).name for each in found.places]
        # Not the services: who asks may be one of them.
        self._systemctl("disable", "--now", *(each for each in units if each.endswith(".timer")))
        self._systemctl("disable", *(each for each in units if each.endswith(".service")))
        for place in found.places:
            Path(place).unlink(missing_ok=True)
        for unit in units:
            self._systemctl("clean", "--what=state", unit) if unit.endswith(".timer") else None
        self._checked("daemon-reload")
        self._systemctl("reset-failed", *units)

    def is_current(self, found: InstalledSchedule, tick: Tick) -> bool:
        """Whether it is what would be written now."""
        files = {str(self._folder / name): text for name, text in self._files(tick).items()}
        return set(found.places) == set(files) and all(content_of(Path(path)) == text for path, text in files.items())

    def fires(self, found: InstalledSchedule, _now: datetime) -> tuple[datetime | None, datetime | None]:
        """When it last fired, and when it will."""
        (timer,) = (Path(each).name for each in found.places if each.endswith(".timer"))
        state = self._show(timer)
        return _moment(state.get("LastTriggerUSec", "")), _moment(state.get("NextElapseUSecRealtime", ""))

    @property
    def _folder(self) -> Path:
        if is_system():
            return SYSTEM_UNITS
        named = self.environ.get("XDG_CONFIG_HOME", "")
        base = Path(named) if named.startswith("/") else Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".config"
        return base / "systemd/user"

    def _obstacles(self, found: InstalledSchedule, timer: str) -> Iterator[str]:
        if reason := self.unusable():
            yield reason
            return
        missing = [
            each for each in _names(timer.removesuffix(".timer")) if str(self._folder / each) not in found.places
        ]
        if missing:
            yield f"{', '.join(missing)} is gone; install the schedule again"
        yield from self._obstacles_of_timer(timer)
        service = self._show(timer.replace(".timer", ".service"))
        if service.get("LoadState") not in ("loaded", "not-found"):
            yield f"the service is {service.get('LoadState')}: systemd does not start it"
        if not is_system() and not _lingers():
            user = user_name()
            yield f"it fires only while {user} is logged in: `loginctl enable-linger {user}`, as root, changes that"
        content = "".join(content_of(Path(each)) or "" for each in found.places)
        for program in sorted(set(re.findall(r'^ExecStart="?([^"\s]+)', content, re.MULTILINE))):
            if not os.access(program.replace("%%", "%"), os.X_OK):
                yield f"the interpreter {program} is gone; install the schedule again"

    def _obstacles_of_timer(self, timer: str) -> tuple[str, ...]:
        state = self._show(timer)
        enabled, active = state.get("UnitFileState") or "unknown to systemd", state.get("ActiveState") or "unknown"
        found = () if enabled == "enabled" else (f"{timer} is {enabled}: it does not start at boot",)
        return found if active == "active" else (*found, f"{timer} is {active}: it does not fire")

    def _files(self, tick: Tick) -> dict[str, str]:
        service, timer, recover = _names(tick.name)
        head = f"{mark_of(tick.config)}\n{_NOTICE}\n"
        around = "docker.service podman.service open-webui.service"
        if tick.settings.instance and tick.settings.instance.systemd_unit:
            unit = tick.settings.instance.systemd_unit
            around = f"docker.service podman.service {unit if '.' in unit else f'{unit}.service'}"
        every = "*:*" if tick.every_minutes == 1 else f"*:0/{tick.every_minutes}"
        network = f"Wants=network-online.target\nAfter=network-online.target {around}\n" if is_system() else ""
        after = f"After={around}\n" if is_system() else ""
        wanted_by = "multi-user.target" if is_system() else "default.target"
        return {
            service: f"{head}[Unit]\nDescription=Backups of Open WebUI that are due\n{network}\n"
            f"[Service]\nType=oneshot\n{_exec(tick, 'run')}Nice=10\nIOSchedulingClass=idle\n"
            "# Time to end restic or borg properly, and for the guardian to resume the instance.\n"
            f"TimeoutStopSec=15min\nKillMode=control-group\n{_limits(tick)}",
            timer: f"{head}[Unit]\nDescription=Asks every {tick.every_minutes} minutes which backups of Open WebUI are"
            f" due\n\n[Timer]\nOnCalendar={every}\nAccuracySec={'1s' if tick.every_minutes == 1 else '1min'}\n"
            "Persistent=yes\n\n[Install]\nWantedBy=timers.target\n",
            recover: f"{head}[Unit]\nDescription=Finish or roll back what a killed backup of Open WebUI left behind\n"
            f"{after}\n[Service]\nType=oneshot\n{_exec(tick, 'recover')}\n[Install]\nWantedBy={wanted_by}\n",
        }

    def _show(self, unit: str) -> dict[str, str]:
        wanted = "LoadState,ActiveState,UnitFileState,LastTriggerUSec,NextElapseUSecRealtime"
        done = self._systemctl("show", f"--property={wanted}", unit)
        return dict(line.partition("=")[::2] for line in done.stdout.splitlines())

    def _checked(self, *arguments: str) -> None:
        done = self._systemctl(*arguments)
        if done.status != 0:
            raise ConfigError(f"systemctl {' '.join(arguments)} failed: {done.stderr_tail.strip()}")

    def _systemctl(self, *arguments: str) -> Completed:
        scope = () if is_system() else ("--user",)
        argv = ("systemctl", *scope, "--no-ask-password", "--no-pager", *arguments)
        return _run(*argv, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        # TZ: times are printed in a zone, by a name that may mean two.
        found = {"PATH": PATH, "LC_ALL": "C", "TZ": "UTC"}
        if not is_system():
            found["XDG_RUNTIME_DIR"] = self.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        return found


def _run(*argv: str, environment: Mapping[str, str]) -> Completed:
    try:
        return run(Command(argv=argv, environment=environment, timeout_seconds=_SECONDS))
    except (ProgramMissingError, DeadlineExceededError) as error:
        return Completed(status=1, stdout="", stderr=error.message)


def _names(name: str) -> tuple[str, str, str]:
    suffix = name.removeprefix("owui-vault")
    return f"{name}.service", f"{name}.timer", f"owui-vault-recover{suffix}.service"


def _exec(tick: Tick, command: str) -> str:
    words = " ".join(_quoted(each) for each in (*tick.argv, command))
    words = words.replace("$", "$$")  # in a command alone
    assigned = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in tick.environment.items())
    state = tick.settings.state_dir
    kept = "StateDirectory=owui-vault\nStateDirectoryMode=0700\n" if state == Path("/var/lib/owui-vault") else ""
    return f"ExecStart={words}\n{assigned}{kept if is_system() else ''}UMask=0077\n"


def _quoted(word: str) -> str:
    """As systemd reads it: its own signs are doubled, and what is not plain stands in quotes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w./:=@%+,$-]+", escaped) else f'"{escaped}"'


def _limits(tick: Tick) -> str:
    if not is_system():
        return "NoNewPrivileges=yes\n"
    places = [tick.settings.state_dir]
    if tick.settings.instance and tick.settings.instance.data_dir:
        places.append(tick.settings.instance.data_dir)
    located = (path_of(each.location) for each in tick.settings.repositories)
    places += [each for each in located if each.is_absolute()]
    written = [each for each in places if any(each.is_relative_to(root) for root in _READ_ONLY)]
    return _HARDENED + "".join(f"ReadWritePaths={_quoted(f'-{each}')}\n" for each in written)


def _variables(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        if not line.lstrip().startswith(("#", ";")) and "=" in line:
            name, _, value = line.partition("=")
            yield name.strip(), value.strip().strip("'\"")


def _moment(text: str) -> datetime | None:
    """`Tue 2026-12-01 03:00:00 UTC`; systemd prints `n/a`, or nothing, where there is none."""
    found = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text)
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None


def _lingers() -> bool:
    return (_LINGER / user_name()).exists()
