"""Whoever has a repository's passphrase can store any tree. Nothing but the target is ever written because of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault import Call, DataDirectory, Deadline, Repository, Vault, VaultError
from owui_vault.operations.restore.target import MARKER
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from owui_vault.testing.trees import look
from tests.operations.conftest import MakeEngine

Forge = Callable[[Path, "House"], object]


class Application:
    """One that knows the schema and comes up."""

    def revisions(self) -> frozenset[str] | None:
        return frozenset({"aaaaaaaaaaaa"})

    def wait_until_healthy(self, deadline: Deadline) -> str:
        return "answers"


class House:
    """A live instance and one honest snapshot of it; `store` adds forged ones to the series."""

    def __init__(self, folder: Path, make_engine: MakeEngine) -> None:
        self.folder = folder
        self.data_dir = folder / "live"
        make_small_instance(self.data_dir)
        use_small_instance(self.data_dir, "mine")
        self.file = folder / "a-file"
        self.file.write_text("mine")
        self.engine = make_engine(folder / "repository")
        keeper = self.a_vault("state")
        keeper.initialize()
        keeper.snapshot()
        self.honest = folder / "honest"
        keeper.restore("latest", self.honest, app_data_dir=str(self.data_dir))
        label = keeper.snapshots()[0].label
        assert label
        self.label = label

    def a_vault(self, state: str) -> Vault:
        return Vault(
            DataDirectory(self.data_dir),
            [Repository("nas", self.engine)],
            application=Application(),
            state_dir=self.folder / state,
        )

    def store(self, forge: Forge) -> None:
        """The newest snapshot is a forged one from now on."""
        tree = self.folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(self.honest, tree, symlinks=True)
        forge(tree, self)
        number = self.label.sequence + 1
        self.label = replace(self.label, sequence=number, instant=self.label.instant + timedelta(seconds=1))
        (self.folder / "forger").mkdir(exist_ok=True)
        self.engine.store(tree, self.label, Call(folder=self.folder / "forger"))

    def seen(self) -> object:
        """Everything that lives here, and the file of somebody else."""
        return look(self.data_dir), self.file.read_text(), self.file.lstat().st_mtime_ns


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, make_engine: MakeEngine) -> House:
    return House(tmp_path_factory.mktemp("house"), make_engine)


def say_nothing(tree: Path) -> None:
    """A manifest that everything agrees with."""
    path = tree / "manifest.json"
    said = json.loads(path.read_text())
    for record in said["components"]:
        record |= {"files": 0, "size_bytes": 0}
    path.write_text(json.dumps(said | {"databases": [], "vector_files": [], "collections": []}))


def instead(tree: Path, name: str, place: Path) -> None:
    """A link where the tree had something."""
    path = tree / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(place)
    say_nothing(tree)


def marker_and_mismatch(tree: Path, house: House) -> None:
    (tree / MARKER).symlink_to(house.file)
    (tree / "data/webui.db").write_bytes(b"something else")


def a_folder_for_a_marker(tree: Path, house: House) -> None:
    (tree / MARKER).mkdir()
    (tree / MARKER / "way").symlink_to(house.data_dir)


FORGED: dict[str, Forge] = {
    "a marker that leads elsewhere, and a mismatch": marker_and_mismatch,
    "a marker that leads elsewhere": lambda tree, house: (tree / MARKER).symlink_to(house.file),
    "a folder where the marker is": a_folder_for_a_marker,
    "data is a link to the live data": lambda tree, house: instead(tree, "data", house.data_dir),
    "the database is a link": lambda tree, house: instead(tree, "data/webui.db", house.data_dir / "webui.db"),
    "the log of the database is a link": lambda tree, house: instead(tree, "data/webui.db-wal", house.file),
    "the vector store is a link": lambda tree, house: instead(tree, "data/vector_db", house.data_dir / "vector_db"),
    "uploads are a link": lambda tree, house: instead(tree, "data/uploads", house.data_dir / "uploads"),
    "outside is a link": lambda tree, house: instead(tree, "outside", house.data_dir),
    "a database the manifest says nothing of": lambda tree, _: say_nothing(tree),
}


# A replacement fetches what lies in the data directory only.
IN_PLACE = [case for case in FORGED if "marker" not in case and "outside" not in case]


@pytest.mark.parametrize("case", list(FORGED))
@pytest.mark.doubled
def test_nothing_is_written_because_of_a_forged_snapshot(house: House, tmp_path: Path, case: str) -> None:
    house.store(FORGED[case])
    before, target = house.seen(), tmp_path / "copy"
    victim = house.a_vault("another-state")
    with pytest.raises(VaultError) as caught:
        victim.restore("latest", target)
    assert caught.value.hint
    assert house.seen() == before
    assert (target / MARKER).is_file()
    assert not (target / MARKER).is_symlink()
    assert "did not succeed" in (target / MARKER).read_text()
    if case in IN_PLACE:
        plan = victim.plan_replacement("latest")
        with pytest.raises(VaultError):
            victim.replace(plan)
        assert house.seen() == before


def test_a_link_below_the_data_comes_back_as_a_link_that_nobody_follows(house: House, tmp_path: Path) -> None:
    house.store(lambda tree, _house: (tree / "data/uploads/way").symlink_to(house.folder))
    before = house.seen()
    with pytest.raises(VaultError, match="uploads"):  # the manifest does not list it
        house.a_vault("another-state").restore("latest", tmp_path / "copy")
    assert (tmp_path / "copy/data/uploads/way").readlink() == house.folder
    assert house.seen() == before
