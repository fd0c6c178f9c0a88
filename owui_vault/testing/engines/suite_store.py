"""Conformance of engines: what goes in comes out."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from owui_vault.errors import (
    RepositoryExistsError,
    RepositoryLockedError,
    RepositoryMissingError,
    SnapshotMissingError,
    WrongPassphraseError,
)
from owui_vault.model import Outcome, Progress, Step
from owui_vault.testing.engines.bench import Bench, EngineBench, make_label
from owui_vault.testing.trees import MANY_BYTES, assert_same, extended_of, give_attributes, look, size_of

ORDINARY_WORDS = ("password", "wrong", "found", "passphrase", "incorrect")  # of what engines answer
HOSTILE_VERSION = "0.12.4 {now} \"a,b\" 'c' %2C \\ é☃ key=value"


class StoringTests(EngineBench):
    """Initialize, inspect, store, list, contents and fetch."""

    def test_initialize_answers_an_id_that_stays(self, empty: Bench) -> None:
        """The vault remembers it to tell one repository from another."""
        created = empty.engine.initialize(empty.call())
        assert created == empty.engine.inspect(empty.call())
        assert created.id
        assert created.engine == empty.engine.name
        assert created.engine_version[0].isdigit()
        assert empty.engine.snapshots(empty.call()) == ()

    def test_initialize_leaves_an_existing_repository_alone(self, bench: Bench) -> None:
        """Not even the same passphrase makes it another one."""
        before = {name: (seen.kind, seen.digest) for name, seen in look(bench.repository).items()}
        with pytest.raises(RepositoryExistsError):
            bench.engine.initialize(bench.call())
        assert {name: (seen.kind, seen.digest) for name, seen in look(bench.repository).items()} == before

    def test_a_relative_location_is_one_place(self, empty: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """The one it was when the engine was made, for all calls."""
        monkeypatch.chdir(empty.folder)
        engine = self.make(Path())
        tree = empty.build()
        monkeypatch.chdir(tree)
        created = engine.initialize(empty.call())
        stored = engine.store(tree, make_label(), empty.call()).snapshot
        assert [each.engine_id for each in engine.snapshots(empty.call())] == [stored.engine_id]
        assert empty.engine.inspect(empty.call()).id == created.id
        assert sorted(path.name for path in empty.folder.iterdir()) == ["repository", "stage", "state"]

    def test_a_missing_repository_is_named_and_not_made(self, empty: Bench) -> None:
        """A disk that is not mounted must not become a directory below the mount point."""
        tree = empty.build()
        for ask in (
            lambda: empty.engine.inspect(empty.call()),
            lambda: empty.engine.snapshots(empty.call()),
            lambda: empty.engine.store(tree, make_label(), empty.call()),
            lambda: empty.engine.verify(empty.call()),
        ):
            with pytest.raises(RepositoryMissingError):
                ask()
        assert not empty.repository.exists()

    def test_a_wrong_passphrase_is_named_and_never_shown(self, bench: Bench) -> None:
        """Neither the wrong one nor the right one."""
        other = self.make(bench.folder, passphrase="wrong-horse-staple")
        for ask in (
            lambda: other.inspect(bench.call()),
            lambda: other.snapshots(bench.call()),
            lambda: other.store(bench.build(), make_label(), bench.call()),
        ):
            with pytest.raises(WrongPassphraseError) as caught:
                ask()
            shown = f"{caught.value!r} {caught.value.hint} {caught.value.argv} {caught.value.stderr_tail}"
            assert "horse" not in shown

    @pytest.mark.parametrize("word", ORDINARY_WORDS)
    def test_a_wrong_passphrase_that_is_an_ordinary_word_is_named_like_any_other(self, bench: Bench, word: str) -> None:
        """What a program says is understood before secrets are taken out of it: they may be words of its own."""
        other = self.make(bench.folder, passphrase=word)
        with pytest.raises(WrongPassphraseError) as caught:
            other.snapshots(bench.call())
        assert f"the passphrase does not open {other.location}" in caught.value.message.replace("the repository ", "")
        assert caught.value.exit_code == 12
        assert word not in caught.value.stderr_tail

    def test_everything_comes_back(self, bench: Bench) -> None:
        """Bytes, modes, times, owners, links, empty directories, awkward names."""
        stored = bench.store()
        assert stored.skipped == ()
        assert stored.read_bytes >= MANY_BYTES
        assert_same(bench.tree, bench.fetch(stored.snapshot))

    def test_a_time_that_no_engine_can_keep_is_no_reason_to_fail(self, bench: Bench) -> None:
        """Of a file or a folder. It comes back, or somebody is told when it is stored or when it is fetched."""
        bench.build()
        names = {"data/far": 10_413_792_000, "data/old": -631_152_000, "data/closed": 10_413_792_000}
        for name, seconds in names.items():
            if not (bench.tree / name).exists():
                (bench.tree / name).write_bytes(b"x")
            os.utime(bench.tree / name, ns=(seconds * 10**9, seconds * 10**9 + 7))
        kept = {name for name in names if (bench.tree / name).stat().st_mtime == names[name]}  # by this file system
        told: list[str] = []
        stored = bench.engine.store(bench.tree, make_label(), replace(bench.call(), warn=told.append))
        assert (stored.skipped, stored.snapshot.outcome) == ((), Outcome.COMPLETE)
        target = bench.folder / "target"
        target.mkdir()
        bench.engine.fetch(stored.snapshot.engine_id, target, replace(bench.call(), warn=told.append))
        for name in kept:
            back = (target / name).stat().st_mtime_ns == names[name] * 10**9 + 7
            assert back or any(name in text for text in told), name

    def test_what_the_store_answered_is_what_the_repository_lists(self, bench: Bench) -> None:
        """The label too, with the engine's part of it filled in."""
        stored = bench.store(tags=("a-b", "v1.2"), application_version=HOSTILE_VERSION)
        (listed,) = bench.engine.snapshots(bench.call())
        assert (listed.engine_id, listed.name) == (stored.snapshot.engine_id, stored.snapshot.name)
        assert listed.label == stored.snapshot.label
        assert listed.label is not None
        assert listed.label == make_label(
            tags=("a-b", "v1.2"),
            application_version=HOSTILE_VERSION,
            engine=bench.engine.name,
            engine_version=listed.label.engine_version,
            chunking=listed.label.chunking,
        )
        assert listed.instant == make_label().instant
        assert listed.outcome is Outcome.COMPLETE

    def test_an_incomplete_label_stays_incomplete(self, bench: Bench) -> None:
        """A snapshot without a proof is stored nevertheless."""
        assert bench.store(outcome=Outcome.INCOMPLETE).snapshot.outcome is Outcome.INCOMPLETE
        assert bench.listed()["00000001"].outcome is Outcome.INCOMPLETE

    def test_snapshots_are_listed_oldest_first(self, bench: Bench) -> None:
        """By their instants, whatever the order of storing was."""
        for number in (3, 1, 2):
            bench.store(number)
        listed = bench.engine.snapshots(bench.call())
        assert [each.label.sequence for each in listed if each.label] == [1, 2, 3]
        assert len({each.engine_id for each in listed}) == 3

    def test_contents_are_every_path(self, bench: Bench) -> None:
        """With kind and size; names that are not UTF-8 at least in number."""
        stored = bench.store()
        entries = list(bench.engine.contents(stored.snapshot.engine_id, bench.call()))
        expected = look(bench.tree)
        found = {entry.path: entry for entry in entries}
        assert len(entries) == len(expected)
        plain = {name for name in expected if self.names_every_byte or name.isprintable() or "\n" in name}
        assert plain <= set(found)
        assert {name: found[name].kind for name in plain} == {name: expected[name].kind for name in plain}
        assert found["data/webui.db"].size_bytes == MANY_BYTES

    def test_contents_and_fetch_name_a_missing_snapshot(self, bench: Bench) -> None:
        """And write nothing."""
        bench.store()
        target = bench.folder / "target"
        target.mkdir()
        for missing in ("0123456789abcdef" * 4, "nothing-of-that-name"):
            with pytest.raises(SnapshotMissingError):
                bench.engine.contents(missing, bench.call())
            with pytest.raises(SnapshotMissingError):
                bench.engine.fetch(missing, target, bench.call())
        assert list(target.iterdir()) == []

    def test_contents_of_a_locked_repository_fail_at_the_call_or_not_at_all(self, bench: Bench) -> None:
        """Who wants to wait for the lock can do so at the call only."""
        stored = bench.store().snapshot
        with self.locked(bench):
            try:
                entries = bench.engine.contents(stored.engine_id, bench.call(timeout=8))
            except RepositoryLockedError:
                return
            assert len(list(entries)) == len(look(bench.tree))

    def test_a_path_is_taken_literally(self, bench: Bench) -> None:
        """No pattern of the engine's own."""
        bench.build()
        (bench.tree / "data/names/weXird1z.txt").write_bytes(b"not asked for")
        stored = bench.store()
        others = ("new\nline", "back\\slash", "comma,brace{x}.txt", "not-\udcff\udcfe-utf8")
        for names in (("we*ird[1]?.txt",), others):
            wanted = {f"data/names/{name}" for name in names}
            target = bench.fetch(stored.snapshot, *sorted(wanted))
            assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == wanted

    def test_paths_take_what_is_below_them_and_nothing_else(self, bench: Bench) -> None:
        """A path that is not there is no error."""
        bench.build()
        (bench.tree / "data/uploads.old").write_bytes(b"a name with the same beginning")
        (bench.tree / "deeper/data/uploads").mkdir(parents=True)
        stored = bench.store()
        target = bench.fetch(stored.snapshot, "data/uploads", "manifest.json", "no/such/path")
        wanted = {name for name in look(bench.tree) if name == "data" or name.startswith("data/uploads/")}
        assert set(look(target)) == wanted | {"manifest.json", "data/uploads"}
        assert (target / "data/uploads/a.pdf").read_bytes() == (bench.tree / "data/uploads/a.pdf").read_bytes()
        assert (target / "manifest.json").stat().st_mode & 0o777 == 0o600

    def test_fetch_replaces_what_is_in_the_way_and_keeps_the_rest(self, bench: Bench) -> None:
        """Whoever wants an empty directory looks for himself."""
        stored = bench.store()
        target = bench.folder / "target"
        target.mkdir()
        (target / "manifest.json").write_bytes(b"something else, and longer")
        (target / "mine").write_bytes(b"mine")
        bench.engine.fetch(stored.snapshot.engine_id, target, bench.call())
        assert (target / "mine").read_bytes() == b"mine"
        (target / "mine").unlink()
        assert_same(bench.tree, target)

    def test_links_in_a_snapshot_lead_nobody_out_of_the_target(self, bench: Bench) -> None:
        """What is behind them is not written, not even its times."""
        outside = bench.folder / "outside"
        outside.mkdir()
        (outside / "kept").write_bytes(b"kept")
        bench.build()
        (bench.tree / "absolute").symlink_to(outside)
        (bench.tree / "relative").symlink_to("../outside/kept")
        before = look(outside), outside.stat().st_mtime_ns
        target = bench.fetch(bench.store().snapshot)
        assert (target / "absolute").readlink() == outside
        assert (look(outside), outside.stat().st_mtime_ns) == before

    def test_links_in_the_target_lead_nobody_out_either(self, bench: Bench) -> None:
        """A link that lies where a directory or a file of the snapshot goes is replaced, not followed."""
        stored = bench.store()
        outside = bench.folder / "outside"
        outside.mkdir()
        (outside / "kept").write_bytes(b"kept")
        target = bench.folder / "target"
        target.mkdir()
        (target / "data").symlink_to(outside)
        (target / "manifest.json").symlink_to(outside / "kept")
        before = look(outside), outside.stat().st_mtime_ns
        bench.engine.fetch(stored.snapshot.engine_id, target, bench.call())
        assert (look(outside), outside.stat().st_mtime_ns) == before
        assert_same(bench.tree, target)

    def test_access_lists_and_extended_attributes_come_back(self, bench: Bench) -> None:
        """Of files and directories, the default list that a directory gives to what will be in it among them."""
        bench.build()
        for name in ("data", "data/uploads", "data/webui.db"):
            give_attributes(bench.tree / name)
        stored = bench.store()
        target = bench.fetch(stored.snapshot)
        expected, found = extended_of(bench.tree), extended_of(target)
        assert len(expected) == 3
        assert found == expected
        assert_same(bench.tree, target)

    def test_holes_come_back_as_holes(self, bench: Bench) -> None:
        """Where the program can: a nearly empty file must not fill the disk of a restore."""
        bench.build()
        path = bench.tree / "data/sparse.bin"
        with path.open("wb") as file:
            file.write(os.urandom(70_000))
            file.truncate(MANY_BYTES * 8)
        stored = bench.store()
        back = bench.fetch(stored.snapshot) / "data/sparse.bin"
        assert back.stat().st_size == MANY_BYTES * 8
        assert sha256(back.read_bytes()).digest() == sha256(path.read_bytes()).digest()
        assert (back.stat().st_blocks * 512 < MANY_BYTES * 4) == self.keeps_holes

    def test_an_unchanged_tree_adds_next_to_nothing(self, bench: Bench) -> None:
        """The same path at every run; size and mtime say whether a file is read."""
        first = bench.store(1)
        before = size_of(bench.repository)
        second = bench.store(2)
        assert first.added_bytes > MANY_BYTES // 2
        assert second.added_bytes < MANY_BYTES // 20
        assert size_of(bench.repository) - before < MANY_BYTES // 10

    def test_a_file_of_same_size_and_mtime_is_not_read_again(self, bench: Bench) -> None:
        """Its inode and ctime change at every run, since it is linked into the stage again."""
        bench.build()
        path = bench.tree / "data/webui.db"
        facts = path.stat()
        first = bench.store(1)
        path.unlink()
        path.write_bytes(os.urandom(MANY_BYTES))  # other bytes: only who reads it can know
        path.chmod(facts.st_mode & 0o7777)
        os.chown(path, facts.st_uid, facts.st_gid)
        os.utime(path, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        assert bench.store(2).added_bytes < first.added_bytes // 10

    def test_everything_is_read_again_on_request(self, bench: Bench) -> None:
        """When size and mtime cannot be relied on."""
        bench.build()
        path = bench.tree / "data/webui.db"
        facts = path.stat()
        bench.store(1)
        path.write_bytes(os.urandom(MANY_BYTES))
        os.utime(path, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        stored = bench.engine.store(bench.tree, make_label(2), replace(bench.call(), reread=True))
        assert_same(bench.tree, bench.fetch(stored.snapshot))

    def test_a_changed_file_is_read_again(self, bench: Bench) -> None:
        """And comes back as it is now."""
        bench.store(1)
        (bench.tree / "data/uploads/a.pdf").write_bytes(os.urandom(70_000))
        second = bench.store(2)
        assert_same(bench.tree, bench.fetch(second.snapshot))

    def test_progress_of_store_and_fetch_is_told_while_it_happens(self, bench: Bench) -> None:
        """The bytes grow up to all of them. A machine may be too fast for a small tree to have a middle."""
        missing = {Step.STORE, Step.FETCH}
        for number, size in enumerate((64_000_000, 128_000_000, 256_000_000, 512_000_000, 1_000_000_000), start=1):
            for events in self._progress(bench, number, size):
                if _has_a_middle(events, size):
                    missing.discard(events[0].step)
            if not missing:
                return
        raise AssertionError(f"nothing was told between the beginning and the end of {missing}")

    @staticmethod
    def _progress(bench: Bench, number: int, size: int) -> tuple[list[Progress], list[Progress]]:
        stored: list[Progress] = []
        fetched: list[Progress] = []
        shutil.rmtree(bench.tree, ignore_errors=True)
        bench.big(size)
        snapshot = bench.engine.store(bench.tree, make_label(number), bench.call(progress=stored.append)).snapshot
        target = bench.folder / "target"
        target.mkdir()
        bench.engine.fetch(snapshot.engine_id, target, bench.call(progress=fetched.append))
        shutil.rmtree(target)
        assert {event.step for event in stored} == {Step.STORE}
        assert {event.step for event in fetched} == {Step.FETCH}
        return stored, fetched

    def test_caches_may_be_lost_between_two_calls(self, bench: Bench) -> None:
        """At the price of time only."""
        stored = bench.store()
        state = bench.folder / "state"
        state.rename(bench.folder / "lost")
        assert bench.listed()[stored.snapshot.id].engine_id == stored.snapshot.engine_id
        assert_same(bench.tree, bench.fetch(stored.snapshot))
        assert bench.store(2).added_bytes < MANY_BYTES // 10


def _has_a_middle(events: list[Progress], size: int) -> bool:
    done = [event.done_bytes for event in events]
    assert done == sorted(done)
    assert size * 0.9 < done[-1] < size * 1.1
    return any(size * 0.02 < each < size * 0.98 for each in done)
