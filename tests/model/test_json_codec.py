"""A field has the same name in JSON whatever stands in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from owui_vault.model import RetentionPolicy
from owui_vault.model.json_codec import to_json


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
