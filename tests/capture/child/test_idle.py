"""An instance that does not run, with nobody configured who could be asked: proven by who has it open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture.child import attempt as attempts
from owui_vault.capture.child.errors import AttemptFailedError
from owui_vault.capture.child.main import Helper
from owui_vault.capture.child.watch import WritersFound, find_writers
from owui_vault.model import Proof, Quiesce
from tests.capture.child.test_steps import ATTEMPT, prepare
from tests.capture.child.test_steps import helper as helper  # noqa: PLC0414  a fixture

ALONE = {**ATTEMPT, "frozen": True, "held": False, "alone": True, "seconds": 10.0}


@pytest.fixture
def elsewhere(mounted: Callable[[str], Path]) -> Iterator[Callable[[Path], None]]:
    """`elsewhere(folder)`: from now on it lies on another disk."""
    moved: list[Path] = []

    def move(folder: Path) -> None:
        disk = mounted("ext4") / folder.parent.parent.name
        disk.mkdir()
        for path in list(folder.iterdir()):
            (disk / path.name).write_bytes(path.read_bytes())
        subprocess.run(["mount", "--bind", disk, folder], check=True)
        moved.append(folder)

    yield move
    for each in moved:
        subprocess.run(["umount", each], check=True)


def seen(monkeypatch: pytest.MonkeyPatch, *answers: WritersFound) -> None:
    left = list(answers)
    monkeypatch.setattr(attempts, "find_writers", lambda *_, **__: left.pop(0))


NOBODY = WritersFound(writers=(), complete=True)
SOMEBODY = WritersFound(writers=("process 7 (python) is not frozen and has webui.db open for writing",), complete=True)


@pytest.mark.root
def test_uploads_on_another_disk_are_of_the_instant_when_nobody_runs(
    helper: Helper, site: Any, elsewhere: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(site.data / "uploads")
    assert prepare(helper)["obstacles"] == ("uploads is on a different file system from the stage",)
    seen(monkeypatch, NOBODY, NOBODY)
    assert helper.obey(ALONE)["unsettled"] == 0


@pytest.mark.parametrize("answers", [(SOMEBODY,), (NOBODY, SOMEBODY)])
def test_who_writes_before_or_after_spoils_it(
    helper: Helper, monkeypatch: pytest.MonkeyPatch, answers: tuple[WritersFound, ...]
) -> None:
    prepare(helper)
    seen(monkeypatch, *answers)
    with pytest.raises(AttemptFailedError, match=r"process 7 \(python\) .* has webui\.db open for writing"):
        helper.obey(ALONE)


def test_who_cannot_be_looked_at_spoils_it(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(helper)
    seen(monkeypatch, WritersFound(writers=(), complete=False))
    with pytest.raises(AttemptFailedError, match=r"not every process is visible .* or configure its unit"):
        helper.obey(ALONE)


def test_a_change_by_one_who_came_and_went_shows(helper: Helper, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(helper)
    seen(monkeypatch, NOBODY, NOBODY)
    compare = attempts.Attempt._compare

    def after_a_change(*arguments: Any) -> None:
        (site.data / "uploads" / "0.txt").write_text("changed")
        compare(*arguments)

    monkeypatch.setattr(attempts.Attempt, "_compare", after_a_change)
    with pytest.raises(AttemptFailedError, match=r"0\.txt changed"):
        helper.obey(ALONE)


@pytest.mark.root
@pytest.mark.parametrize("mode", [Quiesce.AUTO, Quiesce.LIVE])
def test_a_capture_says_so_or_names_the_way_out(
    site: Any, elsewhere: Callable[[Path], None], mode: Quiesce, helper: Helper
) -> None:
    """Which of the two depends on where this runs: in a container not everybody is seen."""
    elsewhere(site.data / "uploads")
    captured = site.take(mode=mode)
    if find_writers(helper.job, {}, (), {}).complete and os.geteuid() == 0:
        assert captured.proof.mode is Proof.IDLE
        assert captured.problems == ()
    else:
        assert captured.proof.mode is Proof.UNPROVEN
        (problem,) = captured.problems
        assert "uploads is on a different file system from the stage" in problem
        assert "it cannot be proven that nothing is running" in problem
