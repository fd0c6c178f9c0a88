"""Names that are not UTF-8 are listed byte by byte, wherever they stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.engines.restic.raw_names import unquoted
from owui_vault.model import Secret
from owui_vault.testing.engines.bench import PASSPHRASE, Bench, make_label
from tests.restic_templates import PlaceRestic

TREE = (
    b"plain/file",
    b"plain/b\xe4r",  # the same to restic's listing as the next
    b"plain/b\xf6r",
    b"plain/sub/ordinary",
    b"d\xe4r/inside/b\xff\"\\\n'",
    b"d\xe4r/inside/ordinary",
    b"d\xf6r/other",
    "the sign itself: \ufffd".encode(),
    "\u200bzero width and \U0001f600".encode(),
)


@pytest.mark.parametrize(
    ("quoted", "name"),
    [
        (r"plain", "plain"),
        (r"b\xe4r", "b\udce4r"),
        (r"\"q\" \\ \n\t\a", '"q" \\ \n\t\a'),
        (r"\u200b\U0001f600é", "\u200b\U0001f600é"),
        (r"\\xff", r"\xff"),
    ],
)
def test_go_quotes_are_taken_off(quoted: str, name: str) -> None:
    assert unquoted(quoted) == name


@given(st.text(alphabet=st.characters(exclude_characters="\\", exclude_categories=["Cs"])))
def test_names_without_a_backslash_are_what_they_are(name: str) -> None:
    assert unquoted(name) == name


@pytest.mark.slow
def test_every_name_is_listed_and_can_be_fetched(
    tmp_path: Path, restic_program: Path, place_restic: PlaceRestic
) -> None:
    place_restic(tmp_path / "repository", restic_program, PASSPHRASE)
    engine = ResticEngine(str(tmp_path / "repository"), Secret(PASSPHRASE), program=str(restic_program))
    bench = Bench(engine=engine, folder=tmp_path)
    for name in TREE:
        path = Path(os.fsdecode(os.fsencode(bench.tree) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    stored = engine.store(bench.tree, make_label(), bench.call()).snapshot
    listed = sorted(entry.path for entry in engine.contents(stored.engine_id, bench.call()))
    expected = {str(path.relative_to(bench.tree)) for path in bench.tree.rglob("*")}
    assert listed == sorted(expected)
    files = [os.fsdecode(name) for name in TREE]
    target = bench.fetch(stored, *files)
    assert {os.fsencode(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == set(TREE)
