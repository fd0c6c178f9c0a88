"""The processes that have an instance's data open, and what their environment shows.

Only /proc is read. What cannot be read (another user's processes) is counted, never taken for "nothing there".
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from owui_vault.system import procfs
from owui_vault.system.sqlite_format import SIDE_SUFFIXES

_PROC = Path("/proc")
_SITE_PACKAGES = re.compile(r"(/.*?/(?:site|dist)-packages)/")
_DIST_INFO = re.compile(r"open_webui-(?P<version>[^-/]+)\.dist-info")
_STARTS = frozenset({"serve", "dev"})
_TEXT_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has a database of the instance open. `environment` is None where it may not be read."""

    pid: int
    name: str
    environment: Mapping[str, str] | None = field(default=None, repr=False)  # holds secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """All that were found. `hidden` processes could not be looked at for lack of rights."""

    found: tuple[Holder, ...] = ()
    hidden: int = 0

    @property
    def pids(self) -> tuple[int, ...]:
        """Their process ids."""
        return tuple(holder.pid for holder in self.found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files that tell a holder: by device and inode, since a container knows them by other paths."""

    identities: frozenset[tuple[int, int]]
    names: frozenset[str]


def find_holders(databases: Iterable[Path], *, writing: bool = False) -> Holders:
    """Who has one of these databases, or a file SQLite keeps beside them, open. Ourselves left out.

    `writing`: only those who may write to it.
    """
    files = _files(databases)
    found, hidden = [], 0
    for status in procfs.processes():
        pid = status.identity.pid
        if status.ended or pid == os.getpid():
            continue
        opened = procfs.open_files(pid)
        if not opened.readable and not opened.paths:
            hidden += 1
        elif _holds(pid, opened, files, writing=writing):
            found.append(Holder(pid=pid, name=procfs.name_of(pid), environment=environment_of(pid)))
    return Holders(found=tuple(sorted(found, key=lambda holder: holder.pid)), hidden=hidden)


def _files(databases: Iterable[Path]) -> Files:
    identities, names = set(), set()
    for database in databases:
        for suffix in ("", *SIDE_SUFFIXES):
            path = Path(f"{os.fspath(database.resolve())}{suffix}")
            try:
                status = path.stat()
            except OSError:
                continue
            identities.add((status.st_dev, status.st_ino))
            names.add(path.name)
    return Files(identities=frozenset(identities), names=frozenset(names))


def _holds(pid: int, opened: procfs.OpenFiles, files: Files, *, writing: bool) -> bool:
    for descriptor, path in opened.paths:
        if os.path.basename(path) in files.names:
            link = _PROC / str(pid) / "fd" / str(descriptor)
            try:
                status, mode = link.stat(), link.lstat().st_mode
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in files.identities and (mode & stat.S_IWUSR or not writing):
                return True
    return False


def servers_on(data_dir: Path) -> Iterator[Holder]:
    """Open WebUI's processes that were given this data directory, whether or not they have anything of it open.

    One whose databases are all servers elsewhere has nothing open here, and its settings say so.
    """
    for status in procfs.processes():
        pid = status.identity.pid
        if status.ended or pid == os.getpid() or not _starts_open_webui(procfs.command_line(pid)):
            continue
        environment = environment_of(pid)
        if environment is not None and _was_given(pid, environment.get("DATA_DIR", ""), data_dir):
            yield Holder(pid=pid, name=procfs.name_of(pid), environment=environment)


def _starts_open_webui(argv: tuple[str, ...]) -> bool:
    """`open-webui serve`, with or without its interpreter, or a server of `open_webui.main:app`, as the image has it.

    Many others have the name among their arguments: whoever shows a log, and whoever takes a backup.
    """
    if "open_webui.main:app" in argv:
        return True
    programs = {os.path.basename(each) for each in argv[:2]}
    is_module = any(pair == ("-m", "open_webui") for pair in pairwise(argv))
    return ("open-webui" in programs or is_module) and not _STARTS.isdisjoint(argv)


def _was_given(pid: int, data_dir: str, ours: Path) -> bool:
    """Without `DATA_DIR` it is in the package (`open-webui serve`) or beside it (the image)."""
    below = [f"{folder}/open_webui/data" for folder in package_folders(pid)]
    for place in [data_dir] if data_dir else [*below, "data"]:
        try:
            if as_seen_by(pid, place).samefile(ours):
                return True
        except OSError:
            continue
    return False


def environment_of(pid: int) -> dict[str, str] | None:
    """A process's environment as it was started; None where it may not be read."""
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    pairs = (os.fsdecode(each).partition("=") for each in raw.split(b"\0") if b"=" in each)
    return {name: value for name, _, value in pairs}


def working_directory(pid: int) -> Path:
    """A path to the process's working directory that works from here, whatever its mounts are."""
    return _PROC / str(pid) / "cwd"


def as_seen_by(pid: int, path: str) -> Path:
    """A path to what the process calls `path`. Relative ones start at its working directory."""
    if path.startswith("/"):
        return _PROC / str(pid) / "root" / path.lstrip("/")
    return working_directory(pid) / path


def application_version(pid: int) -> str:
    """The version of the Open WebUI a process runs; empty where nothing tells."""
    for folder in package_folders(pid):
        version = version_in(as_seen_by(pid, folder))
        if version:
            return version
    return version_of_package_json(read_small(working_directory(pid) / ".." / "package.json"))


def version_in(site_packages: Path) -> str:
    """The version of an installed open-webui package; empty when there is none."""
    try:
        names = os.listdir(site_packages)
    except OSError:
        return ""
    found = (_DIST_INFO.fullmatch(name) for name in sorted(names))
    return next((match["version"] for match in found if match), "")


def package_folders(pid: int) -> Iterator[str]:
    """The package folders a process has libraries mapped from: any Python server has some."""
    try:
        text = (_PROC / str(pid) / "maps").read_bytes()
    except OSError:
        return
    seen: set[str] = set()
    for line in text.split(b"\n"):
        match = _SITE_PACKAGES.search(os.fsdecode(line))
        if match and match[1] not in seen:
            seen.add(match[1])
            yield match[1]


def package_of(pid: int) -> Path | None:
    """Where the code of the Open WebUI lies that a process runs, as a path from here; None where it is not seen."""
    places = [as_seen_by(pid, folder) for folder in package_folders(pid)]
    packages = (place / "open_webui" for place in (*places, working_directory(pid)))
    return next((each for each in packages if (each / "main.py").is_file()), None)


def version_of_package_json(text: str) -> str:
    """The version the Docker image notes beside its backend."""
    if not re.search(r'"name"\s*:\s*"open-webui"', text):
        return ""
    match = re.search(r'"version"\s*:\s*"([^"]+)"', text)
    return match[1] if match else ""


def read_small(path: Path) -> str:
    """The text of a regular file of sane size; empty for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold us
    except OSError:
        return ""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _TEXT_LIMIT:
            return ""
        return os.read(descriptor, _TEXT_LIMIT).decode(errors="surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
