"""The base of the conformance suite of engines: a repository, a tree, labels, another user."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from owui_vault.model import NEVER, Label, Outcome, ProgressSink, Proof, Snapshot, StoreReceipt, ignore_progress
from owui_vault.ports import Call, Engine
from owui_vault.testing.children import descendants
from owui_vault.testing.trees import build_tree

PASSPHRASE = "right-horse-battery"
OTHER_USER = 65534
Result = TypeVar("Result")


def make_label(number: int = 1, **changes: object) -> Label:
    """The label of the n-th snapshot of a series."""
    label = Label(
        id=f"{number:08x}",
        instance="open-webui",
        fingerprint="0f" * 16,
        instant=datetime(2026, 1, 1, 3, 0, 0, 250_000, tzinfo=UTC) + timedelta(days=number),
        sequence=number,
        outcome=Outcome.COMPLETE,
        mode=Proof.LIVE,
    )
    return replace(label, **changes)  # type: ignore[arg-type]  # a misspelt name raises


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One engine on one repository in a folder of its own."""

    engine: Engine
    folder: Path
    # Servers of other tests, which are there all the time.
    beside: frozenset[int] = field(default_factory=lambda: frozenset(descendants(os.getpid())))

    def left_running(self) -> set[int]:
        """Processes of ours that were not there before, and should not be there any more.

        Nor below one that was: a server starts others whenever it likes.
        """
        theirs = {pid for each in self.beside for pid in (each, *descendants(each))}
        return set(descendants(os.getpid())) - theirs

    @property
    def repository(self) -> Path:
        """Where the repository is, for those on this machine."""
        return self.folder / "repository"

    @property
    def tree(self) -> Path:
        """Where the trees to be stored lie: always the same path."""
        return self.folder / "stage"

    def call(
        self, *, progress: ProgressSink = ignore_progress, cancel: threading.Event = NEVER, timeout: float = 120.0
    ) -> Call:
        """The circumstances of a call."""
        folder = self.folder / "state"
        folder.mkdir(mode=0o700, exist_ok=True)
        return Call(folder=folder, progress=progress, cancel=cancel, timeout_seconds=timeout)

    def build(self) -> Path:
        """The sample tree, made once."""
        return self.tree if self.tree.exists() else build_tree(self.tree)

    def big(self, size_bytes: int) -> Path:
        """A tree that takes a while to store."""
        self.tree.mkdir()
        for number in range(8):
            (self.tree / f"random-{number}").write_bytes(os.urandom(size_bytes // 8))
        return self.tree

    def store(self, number: int = 1, **changes: object) -> StoreReceipt:
        """Store the tree under the n-th label."""
        return self.engine.store(self.build(), make_label(number, **changes), self.call())

    def fetch(self, snapshot: Snapshot, *paths: str) -> Path:
        """What the repository gives back, in a new directory."""
        target = Path(tempfile.mkdtemp(dir=self.folder, prefix="fetched-"))
        self.engine.fetch(snapshot.engine_id, target, self.call(), paths=paths)
        return target

    def listed(self) -> dict[str, Snapshot]:
        """What the repository lists, by our ids."""
        return {each.id: each for each in self.engine.snapshots(self.call())}


class EngineBench:
    """The base of the suite's parts: `make` is yours to write, the other hooks when the defaults do not fit."""

    def make(self, folder: Path, passphrase: str = PASSPHRASE) -> Engine:
        """The engine on `folder/repository`, which need not exist yet."""
        raise NotImplementedError

    names_every_byte = True
    """Whether `contents` tells names that are not UTF-8 apart; borg's listing cannot."""

    keeps_holes = True
    """Whether `fetch` leaves holes where nothing but zeros is; restic 0.14 cannot."""

    def prepare(self, bench: Bench) -> None:
        """Create the repository; override when a prepared copy is quicker."""
        bench.engine.initialize(bench.call())

    def store_foreign(self, bench: Bench, tree: Path) -> None:  # noqa: ARG002  # for those who override it
        """Put a snapshot into the repository that the bare program made, without a label."""
        pytest.skip("nothing else writes such repositories")

    def damage(self, bench: Bench) -> None:
        """Flip a byte of the stored data, where the bytes of a big file must be."""
        victim = max(bench.repository.rglob("*"), key=lambda path: path.stat().st_size)
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 0x55
        mode = victim.stat().st_mode
        victim.chmod(0o600)
        victim.write_bytes(data)
        victim.chmod(mode)

    @contextmanager
    def locked(self, bench: Bench) -> Iterator[None]:  # noqa: ARG002  # for those who override it
        """Somebody else works on the repository; override where a lock keeps readers out."""
        yield

    def on_dead_host(self, folder: Path) -> Engine:  # noqa: ARG002  # for those who override it
        """The engine on a repository whose host does not answer."""
        pytest.skip("knows no hosts")

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """A folder that other users may look into, unlike pytest's."""
        folder = Path(tempfile.mkdtemp(prefix="owui-vault-engine-"))
        folder.chmod(0o755)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    @pytest.fixture
    def empty(self, folder: Path) -> Bench:
        """No repository yet."""
        return Bench(engine=self.make(folder), folder=folder)

    @pytest.fixture
    def bench(self, empty: Bench) -> Bench:
        """An initialized repository."""
        self.prepare(empty)
        return empty

    def as_other_user(self, bench: Bench, act: Callable[[], Result]) -> Result:
        """Run `act` as somebody who is not root (in a child, when we are), who owns the bench's folder."""
        if os.geteuid() != 0:
            return act()
        for path in (bench.folder, *bench.folder.rglob("*")):
            os.lchown(path, OTHER_USER, OTHER_USER)
        return in_child(_as_nobody(act))


def _as_nobody(act: Callable[[], Result]) -> Callable[[], Result]:
    def run() -> Result:
        os.setgroups([])
        os.setgid(OTHER_USER)
        os.setuid(OTHER_USER)
        return act()

    return run


def in_child(act: Callable[[], Result]) -> Result:
    """What `act` answers or raises in a forked child."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            try:
                answer: tuple[bool, object] = (True, act())
            except BaseException as error:  # of a forked child, which must not go on as the test that it was
                answer = (False, error)
            try:
                os.write(file.fileno(), pickle.dumps(answer))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        file.seek(0)
        worked, result = pickle.loads(file.read())
    if not worked:
        raise result
    return result  # type: ignore[no-any-return]  # what went in comes out
