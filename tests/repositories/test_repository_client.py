"""A repository as an operation uses it: every method waits for its lock, and knows whose repository it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    CancelledError,
    Label,
    Limits,
    Repository,
    RepositoryInfo,
    RepositoryLockedError,
    RepositoryMissingError,
    ResumeError,
    Secret,
)
from owui_vault.context.context import Callbacks, OperationContext
from owui_vault.context.state import StateDirectory
from owui_vault.errors import UnforeseenError
from owui_vault.model import Answered, Asking, Notice, Waiting
from owui_vault.repositories.repository_client import RepositoryClient
from owui_vault.testing.engines.bench import make_label
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeClock


class BusyEngine(DirectoryEngine):
    """A directory, whose lock another program holds for the next `refusals` calls of anything."""

    refusals = 0

    def __getattribute__(self, name: str) -> object:
        if name in METHODS:
            left = object.__getattribute__(self, "refusals")
            if left:
                self.refusals = left - 1
                return refuse
        return super().__getattribute__(name)


def refuse(*_arguments: object, **_more: object) -> None:
    raise RepositoryLockedError("another program is using it")


METHODS = ("inspect", "snapshots", "contents", "fetch", "store", "relabel", "remove", "compact", "verify")


class Place:
    """A repository that holds one snapshot, its client, and a clock that needs no time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.cancel = folder, FakeClock(), threading.Event()
        self.engine = BusyEngine(folder / "repository", Secret("x"))
        (folder / "tree").mkdir()
        (folder / "tree" / "file").write_text("content")
        (folder / "target").mkdir()
        self.heard: list[Notice] = []
        self.client = self.made()
        self.client.initialize()
        self.label = make_label(1)
        self.store(self.label)
        (self.stored,) = self.client.list()

    def made(self, *, lock_wait_seconds: float = 30.0) -> RepositoryClient:
        context = OperationContext(
            instance=None,
            repositories=(),
            state=StateDirectory(self.folder / "state"),
            clock=self.clock,
            limits=Limits(lock_wait_seconds=lock_wait_seconds),
            notices=self.heard.append,
        )
        return RepositoryClient(context, Repository("nas", self.engine), Callbacks(cancel=self.cancel))

    def store(self, label: Label) -> None:
        self.client.store(self.folder / "tree", label, reread=False, warn=print, last_look=tuple)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


CALLS: dict[str, Callable[[Place], object]] = {
    "inspect": lambda place: place.client.inspect(),
    "snapshots": lambda place: place.client.snapshots(),
    "list": lambda place: place.client.list(),
    "contents": lambda place: list(place.client.contents(place.stored)),
    "fetch": lambda place: place.client.fetch(place.stored, place.folder / "target"),
    "store": lambda place: place.store(make_label(2)),
    "relabel": lambda place: place.client.relabel(place.stored, place.label),
    "compact": lambda place: place.client.compact(),
    "verify": lambda place: place.client.verify(0),
    "remove": lambda place: place.client.remove([place.stored]),
}


def test_all_of_an_engine_is_asked_with_patience(place: Place) -> None:
    for name, call in CALLS.items():
        place.engine.refusals = 3
        began = place.clock.monotonic()
        call(place)
        assert place.clock.monotonic() - began >= 3, name
        assert not place.engine.refusals, name
    assert {each.id for each in place.client.list()} == {make_label(2).id}


def test_whoever_waits_is_told_at_once_and_once(place: Place) -> None:
    place.heard.clear()
    place.engine.refusals = 3
    place.client.compact()
    assert place.heard == [
        Asking(repository="nas"),
        Waiting(what="nas", holder="", wait_seconds=30.0),
        Answered(repository="nas"),
    ]


def test_an_engine_that_waits_by_itself_does_so_for_a_moment_and_then_for_all_that_is_left(place: Place) -> None:
    """Else nobody would hear for whom it waits before it gives up."""
    waited: list[float] = []

    def compact(call: Call) -> int | None:
        waited.append(call.lock_seconds)
        if len(waited) < 3:
            place.clock.advance(timedelta(seconds=call.lock_seconds))
            raise RepositoryLockedError("another program is using it")
        return None

    place.engine.compact = compact  # type: ignore[method-assign]
    with pytest.raises(RepositoryLockedError):
        place.client.compact()
    assert waited == [2.0, 27.0], "and a second between two attempts"


def test_how_much_comes_is_known_where_all_of_a_snapshot_does(place: Place) -> None:
    totals: list[int | None] = []
    client = place.client.heard_by(Callbacks(progress=lambda event: totals.append(event.total_bytes)))
    stored = replace(place.stored, size_bytes=77)
    client.fetch(stored, place.folder / "target")
    assert 77 in totals
    totals.clear()
    client.fetch(stored, place.folder / "target", ("file",))
    assert set(totals) == {None}


def test_patience_has_an_end(place: Place) -> None:
    place.engine.refusals = 1000
    began = place.clock.monotonic()
    with pytest.raises(RepositoryLockedError):
        place.made(lock_wait_seconds=10).list()
    assert 10 <= place.clock.monotonic() - began < 12


def test_whoever_cancels_does_not_wait_for_a_lock(place: Place) -> None:
    place.engine.refusals = 1000
    place.cancel.set()
    with pytest.raises(CancelledError, match="another program was using it"):
        place.client.compact()
    assert place.engine.refusals == 999


def test_another_repository_in_its_place_is_not_listed(place: Place) -> None:
    info = place.client.inspect()
    other = DirectoryEngine(place.folder / "other", Secret("x"))
    other.initialize(Call(folder=place.folder))
    (place.folder / "repository").rename(place.folder / "unmounted")
    with pytest.raises(RepositoryMissingError) as gone:
        place.client.list()
    assert "is its disk or share mounted?" in gone.value.hint
    (place.folder / "other").rename(place.folder / "repository")
    with pytest.raises(RepositoryMissingError, match=info.id[:10]):
        place.client.list()


def test_what_nobody_foresaw_is_the_result_of_one_repository(place: Place) -> None:
    assert isinstance(place.client.failure(KeyError("x"), "storing in"), UnforeseenError)
    locked = RepositoryLockedError("busy")
    assert place.client.failure(locked, "storing in") is locked


@pytest.mark.parametrize("error", [CancelledError("stopped"), ResumeError("it does not start")])
def test_what_concerns_the_instance_is_no_result_of_a_repository(place: Place, error: Exception) -> None:
    with pytest.raises(type(error)):
        place.client.failure(error, "storing in")


def test_an_engine_that_was_interrupted_may_call_it_what_it_likes(place: Place) -> None:
    place.cancel.set()
    with pytest.raises(CancelledError, match="stopped while pruning nas"):
        place.client.failure(RepositoryLockedError("interrupted"), "pruning")


def test_a_forgotten_repository_is_right_as_it_is(place: Place) -> None:
    info: RepositoryInfo = place.client.inspect()
    assert place.client.memory.id == info.id
    place.client.remove([place.stored])
    place.client.forget()
    assert place.client.list() == ()
    assert not place.client.memory.last
