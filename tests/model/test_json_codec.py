"""A field has the same name in JSON whatever stands in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from owui_vault.model import Label, Outcome, Proof, RetentionPolicy, Snapshot
from owui_vault.model.json_codec import dumps, from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    took: timedelta
    idle: timedelta | None = None
    size_bytes: int | None = None


def test_a_duration_that_is_not_set_has_the_name_of_one_that_is() -> None:
    assert to_json(_Limits(took=timedelta(seconds=1.5))) == {
        "took_seconds": 1.5,
        "idle_seconds": None,
        "size_bytes": None,
    }
    unset, hour = (to_json(RetentionPolicy(last=1, within=within)) for within in (None, timedelta(hours=1)))
    assert isinstance(unset, dict)
    assert isinstance(hour, dict)
    assert list(unset) == list(hour)
    assert (unset["within_seconds"], hour["within_seconds"]) == (None, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inner:
    name: str
    outcome: Outcome = Outcome.COMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outer:
    at: datetime
    ok: bool
    inner: _Inner | None
    several: tuple[_Inner, ...] = ()
    by_name: Mapping[str, int] = field(default_factory=dict)


WHOLE = _Outer(
    at=datetime(2026, 11, 30, 15, 0, 1, 5, tzinfo=UTC),
    ok=False,
    inner=_Inner(name="a\udcff"),
    several=(_Inner(name="b", outcome=Outcome.INCOMPLETE), _Inner(name="c")),
    by_name={"x": 1},
)


@pytest.mark.parametrize("value", [WHOLE, _Outer(at=WHOLE.at, ok=True, inner=None)])
def test_what_was_written_is_read_again(value: _Outer) -> None:
    assert from_json(_Outer, json.loads(dumps(value))) == value


def test_keys_of_a_later_version_are_ignored_and_those_of_an_earlier_one_may_be_missing() -> None:
    assert from_json(_Inner, {"name": "a", "later": 1}) == _Inner(name="a")


@pytest.mark.parametrize("value", [None, [], "a", {}, {"name": 1}, {"name": "a", "outcome": "never"}, {"name": None}])
def test_what_does_not_fit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        from_json(_Inner, value)


def test_a_snapshot_begins_with_what_every_command_takes() -> None:
    label = Label(
        id="4e1c0a9f",
        instance="open-webui",
        fingerprint="",
        instant=datetime(2026, 11, 20, 3, tzinfo=UTC),
        sequence=7,
        outcome=Outcome.COMPLETE,
        mode=Proof.LIVE,
        tags=(),
    )
    stored = Snapshot(engine_id="ab" * 32, name="abababab", time=label.instant, label=label)
    shown = to_json(stored)
    assert isinstance(shown, dict)
    assert list(shown.items())[:3] == [("id", "4e1c0a9f"), ("instant", "2026-11-20T03:00:00Z"), ("outcome", "complete")]
    assert from_json(Snapshot, shown) == stored
