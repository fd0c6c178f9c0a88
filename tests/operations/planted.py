"""An application that plants links beside our own folder, and what must stay as it is whatever it does."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from owui_vault import DataDirectory, Engine, Repository, Secret, Vault, VaultError
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.operations.house import QUICK, House

USER = 1000
WORK = ".owui-vault"
FOLDERS = (
    "stage/data/uploads",
    "stage/outside",
    "capture",
    "incoming/data/uploads",
    "incoming/outside",
    "aside-20260101T000000Z-12345678/parts",
)
DATABASES = ("stage/data/webui.db", "incoming/data/webui.db", "aside-20260101T000000Z-12345678/parts/webui.db")


class PlantedHouse(House):
    """An instance of user 1000 on a disk of its own, so that everything is staged beside its data; with a victim."""

    def __init__(self, folder: Path, state: Path, engine: Engine | None = None) -> None:
        self.state_dir = state
        self.engine = engine or DirectoryEngine(folder / "repository", Secret("x"))
        super().__init__(folder)
        self.victim = Victim(folder / "victim")
        give_away(self.data_dir)

    def vault_at(self, data_dir: Path, quiescer: object = None, *, notifiers: object = ()) -> Vault:
        """The vault, whose state directory lies elsewhere."""
        return Vault(
            DataDirectory(data_dir, secret_key=Secret("the key of the instance")),
            [Repository("one", self.engine)],
            quiescer=quiescer,  # type: ignore[arg-type]  # the house's own
            application=self.application,
            state_dir=self.state_dir,
            limits=QUICK,
        )


def give_away(folder: Path) -> None:
    """Everything belongs to the user of the application."""
    for each in (folder, *folder.rglob("*")):
        if WORK not in each.parts:
            os.lchown(each, USER, USER)


class Victim:
    """Another tenant: however much it looks like ours, nothing of it may change. Its databases are open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
            (folder / name / "file").write_text("dear")
        (folder / "incoming/data/uploads/large").write_bytes(bytes(20 << 20))
        self._open = [self._database(folder / name) for name in DATABASES]
        folder.chmod(0o755)
        (folder / "stage/outside").chmod(0o755)
        self.before = dict(self._look())

    @staticmethod
    def _database(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE file (id TEXT PRIMARY KEY, path TEXT, meta TEXT)")
        connection.execute("INSERT INTO file VALUES ('a', '/app/backend/data/uploads/a', NULL)")
        return connection

    def close(self) -> None:
        for each in self._open:
            each.close()

    def _look(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for path in (self.folder, *sorted(self.folder.rglob("*"))):
            status = path.lstat()
            content = (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and "-shm" not in path.name else ""
            )
            yield str(path.relative_to(self.folder)), (status.st_mode, status.st_uid, status.st_gid, content)

    def changes(self) -> dict[str, object]:
        """What is not as it was."""
        now = dict(self._look())
        return {
            name: (self.before.get(name), now.get(name))
            for name in {*self.before, *now}
            if self.before.get(name) != now.get(name)
        }


def plant(data_dir: Path, victim: Path, below: str = "") -> None:
    """Put a link to the victim in the place of our folder, or of something in it, as its owner may."""
    place = data_dir / WORK / below if below else data_dir / WORK
    with suppress(OSError):
        hidden = data_dir / f".hidden-{os.urandom(4).hex()}"
        place.rename(hidden)
        place.symlink_to(victim / below if below else victim)


@contextmanager
def at_step(number: int, deed: Callable[[], None], data_dir: Path) -> Iterator[list[int]]:
    """Do something before the n-th thing that Python does once our folder is there: opening, making, renaming, …

    For a process that is going to end: an audit hook stays. Yields how many steps there were.
    """
    steps = [0]
    active = [True]
    work = data_dir / WORK

    def hook(event: str, _arguments: tuple[object, ...]) -> None:
        if not active[0] or event.split(".", maxsplit=1)[0] not in ("open", "os", "sqlite3", "subprocess", "shutil"):
            return
        if steps[0] == 0:
            active[0] = False
            there = os.path.lexists(work)
            active[0] = True
            if not there:
                return
        steps[0] += 1
        if steps[0] == number:
            active[0] = False
            deed()
            active[0] = True

    sys.addaudithook(hook)
    try:
        yield steps
    finally:
        active[0] = False


def ends_well(
    deed: Callable[[], object], number: int, planting: Callable[[], None], data_dir: Path
) -> tuple[bool, int]:
    """Whether a deed ended well or in an error of ours with a hint while something was planted; how many steps it had.

    In a process of its own.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        steps = [0]
        try:
            with at_step(number, planting, data_dir) as steps:
                deed()
            status = 0
        except VaultError as error:
            status = 0 if error.hint else 2
            sys.stderr.write(f"{type(error).__name__}: {error.message}\n")
        except BaseException:
            traceback.print_exc()
        finally:
            os.write(writer, str(steps[0]).encode())
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as told:
        steps_done = int(told.read() or 0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status == 0, steps_done


def remove_hidden(data_dir: Path) -> None:
    """What was renamed is the application's to remove."""
    for each in data_dir.glob(".hidden-*"):
        shutil.rmtree(each, ignore_errors=True)
