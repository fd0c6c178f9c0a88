"""What is written next to the data comes back as it was, and nothing else is taken for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.engines.common import labels
from owui_vault.model import Label, LaterLabel, Outcome, Proof

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
    plan="nightly",
    users=2,
    chats=0,
    uploads=8,
    version="0.1.0",
)
NUMBER = st.none() | st.integers(0, 10**18 - 1)
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
        plan=draw(st.from_regex(r"([a-z0-9][a-z0-9._-]{0,62})?", fullmatch=True)),
        users=draw(NUMBER),
        chats=draw(NUMBER),
        uploads=draw(NUMBER),
        version=draw(st.sampled_from(["", "0.1.0", "2.0.0rc1", "1.0+local.1", "0.2.dev3"])),
        pinned=draw(st.booleans()),
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


FIRST = replace(LABEL, format=1, plan=None, users=None, chats=None, uploads=None, version="")


def test_a_label_of_the_first_format_is_read_and_written_as_it_was() -> None:
    """What it does not say is not known, and a relabelling does not make it up. The text is a version 0.1's own."""
    text = (
        '{"owui-vault":[["format","1"],["id","4e1c0a9f"],["instance","open-webui"],'
        '["fingerprint","9b2c9b2c9b2c9b2c9b2c9b2c9b2c9b2c"],["instant","2026-11-20T03:00:00.123456Z"],["sequence","7"],'
        '["outcome","complete"],["mode","live"],["application","0.12.4"],["engine","borg"],["engine-version","1.4.5"],'
        '["chunking","fixed,65536"],["size","31000000"],["user","before-upgrade"],["user","v1.2"]]}'
    )
    assert labels.label_from_json(text) == FIRST
    assert labels.label_to_json(FIRST) == text


def test_a_label_of_the_second_format_stays_readable() -> None:
    """As restic has it in tags; what is written once is read for ever."""
    tags = (
        "owui-vault", "format=2", "id=4e1c0a9f", "instance=open-webui", "fingerprint=9b2c9b2c9b2c9b2c9b2c9b2c9b2c9b2c",
        "instant=2026-11-20T03:00:00.123456Z", "sequence=7", "outcome=complete", "mode=live", "application=0.12.4",
        "engine=borg", "engine-version=1.4.5", "chunking=fixed%2C65536", "size=31000000", "plan=nightly", "users=2",
        "chats=0", "uploads=8", "version=0.1.0", "user=before-upgrade", "user=v1.2",
    )  # fmt: skip
    assert labels.label_from_tags(tags) == LABEL
    assert labels.label_to_tags(LABEL) == tags


def test_a_label_of_the_first_format_can_be_pinned() -> None:
    pinned = replace(FIRST, pinned=True)
    assert labels.label_from_json(labels.label_to_json(pinned)) == pinned
    assert labels.label_from_fields([*labels.label_to_fields(FIRST), ("pinned", "yes")]) == pinned


@pytest.mark.parametrize("value", ["no", "true", "YES", "yes "])
def test_a_pin_that_is_not_ours_makes_a_label_none(value: str) -> None:
    assert labels.label_from_fields([*labels.label_to_fields(LABEL), ("pinned", value)]) is None


def test_what_only_the_second_format_says_is_nothing_in_the_first() -> None:
    fields = [*labels.label_to_fields(FIRST), ("plan", "nightly"), ("users", "3"), ("version", "9")]
    assert labels.label_from_fields(fields) == FIRST
    with pytest.raises(ValueError, match="cannot be written"):
        labels.label_to_fields(replace(FIRST, users=3))


def test_a_later_format_is_no_label_and_says_which_version_knows_it() -> None:
    fields = dict(labels.label_to_fields(replace(LABEL, tags=()))) | {"format": "3", "outcome": "splendid"}
    assert labels.label_from_fields(fields) is None
    later = LaterLabel(format=3, id=LABEL.id, instance=LABEL.instance, sequence=7, version="0.1.0")
    assert labels.later_from_fields(fields.items()) == later
    tags = [labels.MARK, "mine", *(f"{name}={value}" for name, value in fields.items())]
    assert labels.later_from_tags(tags) == later
    assert labels.later_from_json(json.dumps({labels.MARK: [*fields.items()]})) == later


@pytest.mark.parametrize("written", ["0", "1", "2", "-3", "3.0", "٣", "9" * 5000, "", "03"])
def test_what_is_no_later_format_is_not_taken_for_one(written: str) -> None:
    fields = dict(labels.label_to_fields(LABEL)) | {"format": written}
    assert labels.later_from_fields(fields.items()) is None


def test_a_later_label_that_holds_anything_does_no_harm() -> None:
    """It is shown on a terminal."""
    fields = {"format": "4", "id": "\x1b[31m", "instance": "../x", "sequence": "9" * 5000, "version": "1\x07"}
    assert labels.later_from_fields(fields.items()) == LaterLabel(format=4)


def test_a_label_stays_far_below_what_its_places_take() -> None:
    """borg's comment is read up to 100,000 characters, an argument of a program holds 131,072."""
    longest = replace(
        LABEL, instance="i" * 63, plan="p" * 63, application_version="€" * 200, engine_version="€" * 200,
        chunking="€" * 200, fingerprint="f" * 128, users=10**18 - 1, version="1" * 64,
    )  # fmt: skip
    assert len(labels.label_to_json(longest)) < 6_000
    assert sum(map(len, labels.label_to_tags(longest))) < 8_000


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
        ("plan", "A"),
        ("plan", "p" * 64),
        ("plan", "../x"),
        ("users", "-1"),
        ("chats", ""),
        ("uploads", "many"),
        ("version", "1.0\x1b[31m"),
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
        {"plan": "Nightly"},
        {"plan": None},
        {"users": -1},
    ],
)
def test_a_label_that_could_not_be_read_back_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        labels.label_to_fields(replace(LABEL, **change))  # type: ignore[arg-type]  # each value fits its field


def test_a_label_from_before_sizes_were_said_is_read() -> None:
    fields = [field for field in labels.label_to_fields(LABEL) if field[0] != "size"]
    assert labels.label_from_fields(fields) == replace(LABEL, size_bytes=0)
