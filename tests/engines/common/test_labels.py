"""What is written next to the data comes back as it was, and nothing else is taken for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.engines.common import labels
from owui_vault.model import Label, Outcome, Proof

LABEL = Label(
    id="4e1c0a9f",
    instance="open-webui",
    fingerprint="9b2c" * 8,
    instant=datetime(2026, 11, 20, 3, 0, 0, 123456, tzinfo=UTC),
    sequence=7,
    outcome=Outcome.COMPLETE,
    mode=Proof.LIVE,
    tags=("before-upgrade", "v1.2"),
    application_version="0.12.4",
    engine="borg",
    engine_version="1.4.5",
    chunking="fixed,65536",
    size_bytes=31_000_000,
)
PRINTABLE = st.text(max_size=60).filter(str.isprintable)


@st.composite
def any_label(draw: st.DrawFn) -> Label:
    return Label(
        id=draw(st.from_regex(r"[0-9a-f]{8}", fullmatch=True)),
        instance=draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)),
        fingerprint=draw(st.from_regex(r"[0-9a-f]{0,64}", fullmatch=True)),
        instant=draw(st.datetimes(timezones=st.just(UTC), min_value=datetime.fromisoformat("1000-01-01"))),
        sequence=draw(st.integers(min_value=0, max_value=10**18 - 1)),
        outcome=draw(st.sampled_from([Outcome.COMPLETE, Outcome.INCOMPLETE])),
        mode=draw(st.sampled_from(Proof)),
        tags=tuple(sorted(draw(st.sets(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), max_size=5)))),
        application_version=draw(PRINTABLE),
        engine=draw(PRINTABLE),
        engine_version=draw(PRINTABLE),
        size_bytes=draw(st.integers(0, 10**17)),
        chunking=draw(PRINTABLE),
    )


@given(any_label())
def test_every_label_survives_fields_tags_and_json(label: Label) -> None:
    assert labels.label_from_fields(labels.label_to_fields(label)) == label
    assert labels.label_from_tags(labels.label_to_tags(label)) == label
    assert labels.label_from_json(labels.label_to_json(label)) == label


@given(any_label())
def test_tags_hold_neither_commas_nor_blanks_nor_braces(label: Label) -> None:
    for tag in labels.label_to_tags(label):
        assert tag.isascii()
        assert not set(tag) & set(", {}\n\"'\\")


def test_order_and_foreign_tags_do_not_matter() -> None:
    tags = [*reversed(labels.label_to_tags(LABEL)), "mine", "colour=blue", "future-field=x"]
    assert labels.label_from_tags(tags) == LABEL


def test_a_later_format_is_foreign() -> None:
    fields = dict(labels.label_to_fields(replace(LABEL, tags=()))) | {"format": "2"}
    assert labels.label_from_fields(fields) is None


def test_the_mark_is_needed() -> None:
    assert labels.label_from_tags(labels.label_to_tags(LABEL)[1:]) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "../../etc"),
        ("id", "4E1C0A9F"),
        ("id", ""),
        ("instance", "a b"),
        ("instance", "../x"),
        ("instance", "x" * 64),
        ("instant", "yesterday"),
        ("instant", "2026-11-20T03:00:00"),
        ("instant", "2026-13-40T03:00:00Z"),
        ("instant", "2026-11-20T03:00:00+14:00"),
        ("sequence", "-1"),
        ("sequence", "٣"),
        ("sequence", "9" * 5000),
        ("outcome", "splendid"),
        ("mode", "guessed"),
        ("fingerprint", "\x1b[31m"),
        ("application", "0.1\n\x1b]0;owned\x07"),
        ("engine-version", "v" * 201),
        ("user", "a,b"),
        ("user", ""),
    ],
)
def test_a_forged_field_makes_it_foreign(name: str, value: str) -> None:
    fields = [field for field in labels.label_to_fields(replace(LABEL, tags=())) if field[0] != name]
    assert labels.label_from_fields([*fields, (name, value)]) is None


def test_a_field_said_twice_makes_it_foreign() -> None:
    assert labels.label_from_fields([*labels.label_to_fields(LABEL), ("outcome", "complete")]) is None


@given(st.text(max_size=200))
def test_any_other_text_is_foreign(text: str) -> None:
    assert labels.label_from_json(text) is None
    assert labels.label_from_tags([labels.MARK, text, f"id={text}"]) is None


@pytest.mark.parametrize("value", [1, "x", None, [1], [["a"]], [["format", 1]], {"format": "1"}, [["format", "1"]]])
def test_json_of_another_shape_is_foreign(value: object) -> None:
    assert labels.label_from_json(json.dumps({labels.MARK: value})) is None
    assert labels.label_from_json(json.dumps(value)) is None


def test_bytes_that_are_not_text_make_it_foreign() -> None:
    assert labels.label_from_tags([*labels.label_to_tags(replace(LABEL, chunking="")), "chunking=%ff"]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"instance": "A"},
        {"tags": ("b", "a")},
        {"application_version": "a\nb"},
        {"outcome": Outcome.FAILED},
    ],
)
def test_a_label_that_could_not_be_read_back_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        labels.label_to_fields(replace(LABEL, **change))  # type: ignore[arg-type]  # each value fits its field


def test_a_label_from_before_sizes_were_said_is_read() -> None:
    fields = [field for field in labels.label_to_fields(LABEL) if field[0] != "size"]
    assert labels.label_from_fields(fields) == replace(LABEL, size_bytes=0)
