"""What borg does for a vault: nothing is COMPLETE before a last look, and a passphrase that deceives is named."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Repository, Secret, Vault
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.model import Label, Outcome, StoreReceipt
from owui_vault.ports import Call
from owui_vault.testing.engines.bench import PASSPHRASE, Bench, make_label
from owui_vault.testing.instances.small import make_small_instance, use_small_instance

pytestmark = pytest.mark.slow
UPLOAD = "data/uploads/rewritten.txt"


def test_what_changed_is_committed_incomplete_at_once(bench: Bench) -> None:
    looks: list[int] = []

    def look() -> Sequence[str]:
        looks.append(len(os.listdir(bench.repository / "data")))
        return ("uploads/a.pdf",)

    stored = bench.engine.store(bench.build(), make_label(), replace(bench.call(), last_look=look))
    assert len(looks) == 1
    assert stored.snapshot.outcome is Outcome.INCOMPLETE
    assert [each.outcome for each in bench.engine.snapshots(bench.call())] == [Outcome.INCOMPLETE]


def test_whoever_dies_at_the_last_look_leaves_nothing(bench: Bench) -> None:
    def die() -> Sequence[str]:
        os.kill(os.getpid(), signal.SIGKILL)
        return ()

    bench.build()
    child = os.fork()
    if child == 0:
        bench.engine.store(bench.tree, make_label(), replace(bench.call(), last_look=die))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert bench.engine.snapshots(bench.call()) == ()
    assert bench.store(2).snapshot.outcome is Outcome.COMPLETE


class Dying(BorgEngine):
    """While it stores, somebody rewrites an upload in place; when it has stored, we are killed."""

    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        def rewrite(_event: object) -> None:
            with (tree / UPLOAD).open("r+b") as file:  # a link: these are the live bytes
                file.write(b"other")

        super().store(tree, label, replace(call, progress=rewrite))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def a_vault(folder: Path, engine: BorgEngine) -> Vault:
    return Vault(DataDirectory(folder / "data"), [Repository("nas", engine)], state_dir=folder / "state")


def test_an_upload_rewritten_while_it_is_stored_never_becomes_complete(tmp_path: Path, own_borg: Path) -> None:
    """Though the run is killed before it could say anything, and its state directory is lost."""
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    (tmp_path / UPLOAD).write_bytes(b"bytes" * 1000)
    place, program = str(tmp_path / "repository"), str(own_borg)
    a_vault(tmp_path, BorgEngine(place, Secret(PASSPHRASE), program=program)).initialize()
    child = os.fork()
    if child == 0:
        try:
            a_vault(tmp_path, Dying(place, Secret(PASSPHRASE), program=program)).snapshot()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    shutil.rmtree(tmp_path / "state")
    (listed,) = a_vault(tmp_path, BorgEngine(place, Secret(PASSPHRASE), program=program)).snapshots()
    assert listed.outcome is Outcome.INCOMPLETE


@pytest.mark.thorough
def test_init_names_what_cannot_be_seen_at_the_ends_of_a_passphrase(tmp_path: Path, own_borg: Path) -> None:
    (tmp_path / "data").mkdir()
    engine = BorgEngine(str(tmp_path / "repository"), Secret("\ufeffpass "), program=str(own_borg))
    vault = Vault(DataDirectory(tmp_path / "data"), [Repository("nas", engine)], state_dir=tmp_path / "state")
    told = vault.initialize().warnings
    assert [text.partition(",")[0] for text in told] == [
        "nas: the passphrase begins with a byte order mark",
        "nas: the passphrase ends with a blank",
    ]
    assert vault.initialize().warnings == ()  # it is there already
