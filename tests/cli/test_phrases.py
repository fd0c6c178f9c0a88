"""Small things in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.cli.render.phrases import age, count, duration, printable, size

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (31_500_000, "31.5 MB"),
        (999_600, "1.0 MB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.052, "52 ms"),
        (0.9999, "1.0 s"),
        (4.25, "4.2 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (7200, "2 h"),
        (1_040_000, "12 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=74), "1 min"),
        (timedelta(seconds=119), "2 min"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=30), "30 days"),
        (timedelta(hours=-1), "in the future"),
    ],
)
def test_ages(ago: timedelta, text: str) -> None:
    assert age(NOW - ago, NOW) == text


def test_counts() -> None:
    assert [count(1, "file"), count(1200, "file"), count(2, "index", "indices")] == [
        "1 file",
        "1,200 files",
        "2 indices",
    ]


def test_a_name_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[31mb\nc\u202ed\udcff") == "a\\x1b[31mb\\nc\\u202ed\\udcff"
    assert printable("Größe 日本 [bold]") == "Größe 日本 [bold]"


@given(st.text())
def test_every_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()


@given(st.integers(0, 10**18))
def test_sizes_stay_short(number: int) -> None:
    assert len(size(number)) <= 12
