"""A pattern that fits nothing is perhaps a slip: it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault.instance.layout import capture_plan
from owui_vault.manifest.excluded_sizes import idle_warnings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("webui.db", "uploads/a.mp4", "cache/whisper/model.bin", "vector_db/chroma.sqlite3"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def idle(data: Path, *exclude: str, include: tuple[str, ...] = ()) -> list[str]:
    plan = capture_plan(data, data / ".owui-vault", include=include, exclude=exclude)
    return list(idle_warnings(plan, include=include, exclude=exclude))


@pytest.mark.parametrize("pattern", ["uploads/*.mp4", "*.mp4", "./cache/whisper", "cache", "cache/*/model.bin"])
def test_a_pattern_that_fits_is_not_named(data: Path, pattern: str) -> None:
    assert idle(data, pattern) == []
    assert idle(data, include=(pattern,)) == []


@pytest.mark.parametrize("pattern", ["upload/*.mp4", "sh:**/big/**", "*.mkv", "cache/whisper1"])
def test_a_slip_is_named_with_its_key(data: Path, pattern: str) -> None:
    assert idle(data, "uploads/*.mp4", pattern) == [
        f"the pattern {pattern!r} of instance.exclude fits nothing in {data}"
    ]
    assert idle(data, include=(pattern,)) == [f"the pattern {pattern!r} of instance.include fits nothing in {data}"]


def test_two_patterns_for_one_file_are_both_of_use(data: Path) -> None:
    """Though the first alone leaves it out."""
    assert idle(data, "uploads/*.mp4", "uploads/a*") == []
