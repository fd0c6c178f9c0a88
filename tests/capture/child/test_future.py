"""Files dated ahead: by hand, by a copy from elsewhere, or by a clock that ran ahead once."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import attempt as attempts
from owui_vault.capture.child import fences
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.fences import Now
from owui_vault.capture.child.main import Helper
from owui_vault.capture.child.marks import Mark, mark_of
from owui_vault.capture.child.messages import number
from owui_vault.capture.child.watch import WritersFound
from owui_vault.model import Quiesce
from tests.capture.child.test_steps import ATTEMPT, prepare
from tests.capture.child.test_steps import helper as helper  # noqa: PLC0414  a fixture
from tests.capture.conftest import SimpleQuiet

TIMES = ("mtime", "ctime")
SECOND = 1_000_000_000
FIVE_HOURS = 5 * 3600 * SECOND
NOW = Now(1_700_000_000 * SECOND + 5, device=1)


def mark(modified_ns: int, changed_ns: int = 0, *, device: int = 1) -> Mark:
    """Of a file with these times, told from now."""
    now = NOW.probe_ns
    return Mark(device, 2, stat.S_IFREG, 3, now + modified_ns, now + changed_ns, 0, 0)


@pytest.mark.parametrize(
    ("modified", "changed", "settled"),
    [
        (-1, -1, True),
        (0, -1, False),  # the present tick
        (-1, 0, False),
        (1, -1, False),  # barely ahead
        (SECOND, SECOND, False),
        (SECOND + 1, -1, True),  # dated by hand
        (FIVE_HOURS, FIVE_HOURS, True),  # a clock that ran ahead
        (FIVE_HOURS, 0, False),  # and is being changed just now
    ],
)
def test_only_what_is_present_or_barely_ahead_is_waited_for(modified: int, changed: int, settled: bool) -> None:
    assert NOW.settled(mark(modified, changed)) is settled


def test_another_file_system_may_count_by_two_seconds() -> None:
    """Its clock is the same kernel's, but a second change could bear the time of one that is two seconds old."""
    assert not NOW.settled(mark(-SECOND - 5, -SECOND - 5, device=7))
    assert NOW.settled(mark(-2 * SECOND - 5, -2 * SECOND - 5, device=7))
    assert NOW.settled(mark(-1, -1, device=7)), "one that counts finer"
    assert NOW.settled(mark(-SECOND - 5, -SECOND - 5)), "the probe's own, which is as coarse"


def test_another_machines_clock_says_nothing_about_the_present() -> None:
    now = Now(NOW.probe_ns, device=1, foreign=frozenset({7}))
    for minutes, settled in ((-90, True), (-30, False), (30, False), (90, True)):
        when = minutes * 60 * SECOND
        assert now.settled(mark(when, when, device=7)) is settled
    assert now.seconds_to_wait(mark(-30 * 60 * SECOND, -1, device=1)) == 0


def test_a_change_brings_a_time_ahead_back_to_now(any_filesystem: Path) -> None:
    """What the trust in such times rests on, where `live` is offered and beyond."""
    path = any_filesystem / "future"
    path.write_text("one")
    os.utime(path, ns=(4 * 10**18, 4 * 10**18))
    before = path.stat()
    with path.open("r+") as file:
        file.write("two")
    after = path.stat()
    assert after.st_mtime_ns < before.st_mtime_ns
    assert after.st_ctime_ns >= before.st_ctime_ns


@pytest.fixture
def ran_ahead(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`ran_ahead(folder, *names)`: a copy of the folder on ext4, where both times of these files lie in 2040."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount ext4")
    point = tmp_path / "point"
    point.mkdir()

    def make(folder: Path, *names: str) -> Path:
        image = tmp_path / "image"
        image.touch()
        os.truncate(image, 128 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", folder, image], check=True)
        deeds = "".join(f"set_inode_field /{name} {field} @2208988800\n" for name in names for field in TIMES)
        subprocess.run(["debugfs", "-w", "-f", "-", image], input=deeds.encode(), check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, point], check=True)
        return point

    yield make
    subprocess.run(["umount", "-l", point], check=False)


