"""Access lists, extended attributes and owners through the whole way: capture, engine, restore, restore in place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Engine, Outcome, Repository, RetentionPolicy, Vault
from owui_vault.system.attributes import read_extended
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from owui_vault.testing.trees import give_attributes
from tests.operations.house import House

MakeEngine = Callable[[Path], Engine]
GRANTED = (".", "uploads", "webui.db", "vector_db", "plugin.py", "folder")


def extended_of(tree: Path) -> dict[str, dict[str, bytes]]:
    found = {str(path.relative_to(tree)): read_extended(str(path)) for path in [tree, *sorted(tree.rglob("*"))]}
    return {name: extended for name, extended in found.items() if extended and ".owui-vault" not in name}


def about_attributes(warnings: tuple[str, ...]) -> list[str]:
    return [each for each in warnings if any(word in each for word in ("access list", "owner", "holes", "be kept"))]


def granting(data_dir: Path) -> Path:
    (data_dir / "folder").mkdir(exist_ok=True)
    (data_dir / "plugin.py").write_text("print()")
    for name in GRANTED:
        give_attributes(data_dir / name)
    return data_dir


def test_access_lists_come_back_with_every_engine(tmp_path: Path, make_engine: MakeEngine) -> None:
    """Into a folder that gives others access by default, too."""
    make_small_instance(tmp_path / "data")
    data_dir = granting(tmp_path / "data")
    keep = RetentionPolicy(last=1)
    repositories = [Repository("nas", make_engine(tmp_path / "repository"), keep)]
    vault = Vault(DataDirectory(data_dir), repositories, state_dir=tmp_path / "state")
    vault.initialize()
    report = vault.snapshot()
    assert (report.outcome, about_attributes(report.warnings)) == (Outcome.COMPLETE, [])
    (tmp_path / "shared").mkdir()
    give_attributes(tmp_path / "shared")
    restored = vault.restore("latest", tmp_path / "shared" / "out")
    assert about_attributes(restored.warnings) == []
    assert extended_of(restored.data_dir) == extended_of(data_dir)
    assert set(extended_of(data_dir)) == set(GRANTED)


def test_access_lists_stay_through_a_restore_in_place(tmp_path: Path) -> None:
    """Of the data directory, which stays itself, and of all that is exchanged in it, although it gives by default."""
    house = House(tmp_path)
    granting(house.data_dir)
    (house.data_dir / "cache" / "functions").mkdir(parents=True)
    (house.data_dir / "cache" / "functions" / "plugin.py").write_text("print()")
    give_attributes(house.data_dir / "cache")
    for path in (house.data_dir / "cache" / "functions", house.data_dir / "cache" / "functions" / "plugin.py"):
        for name in read_extended(str(path)):
            os.removexattr(path, name)
    before = extended_of(house.data_dir)
    assert "cache" in before
    taken = house.vault.snapshot()
    assert about_attributes(taken.warnings) == []
    use_small_instance(house.data_dir, "later still")
    report = house.vault.replace(house.vault.plan_replacement(taken.id))
    assert about_attributes(report.warnings) == []
    assert extended_of(house.data_dir) == before
    house.vault.undo()
    back = extended_of(house.data_dir)
    assert {name: back.get(name) for name in before} == before


@pytest.mark.root
def test_owners_that_cannot_be_adopted_in_place_are_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    for path in [house.data_dir, *house.data_dir.rglob("*")]:
        os.lchown(path, 1000, 1000)
    house.vault.snapshot()
    for name in ("fchown", "lchown"):  # a share that takes no owners, and does not say so
        monkeypatch.setattr(os, name, lambda *_, **__: None)
    report = house.vault.replace(house.vault.plan_replacement("latest"))
    (told,) = [each for each in report.warnings if "owners" in each]
    assert "belonged to 1000:1000 and belong to 0:0 now" in told
    assert f"`chown -R 1000:1000 {house.data_dir}`" in told
    assert house.state() == house.later


PROGRAM = """
import sys
from pathlib import Path
from owui_vault import BorgEngine, DataDirectory, Repository, ResticEngine, RetentionPolicy, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
step, kind, folder, program = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
if kind == "directory":
    engine = DirectoryEngine(folder / "repository", Secret("x"))
else:
    make = ResticEngine if kind == "restic" else BorgEngine
    engine = make(str(folder / "repository"), Secret("x"), program=program)
repositories = [Repository("nas", engine, RetentionPolicy(last=1))]
vault = Vault(DataDirectory(folder / "data"), repositories, state_dir=folder / "state" / step)
if step == "snapshot":
    vault.initialize()
    vault.snapshot()
else:
    print(*vault.restore("latest", folder / "out").warnings, sep="\\n")
"""

READS_ALL = "-all,+dac_override"  # pytest's folders are closed to others
ANOTHER_USER = (
    *("setpriv", "--reuid=4242", "--regid=4243", "--clear-groups"),
    *(f"--inh-caps={READS_ALL}", f"--ambient-caps={READS_ALL}"),
)
#: Who restores: how, and whose the files are then.
WITHOUT_THE_RIGHT: Mapping[str, tuple[tuple[str, ...], str]] = {
    "root-without-the-right": (("setpriv", "--bounding-set=-chown"), "0:0"),
    "namespace-without-the-owner": (("unshare", "--user", "--map-root-user"), "0:0"),
    "another-user": (ANOTHER_USER, "4242:4243"),
}


@pytest.mark.root
@pytest.mark.parametrize(
    ("kind", "who"),
    [
        *(("directory", who) for who in WITHOUT_THE_RIGHT),
        pytest.param("restic", "another-user", marks=pytest.mark.slow),
        pytest.param("borg", "another-user", marks=[pytest.mark.slow, pytest.mark.thorough]),
        # What an engine is refused is the same for all three; that it is seen is ours, and above.
        pytest.param("restic", "root-without-the-right", marks=[pytest.mark.slow, pytest.mark.thorough]),
        pytest.param("borg", "namespace-without-the-owner", marks=[pytest.mark.slow, pytest.mark.thorough]),
        pytest.param("restic", "namespace-without-the-owner", marks=[pytest.mark.slow, pytest.mark.rare]),
        pytest.param("borg", "root-without-the-right", marks=[pytest.mark.slow, pytest.mark.rare]),
    ],
)
def test_a_restore_without_the_right_to_give_files_away_is_whole(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, who: str
) -> None:
    """One warning about owners with every engine, and no complaint about the repository."""
    command, present = WITHOUT_THE_RIGHT[who]
    make_small_instance(tmp_path / "data")
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        os.lchown(path, 1000, 1000)
    program = "" if kind == "directory" else str(request.getfixturevalue(f"own_{kind}"))
    arguments = [kind, str(tmp_path), program]
    for before, step in (((), "snapshot"), (command, "restore")):
        done = subprocess.run(
            [*before, sys.executable, "-c", PROGRAM, step, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    (told,) = done.stdout.strip().splitlines()
    assert told.startswith("owners could not be restored: ")
    assert f"belonged to 1000:1000 and belong to {present} now, for example " in told
