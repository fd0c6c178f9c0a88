"""Data directories with real writers, file systems of all kinds, and a quiet of our own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture import clear_stage, take_instant
from owui_vault.errors import QuiesceError
from owui_vault.model import Captured, CaptureLimits, CapturePlan, Findings, Quiesce
from owui_vault.ports import Held, Quiet
from owui_vault.system.clock import SystemClock
from tests.conftest import MEASURED_PYTHON

#: name: how it is made; None is mounted without a device
FILESYSTEMS: dict[str, tuple[str, ...] | None] = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "ext4-128": ("mkfs.ext4", "-q", "-F", "-I", "128"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "tmpfs": None,
}
_SIZE_BYTES = 640 << 20


@pytest.fixture(autouse=True)
def captures_are_measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where coverage is measured at all; but not in loops, which walk the same lines a thousand times."""
    if MEASURED_PYTHON.exists() and "soak" not in request.fixturenames:
        monkeypatch.setattr(sys, "executable", str(MEASURED_PYTHON))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """`mounted("xfs")`: the mount point of a fresh file system of that kind, one per kind and run."""
    points: dict[str, Path] = {}

    def mount(kind: str) -> Path:
        if kind not in points:
            points[kind] = _mount(kind, tmp_path_factory.mktemp(f"mount-{kind}"))
        return points[kind]

    yield mount
    for point in points.values():
        _run("umount", "-l", str(point))


def _mount(kind: str, folder: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip(f"only root can mount {kind}")
    point = folder / "point"
    point.mkdir()
    make = FILESYSTEMS[kind]
    if make is None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_BYTES}", "none", str(point)]
    else:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(_SIZE_BYTES)
        made = _run(*make, str(image))
        if made.returncode != 0:
            pytest.skip(f"{kind} cannot be made: {made.stderr.strip()}")
        command = ["mount", "-o", "loop", str(image), str(point)]
    done = _run(*command)
    if done.returncode != 0:
        pytest.skip(f"{kind} cannot be mounted: {done.stderr.strip()}")
    point.chmod(0o755)
    return point


@pytest.fixture(params=sorted(FILESYSTEMS))
def any_filesystem(request: pytest.FixtureRequest, mounted: Callable[[str], Path], tmp_path: Path) -> Path:
    """An empty directory on each kind of file system in turn."""
    folder = mounted(request.param) / tmp_path.name
    folder.mkdir()
    return folder


DATABASES = ("webui.db", "vector_db/chroma.sqlite3")
WRITER = Path(__file__).parent / "programs" / "writer.py"
MODES = (("wal", "delete"), ("delete", "delete"), ("wal", "wal"))


