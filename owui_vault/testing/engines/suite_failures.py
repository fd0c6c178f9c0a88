"""Conformance of engines: unreadable files, cancelled and killed runs, full disks, dead hosts, secrets."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from owui_vault.errors import (
    CancelledError,
    DeadlineExceededError,
    EngineError,
    NoSpaceError,
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryUnreachableError,
)
from owui_vault.model import Progress, StoreReceipt
from owui_vault.testing.children import arguments_and_environment, descendants, left_after, mounted
from owui_vault.testing.engines.bench import PASSPHRASE, Bench, EngineBench, make_label
from owui_vault.testing.trees import assert_same, look

BIG = 150_000_000
PATIENCE = 60.0


class TroubleTests(EngineBench):
    """Things go wrong; nothing is listed as complete that is not, and the next run works."""

    def test_whoever_is_not_root_can_fetch(self, bench: Bench) -> None:
        """Owners are what he can make them; everything else is the same."""
        stored = bench.store().snapshot
        target = self.as_other_user(bench, lambda: bench.fetch(stored))
        expected, found = look(bench.tree), look(target)
        assert set(found) == set(expected)
        for name, seen in expected.items():
            same = (found[name].kind, found[name].mode, found[name].mtime_ns, found[name].digest)
            assert same == (seen.kind, seen.mode, seen.mtime_ns, seen.digest), name

    def test_a_repository_that_cannot_be_written_can_be_read(self, bench: Bench) -> None:
        """The disk of the dead machine, mounted read-only."""
        stored = bench.store().snapshot
        bench.listed()

        def read() -> tuple[Path, int]:
            assert bench.listed().keys() == {stored.id}
            return bench.fetch(stored), len(list(bench.engine.contents(stored.engine_id, bench.call())))

        with mounted("--bind", bench.repository, bench.repository, "ro"):
            target, entries = read()
            for share in (0.0, 1.0):
                assert bench.engine.verify(bench.call(), read_data=share) == (), share
        assert entries == len(look(bench.tree))
        assert_same(bench.tree, target)

    def test_damage_is_found_in_a_repository_that_cannot_be_written(self, bench: Bench) -> None:
        """The rescued disk is the one to be verified, by root and by whoever may read it; nothing is written to it."""
        bench.store()
        bench.listed()
        self.damage(bench)
        before = look(bench.repository)
        with mounted("--bind", bench.repository, bench.repository, "ro"):
            assert bench.engine.verify(bench.call(), read_data=1.0)
        assert look(bench.repository) == before
        assert list(bench.call().folder.rglob("stands-in/*")) == []

    def test_a_store_that_is_ended_early_leaves_nothing(self, bench: Bench) -> None:
        """However it was ended: no lock, no snapshot, no process. What comes next works."""
        bench.big(BIG)
        for end in (_cancelled_before, _cancelled_within, _refused_by_its_sink, _out_of_time, _killed_within):
            end(bench)
            assert left_after(bench.left_running) == set(), end.__name__
            left = [each for each in bench.engine.snapshots(bench.call()) if each.is_restore_point]
            assert left == [], end.__name__
        self._works_as_before(bench)

    def _works_as_before(self, bench: Bench) -> None:
        stored = bench.engine.store(bench.tree, make_label(2), bench.call()).snapshot
        for each in bench.engine.snapshots(bench.call()):
            if each.engine_id != stored.engine_id:
                bench.engine.remove([each.engine_id], bench.call())
        bench.engine.compact(bench.call())
        assert bench.engine.verify(bench.call(), read_data=1.0) == ()
        assert set(bench.listed()) == {stored.id}

    def test_three_stores_at_once_all_succeed(self, bench: Bench) -> None:
        """One after another where the engine locks: that is told apart from failure and may be tried again."""
        bench.build()
        engines = [self.make(bench.folder) for _ in range(3)]
        results: list[StoreReceipt | BaseException] = []

        def store(number: int) -> None:
            results.append(_patiently(lambda: engines[number].store(bench.tree, make_label(number), bench.call())))

        threads = [threading.Thread(target=store, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [result for result in results if isinstance(result, BaseException)] == []
        assert set(bench.listed()) == {make_label(number).id for number in range(3)}
        assert bench.engine.verify(bench.call(), read_data=1.0) == ()

    @pytest.mark.root
    def test_a_full_disk_is_named_and_harms_nothing(self, empty: Bench) -> None:
        """What was there is still there, and after making room it goes on."""
        empty.repository.mkdir()
        with mounted("tmpfs", Path("tmpfs"), empty.repository, "size=40m"):
            self._fill(empty)

    def _fill(self, bench: Bench) -> None:
        bench.engine.initialize(bench.call())
        first = bench.store(1).snapshot
        filler = bench.tree / "filler"
        filler.write_bytes(os.urandom(60_000_000))
        with pytest.raises(RepositoryFullError):
            bench.store(2)
        assert set(bench.listed()) == {first.id}
        filler.unlink()
        target = bench.fetch(first)
        assert_same(bench.tree, target)

    @pytest.mark.root
    @pytest.mark.parametrize("left", [0, 45_000])
    def test_a_full_folder_of_ours_is_no_full_repository_and_no_damage(self, bench: Bench, left: int) -> None:
        """Caches and notes find no room: their place is named, or they are done without."""
        state = bench.call().folder
        with mounted("tmpfs", Path("tmpfs"), state, "size=8m"):
            first = bench.store(1).snapshot
            for number in range(1000):
                (bench.tree / f"{number}").write_text(f"{number}")
            _fill(state, left)
            for ask in (
                lambda: bench.engine.inspect(bench.call()),
                lambda: bench.engine.verify(bench.call(timeout=5), read_data=1.0),
                lambda: bench.engine.compact(bench.call()),
                lambda: bench.store(2),
            ):
                try:
                    ask()
                except NoSpaceError as error:
                    assert str(state) in error.message  # noqa: PT017  # or nothing is raised
            assert left_after(bench.left_running) == set()
        assert first.id in bench.listed()
        assert (bench.fetch(first) / "data/webui.db").read_bytes() == (bench.tree / "data/webui.db").read_bytes()

    def test_a_dead_host_is_given_up_in_bounded_time(self, folder: Path) -> None:
        """For every call, the long ones too."""
        engine = self.on_dead_host(folder)
        bench = Bench(engine=engine, folder=folder)
        tree = bench.build()
        for ask in (
            lambda: engine.inspect(bench.call(timeout=3)),
            lambda: engine.snapshots(bench.call(timeout=3)),
            lambda: engine.store(tree, make_label(), bench.call(timeout=3)),
            lambda: engine.verify(bench.call(timeout=3)),
        ):
            started = time.monotonic()
            with pytest.raises((RepositoryUnreachableError, DeadlineExceededError)):
                ask()
            assert time.monotonic() - started < 30

    def test_the_passphrase_is_in_nobodys_arguments_or_environment(self, bench: Bench) -> None:
        """Looked at from outside, all the time."""
        bench.build()
        seen: set[bytes] = set()
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                for pid in descendants(os.getpid()):
                    seen.update(arguments_and_environment(pid))
                time.sleep(0.002)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            stored = bench.store().snapshot
            bench.fetch(stored)
            bench.engine.inspect(bench.call())
            bench.engine.remove([stored.engine_id], bench.call())
        finally:
            done.set()
            watcher.join()
        assert not [text for text in seen if PASSPHRASE.encode() in text]
        assert not [path for path in (bench.folder / "state").rglob("*") if _holds(path, PASSPHRASE)]


def _cancelled_before(bench: Bench) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        bench.engine.store(bench.tree, make_label(1), bench.call(cancel=cancel))


def _cancelled_within(bench: Bench) -> None:
    cancel = threading.Event()

    def stop(event: Progress) -> None:
        if event.done_bytes:
            cancel.set()

    with pytest.raises(CancelledError):
        bench.engine.store(bench.tree, make_label(1), bench.call(progress=stop, cancel=cancel))


def _refused_by_its_sink(bench: Bench) -> None:
    """What it raised comes out."""

    def refuse(event: Progress) -> None:
        if event.done_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.engine.store(bench.tree, make_label(1), bench.call(progress=refuse))


def _out_of_time(bench: Bench) -> None:
    """Of all of it, besides the bound of its silence."""
    with pytest.raises(DeadlineExceededError):
        bench.engine.store(bench.tree, make_label(1), replace(bench.call(), store_seconds=0.05))


def _killed_within(bench: Bench) -> None:
    """SIGKILL of our process; the engine must not go on reading a stage that is about to vanish."""
    with _child_that_stores(bench) as child:
        left = descendants(child)
        os.kill(child, signal.SIGKILL)
    until = time.monotonic() + PATIENCE
    while any(_is_alive(pid) for pid in left):
        assert time.monotonic() < until, "the engine outlived us"
        time.sleep(0.05)


def _fill(folder: Path, left: int) -> None:
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        os.truncate(filler, filler.stat().st_size - left)


def _holds(path: Path, secret: str) -> bool:
    return path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes()


def _patiently(act: object) -> StoreReceipt | BaseException:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            result: StoreReceipt = act()  # type: ignore[operator]  # a lambda of ours
        except RepositoryLockedError as error:
            if time.monotonic() > until:
                return error
            time.sleep(0.1)
        except EngineError as error:
            return error
        else:
            return result


@contextmanager
def _child_that_stores(bench: Bench) -> Iterator[int]:
    """A child of ours that is in the midst of storing."""
    reader, writer = os.pipe()

    def tell(event: Progress) -> None:
        if event.done_bytes:
            os.write(writer, b".")

    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            bench.engine.store(bench.tree, make_label(1), bench.call(progress=tell))
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b".", "the store ended before it could be killed"
        yield child
    finally:
        os.waitpid(child, 0)
        os.close(reader)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
