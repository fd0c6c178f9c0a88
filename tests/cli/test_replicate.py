"""`replicate` as a person types it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import PASSPHRASE, Program
from tests.restic_templates import PlaceRestic

pytestmark = pytest.mark.slow


@pytest.fixture
def mirrored(vault: Program, own_restic: Path, place_restic: PlaceRestic) -> Program:
    """With a second repository that is empty, and a third one that is not there."""
    place_restic(vault.folder / "far", own_restic, PASSPHRASE)
    text = (vault.folder / "vault.yaml").read_text()
    (first,) = [line for line in text.splitlines() if line.startswith("  nas:")]
    more = [first.replace("nas", name) for name in ("far", "gone")]
    vault.configure(text.replace(first, "\n".join([first, *more])))
    return vault


def test_a_new_repository_is_brought_up_to_date(mirrored: Program) -> None:
    planned = mirrored.run("replicate", "--dry-run", "--to", "far")
    assert planned.returncode == 0, planned.stderr
    assert "nas → far: 1 snapshot would be copied: copied by the engine itself" in planned.stdout
    assert mirrored.run("-q", "replicate", "--dry-run", "--to", "far").stdout == planned.stdout
    assert mirrored.json("snapshots", "--from", "far")["snapshots"] == []
    done = mirrored.run("replicate", "--to", "far")
    assert done.returncode == 0, done.stderr
    assert "nas → far: 1 snapshot copied" in done.stdout
    (there,) = mirrored.json("snapshots", "--from", "nas")["snapshots"]
    (here,) = mirrored.json("snapshots", "--from", "far")["snapshots"]
    assert here["label"] == there["label"]
    again = mirrored.run("replicate", "--to", "far")
    assert again.stdout.strip() == "nas → far: nothing is missing"


def test_an_absent_repository_is_named_and_the_others_get_their_copies(mirrored: Program) -> None:
    answer = mirrored.json("replicate", code=1)
    far, gone = answer["repositories"]
    assert [each["label"]["instance"] for each in far["copied"]] == ["open-webui"]
    assert gone["copied"] == []
    assert gone["error"]["type"] == "RepositoryMissingError"


def test_the_receiver_pulls_without_an_instance(mirrored: Program, tmp_path: Path) -> None:
    receiver = Program(tmp_path / "receiver")
    shutil.copytree(mirrored.folder, receiver.folder, symlinks=True)
    shutil.rmtree(receiver.folder / "data")
    shutil.rmtree(receiver.folder / "state")
    text = (receiver.folder / "vault.yaml").read_text()
    receiver.configure(text.replace("instance: {data_dir: data}\n", ""))
    done = receiver.run("replicate", "--from", "nas", "--to", "far")
    assert done.returncode == 0, done.stderr
    assert len(receiver.json("snapshots", "--from", "far")["snapshots"]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("replicate", "--from", "nas", "--to", "nas"), "cannot be copied to itself"),
        (("replicate", "--to", "nowhere"), "no repository named 'nowhere'"),
        (("replicate", "--to", "far", "0000dead"), "no snapshot"),
        (("copy",), "owui-vault replicate"),
    ],
)
def test_a_mistake_is_told_before_anything_is_touched(mirrored: Program, words: tuple[str, ...], told: str) -> None:
    done = mirrored.run(*words)
    assert done.returncode in (1, 2)
    assert told in done.stderr
