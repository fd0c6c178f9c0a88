"""Stopping a group all or nothing, when somebody comes, goes, refuses or fights back in the middle of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.quiesce import freezer
from owui_vault.system import procfs
from owui_vault.system.procfs import ProcessIdentity
from owui_vault.testing.quiescer_suite import eventually, soon

NOBODY = 65534
Sleeper = Callable[..., ProcessIdentity]  # the fixture of that name


def stop_by_hand(*processes: ProcessIdentity) -> None:
    for each in processes:
        os.kill(each.pid, signal.SIGSTOP)
    assert eventually(lambda: all(procfs.stopped(each) for each in processes))


@contextmanager
def without_rights() -> Iterator[None]:
    """For a while, this process is nobody."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_an_interruption_in_the_middle_wakes_whom_it_had_stopped(sleeper: Sleeper) -> None:
    everybody = frozenset({sleeper(), sleeper()})

    def members() -> frozenset[ProcessIdentity]:
        if freezer.stopped_among(everybody) == everybody:
            raise KeyboardInterrupt
        return everybody

    with pytest.raises(KeyboardInterrupt):
        freezer.freeze(members, soon())
    assert not freezer.stopped_among(everybody)


def test_a_process_that_appears_at_the_last_look_is_stopped_too(sleeper: Sleeper) -> None:
    first, late = sleeper(), sleeper()
    calls = count(1)

    def members() -> frozenset[ProcessIdentity]:
        number = next(calls)
        if number == 3:  # asked after the signal: all is quiet now, and the next look is the last
            assert eventually(lambda: procfs.stopped(first))
        return frozenset({first} if number < 4 else {first, late})

    frozen = freezer.freeze(members, soon())
    assert frozen.ours == {first, late}
    assert freezer.stopped_among({first, late}) == {first, late}


def test_one_that_leaves_the_group_once_it_was_stopped_is_woken_with_the_others(sleeper: Sleeper) -> None:
    """The child of a process that ends just then belongs to the first process from now on, and to no tree of ours."""
    stays, leaves = sleeper(), sleeper()
    calls = count(1)

    def members() -> frozenset[ProcessIdentity]:
        return frozenset({stays, leaves} if next(calls) <= 2 else {stays})

    frozen = freezer.freeze(members, soon())
    assert frozen.ours == {stays, leaves}
    freezer.check(frozen, members)
    freezer.thaw(frozen.ours, soon())
    assert not freezer.stopped_among({stays, leaves})


def test_somebody_new_among_the_frozen_is_told(sleeper: Sleeper) -> None:
    first, late = sleeper(), sleeper()
    frozen = freezer.freeze(lambda: frozenset({first}), soon())
    freezer.check(frozen, lambda: frozenset({first}))
    with pytest.raises(QuiesceError, match=f"process {late.pid} appeared"):
        freezer.check(frozen, lambda: frozenset({first, late}))


def stopped_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Somebody stops at once what we wake, so many times."""
    wake, left = procfs.send, iter(range(times))

    def send(identity: ProcessIdentity, number: signal.Signals) -> bool:
        sent = wake(identity, number)
        if next(left, None) is not None:
            stop_by_hand(identity)
        return sent

    monkeypatch.setattr(procfs, "send", send)


def test_what_is_stopped_again_while_it_is_woken_is_woken_again(
    sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sleeper()
    stop_by_hand(one)
    stopped_again(monkeypatch, 2)
    freezer.thaw({one}, soon())
    assert not procfs.stopped(one)


def test_what_stays_stopped_is_named_with_the_remedy(sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch) -> None:
    one = sleeper()
    stop_by_hand(one)
    stopped_again(monkeypatch, 1000)
    with pytest.raises(ResumeError, match=f"still stopped: process {one.pid}") as caught:
        freezer.thaw({one}, soon(0.05))
    assert f"kill -CONT {one.pid}" in caught.value.hint


@pytest.mark.root
def test_one_that_may_not_be_stopped_leaves_nobody_stopped(sleeper: Sleeper) -> None:
    ours, theirs = sleeper(user=NOBODY), sleeper()
    with without_rights(), pytest.raises(QuiesceError, match=f"no permission to stop process {theirs.pid}") as caught:
        freezer.freeze(lambda: frozenset({ours, theirs}), soon())
    assert "as root" in caught.value.hint
    assert not freezer.stopped_among({ours, theirs})


@pytest.mark.root
def test_one_that_may_not_be_woken_is_told_once_the_others_are(sleeper: Sleeper) -> None:
    theirs, ours = sleeper(), sleeper(user=NOBODY)
    stop_by_hand(theirs, ours)
    with without_rights(), pytest.raises(ResumeError, match=f"no permission to resume process {theirs.pid}") as caught:
        freezer.wake({theirs, ours})
    assert "as root" in caught.value.hint
    assert freezer.stopped_among({theirs, ours}) == {theirs}
