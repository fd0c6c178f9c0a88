"""A snapshot that somebody forged changes nothing outside the directory it is restored to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.engines.restic.tree_check import TreeCheck
from owui_vault.errors import EngineError
from owui_vault.model import Secret
from owui_vault.testing.engines.bench import PASSPHRASE, Bench
from owui_vault.testing.trees import look
from tests.restic_templates import PlaceRestic

Nodes = tuple[Mapping[str, Any], ...]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, restic_program: Path, place_restic: PlaceRestic) -> Bench:
    folder = tmp_path_factory.mktemp("forged")
    place_restic(folder / "repository", restic_program, PASSPHRASE)
    return Bench(
        engine=ResticEngine(str(folder / "repository"), Secret(PASSPHRASE), program=str(restic_program)), folder=folder
    )


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "directory").mkdir(parents=True)
    (folder / "file").write_bytes(b"mine")
    (folder / "file").chmod(0o604)
    (folder / "directory").chmod(0o705)
    return folder


FORGED: dict[str, Callable[[Any, Path], Nodes]] = {
    "a name that climbs": lambda forge, _: (forge.file("../escaped", b"x"),),
    "a directory that climbs": lambda forge, _: (forge.folder("..", forge.file("escaped", b"x")),),
    "a directory that stays": lambda forge, _: (forge.folder(".", forge.file("escaped", b"x")),),
    "an absolute name": lambda forge, outside: (forge.file(f"{outside}/escaped", b"x"),),
    "no name": lambda forge, _: (forge.file("", b"x"),),
    "a name through a link": lambda forge, outside: (forge.link("d", outside), forge.file("d/escaped", b"x")),
    "a link, then a directory": lambda forge, outside: (
        forge.link("x", outside / "directory"),
        forge.folder("x", forge.file("escaped", b"x")),
    ),
    "a link, then an empty directory": lambda forge, outside: (
        forge.link("x", outside / "directory"),
        forge.folder("x"),
    ),
    "a directory, then a link": lambda forge, outside: (
        forge.folder("x", forge.file("escaped", b"x")),
        forge.link("x", outside / "directory"),
    ),
    "a link, then a file": lambda forge, outside: (forge.link("x", outside / "file"), forge.file("x", b"evil")),
    "a file, then a link": lambda forge, outside: (forge.file("x", b"evil"), forge.link("x", outside / "file")),
    "a device": lambda forge, _: (forge.device("disk", 0x103),),
}


@pytest.mark.parametrize("case", list(FORGED))
def test_a_forged_tree_is_refused_and_nothing_happens_outside(
    repository: Bench, tmp_path: Path, outside: Path, forge: Callable[[Path, str], Any], case: str
) -> None:
    maker = forge(repository.repository, PASSPHRASE)
    engine_id = maker.snapshot(*FORGED[case](maker, outside))
    target = tmp_path / "target"
    target.mkdir()
    before = look(outside), look(Path("/dev")) if os.geteuid() == 0 and case == "a device" else {}
    assert list(repository.engine.contents(engine_id, repository.call())), "it can be listed, which is no trust"
    with pytest.raises(EngineError) as caught:
        repository.engine.fetch(engine_id, target, repository.call())
    assert "the snapshot holds" in caught.value.message
    assert look(outside) == before[0]
    assert list(target.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "target"]


def test_a_tree_with_harmless_oddities_is_restored(
    repository: Bench, tmp_path: Path, outside: Path, forge: Callable[[Path, str], Any]
) -> None:
    maker = forge(repository.repository, PASSPHRASE)
    engine_id = maker.snapshot(maker.link("outward", outside / "file"), maker.folder("d", maker.file("f", b"f")))
    target = tmp_path / "target"
    target.mkdir()
    before = look(outside)
    repository.engine.fetch(engine_id, target, repository.call())
    assert (target / "outward").readlink() == outside / "file"
    assert (target / "d/f").read_bytes() == b"f"
    assert look(outside) == before


def test_what_was_listed_is_not_listed_once_more_to_be_fetched(
    repository: Bench, tmp_path: Path, forge: Callable[[Path, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = forge(repository.repository, PASSPHRASE)
    engine_id = maker.snapshot(maker.folder("d", maker.file("f", b"f")))
    assert [entry.path for entry in repository.engine.contents(engine_id, repository.call())] == ["d", "d/f"]
    monkeypatch.setattr(TreeCheck, "stdout", lambda *_: pytest.fail("it was"))
    repository.engine.fetch(engine_id, tmp_path, repository.call())
    assert (tmp_path / "d/f").read_bytes() == b"f"


@pytest.mark.parametrize(
    "forged",
    [
        {"tags": ["owui-vault", "format=1", "id=../../x"]},
        {"tags": ["owui-vault", 5, None]},
        {"tags": "owui-vault"},
        {"hostname": "\x1b[2J", "paths": []},
    ],
)
def test_a_forged_snapshot_is_foreign(
    repository: Bench, forge: Callable[[Path, str], Any], forged: dict[str, object]
) -> None:
    maker = forge(repository.repository, PASSPHRASE)
    engine_id = maker.snapshot(maker.file("f", b"f"), **forged)
    found = {each.engine_id: each for each in repository.engine.snapshots(repository.call())}
    assert engine_id not in found or found[engine_id].label is None