@pytest.mark.root
def test_so_it_does_when_both_times_are_ahead(ran_ahead: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "index").write_text("one")
    path = ran_ahead(tmp_path / "files", "index") / "index"
    before = path.stat()
    assert min(before.st_mtime, before.st_ctime) > time.time() + 10**8
    path.write_text("two")
    after = path.stat()
    assert max(after.st_mtime, after.st_ctime) < time.time() + 60


@pytest.mark.root
@pytest.mark.parametrize("mode", [Quiesce.LIVE, Quiesce.PAUSE])
def test_an_instance_whose_clock_ran_ahead_once_is_proven(
    site: Any, ran_ahead: Callable[..., Path], mode: Quiesce
) -> None:
    site.build("delete")
    names = ("webui.db", "vector_db/chroma.sqlite3", "vector_db/segment/header.bin", "uploads/0.txt", "vector_db")
    point = ran_ahead(site.data, *names)
    site.data, site.work = point, point / ".owui-vault" / "work"
    site.work.mkdir(parents=True)
    captured = site.take(mode=mode, quiet=SimpleQuiet(lambda: None, lambda: None))
    assert captured.proof.mode.value == mode.value
    assert captured.problems == ()
    assert captured.proof.freeze_seconds < 4


@pytest.mark.parametrize("name", ["uploads/0.txt", "vector_db/segment/header.bin", "webui.db"])
def test_a_file_dated_five_hours_ahead_is_of_the_instant(helper: Helper, site: Any, name: str) -> None:
    when = time.time_ns() + FIVE_HOURS
    os.utime(site.data / name, ns=(when, when))
    prepare(helper)
    began = time.monotonic()
    answer = helper.obey(ATTEMPT)
    assert answer["unsettled"] == 0
    assert number(answer, "settle_seconds") < 1.5
    assert time.monotonic() - began < 5


def test_a_freeze_lasts_no_longer_for_it_where_somebody_may_be_unseen(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "find_writers", lambda *_, **__: WritersFound(writers=(), complete=False))
    when = time.time_ns() + FIVE_HOURS
    os.utime(site.data / "uploads" / "0.txt", ns=(when, when))
    prepare(helper)
    began = time.monotonic()
    helper.obey({**ATTEMPT, "seconds": 8.0, "frozen": True, "patience_seconds": 0.05})
    assert time.monotonic() - began < 4


def test_nothing_waits_for_a_time_that_does_not_come_within_its_limit(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "_NEAR_NS", 100 * SECOND)
    prepare(helper)
    when = time.time_ns() + 50 * SECOND
    os.utime(site.data / "uploads" / "0.txt", ns=(when, when))
    began = time.monotonic()
    with pytest.raises(AttemptFailedError, match=r"0\.txt has a change time .* s ahead of its file system's clock"):
        helper.obey({**ATTEMPT, "seconds": 20.0})
    assert time.monotonic() - began < 10


def test_a_time_that_comes_while_it_is_trusted_fails_the_attempt(
    helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change at that very time would bear it as well."""
    prepare(helper)
    when = time.time_ns() + 3 * SECOND
    os.utime(site.data / "uploads" / "0.txt", ns=(when, when))
    compare = attempts.Attempt._compare

    def after_that_time(*arguments: Any) -> None:
        while time.time_ns() < when:
            time.sleep(0.05)
        compare(*arguments)

    monkeypatch.setattr(attempts.Attempt, "_compare", after_that_time)
    with pytest.raises(AttemptFailedError, match=r"0\.txt had a change time in the future, which has now passed"):
        helper.obey({**ATTEMPT, "seconds": 20.0})


@pytest.mark.parametrize("name", ["vector_db/segment/header.bin", "webui.db"])
def test_a_copy_made_ahead_is_made_anew_once_that_time_has_come(helper: Helper, site: Any, name: str) -> None:
    """A change at that very time would not show in its mark."""
    when = time.time_ns() + 3 * SECOND
    os.utime(site.data / name, ns=(when, when))
    prepare(helper)
    assert name in helper.writer.ahead
    before = mark_of(helper.writer.place(name))
    while time.time_ns() < when + SECOND:
        time.sleep(0.05)
    helper.obey(ATTEMPT)
    after = mark_of(helper.writer.place(name))
    assert before is not None
    assert after is not None
    assert after.inode != before.inode or after.ctime_ns != before.ctime_ns
    assert name not in helper.writer.once
