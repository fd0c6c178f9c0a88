"""Whatever the file holds: settings or a ConfigError, and what was written comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from owui_vault.config import EngineName, VaultSettings, load_settings
from owui_vault.config.document import VaultPart
from owui_vault.config.explain import known_keys
from owui_vault.config.features import NOT_BUILT
from owui_vault.config.values import duration
from owui_vault.errors import ConfigError
from owui_vault.model import Quiesce, RetentionPolicy

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="$~\x7f"), min_size=1).filter(
    str.strip
)
COUNTS = st.integers(0, 100_000)
DURATIONS = st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 999_999), st.sampled_from("smhd"))
KEEP = st.fixed_dictionaries(
    {"last": st.integers(1, 50)}, optional={"hourly": COUNTS, "daily": COUNTS, "weekly": COUNTS, "yearly": COUNTS}
)
REPOSITORY = st.fixed_dictionaries(
    {
        "engine": st.sampled_from(["restic", "borg"]),
        "location": PATHS,
        "passphrase": st.one_of(st.just({"env": "P"}), st.builds(lambda path: {"file": path}, PATHS)),
    },
    optional={"keep": KEEP},
)
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "instance": st.fixed_dictionaries(
            {},
            optional={"name": NAMES, "data_dir": PATHS, "quiesce": st.sampled_from(["auto", "live", "pause", "stop"])},
        ),
        "repositories": st.dictionaries(NAMES, REPOSITORY, max_size=3),
        "limits": st.dictionaries(st.sampled_from(["lock_wait", "freeze", "stop", "idle", "store"]), DURATIONS),
    },
).filter(bool)
WORDS = st.sampled_from(
    sorted({*VaultPart.model_fields, "nas", *known_keys(("instance",)), *known_keys(("repositories", "nas"))})
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.dates()
    | WORDS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(WORDS | st.integers(), inside, max_size=5),
    max_leaves=20,
)


def load(content: bytes) -> VaultSettings:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vault.yaml"
        path.write_bytes(content)
        path.chmod(0o600)
        return load_settings(path, {"HOME": "/home/ada"})


@contextmanager
def suppress_clear_refusal() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        if not error.message or not error.hint:
            raise AssertionError("a refusal without words") from error


@given(CONFIGURATIONS)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_is_read(written: dict[str, Any]) -> None:
    found = load(yaml.safe_dump(written, allow_unicode=True).encode())
    assert [(each.name, each.engine) for each in found.repositories] == [
        (name, EngineName(each["engine"])) for name, each in sorted(written.get("repositories", {}).items())
    ]
    for each in found.repositories:
        keep = written["repositories"][each.name].get("keep")
        assert each.keep == (RetentionPolicy(**keep) if keep else None)
    if "instance" in written:
        assert found.instance is not None
        assert found.instance.quiesce is Quiesce(written["instance"].get("quiesce", "auto"))
        assert (found.instance.data_dir is None) == ("data_dir" not in written["instance"])
    for key, text in written.get("limits", {}).items():
        assert getattr(found.limits, key) == duration(text)


@given(ANYTHING)
@settings(max_examples=200, deadline=None)
def test_any_document_is_read_or_refused(document: object) -> None:
    with suppress_clear_refusal():
        load(yaml.safe_dump(document, allow_unicode=True).encode())


@given(st.binary(max_size=200) | st.text("{}[]:-,&*!|>'\"%@`# \n\tabc<").map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress_clear_refusal():
        load(content)


@given(st.integers(0, 999_999), st.sampled_from("smhd"))
def test_durations_mean_what_they_say(number: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert duration(f"{number}{unit}") == timedelta(seconds=number * seconds)


def test_every_unbuilt_key_is_refused_even_inside_a_right_file() -> None:
    for path in NOT_BUILT:
        document: Any = "x"
        for part in reversed(path):
            document = {part: document}
        with pytest.raises(ConfigError, match="is not built yet"):
            load(yaml.safe_dump(document).encode())
