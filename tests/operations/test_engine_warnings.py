"""What an engine says about a result that is there stands in the report of every operation, and on the screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from owui_vault import Component
from owui_vault.cli.render import live, verification
from owui_vault.cli.render.screen import Screen
from owui_vault.ports import Call
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.operations import house as house_of_tests
from tests.operations.house import House

REMARK = "the time of change could not be restored: data/uploads/a"


class Remarking(DirectoryEngine):
    """Says the same of every fetch and of every look, as borg and restic do of times that they cannot keep."""

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        super().fetch(engine_id, target, call, paths=paths)
        call.warn(REMARK)

    def verify(self, call: Call, *, read_data: float = 0.0) -> tuple[str, ...]:
        call.warn("the index was made anew")
        return super().verify(call, read_data=read_data)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(house_of_tests, "DirectoryEngine", Remarking)
    return House(tmp_path)


def test_an_engines_remarks_stand_in_the_report_of_a_restore_in_place(house: House) -> None:
    report = house.vault.replace(house.vault.plan_replacement("latest"))
    assert report.warnings.count(REMARK) == 1
    paper = io.StringIO()
    live.replaced(Screen(paper), report)
    assert REMARK in paper.getvalue()


def test_an_engines_remarks_stand_in_the_report_of_verify(house: House) -> None:
    report = house.vault.verify("latest")
    assert report.ok
    assert report.warnings.count(REMARK) == 1
    assert "the index was made anew" in report.warnings
    paper = io.StringIO()
    verification.verified(Screen(paper), report)
    assert REMARK in paper.getvalue()


def test_an_engines_remarks_stand_in_the_report_of_a_restore_of_a_part(house: House) -> None:
    """The manifest, read ahead, is fetched by itself: that is not said twice."""
    report = house.vault.restore("latest", house.folder / "out", components=[Component.UPLOADS])
    assert report.warnings.count(REMARK) == 1