class Writer:
    """A running application; it can be frozen and ended."""

    def __init__(self, data: Path, rest_seconds: float, chats: int) -> None:
        command = [sys.executable, str(WRITER), str(data), str(rest_seconds), str(chats)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.worst_seconds = 0.0
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "ready\n"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.worst_seconds = max(self.worst_seconds, json.loads(line)["worst"])

    def forget(self) -> None:
        """Begin anew with the slowest commit."""
        os.kill(self.child.pid, signal.SIGUSR1)

    def freeze(self) -> None:
        os.kill(self.child.pid, signal.SIGSTOP)
        while "\nState:\tT" not in Path(f"/proc/{self.child.pid}/status").read_text():
            time.sleep(0.001)

    def thaw(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self._reader.join()
        assert self.child.stdout is not None
        self.child.stdout.close()


class SimpleQuiet(Quiet, Held):
    """A quiet without guardian or journal: for tests of what is done inside it."""

    def __init__(
        self,
        begin: Callable[[], None],
        finish: Callable[[], None],
        modes: frozenset[Quiesce] = frozenset({Quiesce.PAUSE, Quiesce.STOP}),
    ) -> None:
        self._modes = modes
        self.begin = begin
        self.finish = finish
        self.held: list[tuple[Quiesce, float]] = []
        self.broken: list[QuiesceError] = []

    @property
    def modes(self) -> frozenset[Quiesce]:
        return self._modes

    @contextmanager
    def __call__(self, mode: Quiesce, limit_seconds: float) -> Iterator[SimpleQuiet]:
        self.begin()
        began = time.monotonic()
        try:
            yield self
        finally:
            self.finish()
            self.held.append((mode, time.monotonic() - began))

    def confirm(self) -> None:
        if self.broken:
            raise self.broken.pop()


class Site:
    """A data directory, a place for the stage, and whoever writes."""

    def __init__(self, base: Path) -> None:
        self.data = base / "data"
        self.work = base / "work"
        self.writers: list[Writer] = []

    def build(self, webui: str = "wal", chroma: str = "delete", filling: int = 200) -> Site:
        """An instance that the writer can run on."""
        (self.data / "vector_db" / "segment").mkdir(parents=True)
        (self.data / "uploads").mkdir()
        (self.data / "cache" / "functions" / "empty").mkdir(parents=True)
        (self.data / "uploads" / "0.txt").write_bytes(b"0" * 1000)
        for name in ("header.bin", "length.bin", "level0.bin"):
            (self.data / "vector_db" / "segment" / name).write_bytes(b"%08d" % 0 * 4096)
        tables = (
            "CREATE TABLE counter(n); INSERT INTO counter VALUES (0); CREATE TABLE document(n); CREATE TABLE chat(n);"
        )
        self.database("webui.db", webui, f"{tables} INSERT INTO chat VALUES (0)", filling)
        tables = (
            "CREATE TABLE first(n); INSERT INTO first VALUES (0); CREATE TABLE second(n); INSERT INTO second VALUES (0)"
        )
        self.database("vector_db/chroma.sqlite3", chroma, tables, filling)
        return self

    def database(self, name: str, mode: str, script: str, filling: int = 0) -> None:
        with closing(sqlite3.connect(self.data / name, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")
            connection.executescript(script)
            connection.execute("CREATE TABLE filling(b)")
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO filling VALUES (?)", [(os.urandom(3000),)] * filling)
            connection.execute("COMMIT")

    def run(self, rest_seconds: float = 0.02, chats: int = 20) -> Writer:
        """Start a writer; it is ended with the test."""
        writer = Writer(self.data, rest_seconds, chats)
        self.writers.append(writer)
        return writer

    def quiet(self) -> SimpleQuiet:
        """Freeze all writers of this site."""

        def freeze() -> None:
            for writer in self.writers:
                writer.freeze()

        def thaw() -> None:
            for writer in self.writers:
                writer.thaw()

        return SimpleQuiet(freeze, thaw)

    def plan(self, **changes: Any) -> CapturePlan:
        return CapturePlan(**{"data_dir": self.data, "work_dir": self.work, "databases": DATABASES, **changes})

    def take(self, mode: Quiesce = Quiesce.LIVE, **changes: Any) -> Captured:
        """One capture; with no reserve, since test file systems are small."""
        asked: dict[str, Any] = {
            "quiet": None,
            "examine": lambda _: Findings(),
            "limits": CaptureLimits(reserve_bytes=0),
            "clock": SystemClock(),
        }
        plan = changes.pop("plan", None) or self.plan()
        return take_instant(plan, mode=mode, **{**asked, **changes})

    def rows(self, captured: Captured, database: str, statement: str) -> list[Any]:
        """Ask a copied database something, without writing beside it."""
        path = captured.stage / "data" / database
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            return [row[0] if len(row) == 1 else row for row in connection.execute(statement)]

    def end(self) -> None:
        for writer in self.writers:
            writer.end()
        clear_stage(self.work)


def contradictions(site: Site, captured: Captured) -> list[str]:
    """Whatever cannot have been so at any one moment of the writer."""
    tree = captured.stage / "data"
    number = site.rows(captured, "webui.db", "SELECT n FROM counter")[0]
    documents = set(site.rows(captured, "webui.db", "SELECT n FROM document"))
    chroma = site.rows(captured, "vector_db/chroma.sqlite3", "SELECT first.n, second.n FROM first, second")[0]
    found = []
    segments = []
    for path in sorted((tree / "vector_db" / "segment").iterdir()):
        content = path.read_bytes()
        if content != content[:8] * 4096:
            found.append(f"{path.name} is torn")
        segments.append(int(content[:8]))
    uploads = {int(path.stem): path for path in (tree / "uploads").iterdir()}
    newest = max(uploads)
    if chroma[0] != chroma[1]:
        found.append(f"half a transaction in Chroma: {chroma}")
    order = [newest, *segments, chroma[0], number]
    if order != sorted(order, reverse=True) or order[0] - order[-1] > 1:
        found.append(f"not one moment: {order}")
    missing = {each for each in documents if each > number - 49} - set(uploads)
    if missing or max(documents, default=0) not in (number, 0):
        found.append(f"rows without upload {missing}, newest row {max(documents, default=0)} at {number}")
    if set(uploads) - set(range(max(0, number - 50), number + 2)):
        found.append(f"uploads of another moment beside number {number}: {sorted(uploads)}")
    for each, path in uploads.items():
        if path.read_bytes() != b"%d" % each * 1000 and not each == newest > number:
            found.append(f"upload {each} has other bytes")
    found += [f"{each.path}: {each.check}" for each in captured.databases if each.check != "ok"]
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty place for an instance; everything started on it ends with the test."""
    site = Site(tmp_path)
    yield site
    site.end()


@pytest.fixture
def make_site() -> Iterator[Callable[[Path], Site]]:
    """The same on a folder of the test's choice."""
    sites: list[Site] = []

    def make(base: Path) -> Site:
        sites.append(Site(base))
        return sites[-1]

    yield make
    for each in sites:
        each.end()
        shutil.rmtree(each.data, ignore_errors=True)


@pytest.fixture
def find_contradictions() -> Callable[[Site, Captured], list[str]]:
    return contradictions


@pytest.fixture
def make_quiet() -> type[SimpleQuiet]:
    return SimpleQuiet
