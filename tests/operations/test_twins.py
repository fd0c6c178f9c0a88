"""An id of ours that is there twice, as a relabelling leaves it where nothing can be deleted, counts once.

For choosing by the worse outcome, for deleting by the better.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    BorgEngine,
    CancelledError,
    DataDirectory,
    Engine,
    Outcome,
    Repository,
    RetentionPolicy,
    Secret,
    Snapshot,
    Vault,
)
from owui_vault.cli.render.pruning import planned, pruned
from owui_vault.cli.render.screen import Screen
from owui_vault.context.state import StateDirectory
from owui_vault.engines.borg.output import encode_comment
from owui_vault.model import LedgerEntry
from owui_vault.ports import Call
from owui_vault.testing.engines.bench import make_label
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.operations.conftest import PASSPHRASE, MakeEngine


class Series:
    """A repository with three nights, of which the second is there as COMPLETE and as INCOMPLETE."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        self.vault = self.vault_on(engine)
        self.vault.initialize()
        self.ids = [self.store(number) for number in (1, 2, 3)]

    def vault_on(self, engine: Engine, last: int = 1) -> Vault:
        repository = Repository("nas", engine, RetentionPolicy(last=last))
        return Vault(None, [repository], state_dir=self.folder / "state")

    def store(self, number: int) -> str:
        tree = self.folder / "stage"
        tree.mkdir(exist_ok=True)
        (tree / "data").write_bytes(b"%d" % number)
        return self.engine.store(tree, make_label(number), call_in(self.folder)).snapshot.id

    def entries(self) -> list[tuple[str, str]]:
        return [(each.id, each.outcome.value) for each in self.engine.snapshots(call_in(self.folder))]

    def relabel_append_only(self, id_: str, outcome: Outcome = Outcome.INCOMPLETE) -> None:
        relabel_append_only(self.folder, self.engine, id_, outcome)


def call_in(folder: Path) -> Call:
    (folder / "calls").mkdir(mode=0o700, exist_ok=True)
    return Call(folder=folder / "calls")


def relabel_append_only(folder: Path, engine: Engine, id_: str, outcome: Outcome = Outcome.INCOMPLETE) -> None:
    """Relabel, and have the first entry back: a server that lets nothing be deleted keeps it."""
    (first,) = [each for each in engine.snapshots(call_in(folder)) if each.id == id_]
    assert first.label
    label = replace(first.label, outcome=outcome)
    if isinstance(engine, BorgEngine):
        copy_archive(folder, first, encode_comment(label))
        return
    (record,) = (folder / "repository/snapshots").glob(f"{first.engine_id}*")
    content, mode = record.read_bytes(), record.stat().st_mode
    engine.relabel(first.engine_id, label, call_in(folder))
    record.write_bytes(content)
    record.chmod(mode)


def copy_archive(folder: Path, archive: Snapshot, comment: str) -> None:
    environment = os.environ | {
        "BORG_REPO": str(folder / "repository"),
        "BORG_PASSPHRASE": PASSPHRASE,
        "BORG_BASE_DIR": str(folder / "bare"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    words = ("--target", f"{archive.name}.again", "--comment", comment, f"::{archive.name}")
    subprocess.run(("borg", "recreate", *words), env=environment, check=True, capture_output=True)


@pytest.fixture
def series(tmp_path: Path, make_engine: MakeEngine) -> Series:
    return Series(tmp_path, make_engine(tmp_path / "repository"))


@pytest.fixture
def quick(tmp_path: Path) -> Series:
    return Series(tmp_path, DirectoryEngine(tmp_path / "repository", Secret(PASSPHRASE)))


@pytest.mark.doubled
def test_it_is_chosen_by_the_worse_deleted_by_the_better_and_goes_with_both_entries(series: Series) -> None:
    """As the newest COMPLETE one, which it may be, it stays; as an INCOMPLETE one, it takes no sound one's place."""
    first, second, third = series.ids
    series.relabel_append_only(third)
    both = [(third, "complete"), (third, "incomplete")]
    assert sorted(series.entries()) == [(first, "complete"), (second, "complete"), *both]
    listed = [(each.id, each.is_restore_point) for each in series.vault.snapshots()]
    assert listed == [(third, False), (second, True), (first, True)]
    everything = [each for each in series.vault.snapshots(everything=True) if each.id == third]
    assert [each.outcome for each in everything] == [Outcome.INCOMPLETE] * 2
    series.vault.prune(series.vault.plan_prune())
    assert sorted(series.entries()) == [(second, "complete"), *both]
    fourth = series.store(4)
    report = series.vault.prune(series.vault.plan_prune())
    assert [each.id for each in report.repositories[0].removed].count(third) == 2
    assert series.entries() == [(fourth, "complete")]


def test_a_prune_killed_between_its_entries_leaves_the_one_that_says_less(quick: Series) -> None:
    """Alone, the one that says COMPLETE would be chosen, and is not sound."""
    quick.relabel_append_only(quick.ids[0])
    calls: list[str] = []

    def die(operation: str, moment: str) -> None:
        if (operation, moment) == ("remove", "after"):
            calls.append(operation)
            raise CancelledError("killed here")

    vault = quick.vault_on(FaultyEngine(quick.engine, die))
    with pytest.raises(CancelledError):
        vault.prune(vault.plan_prune())
    assert calls == ["remove"]
    assert [outcome for id_, outcome in quick.entries() if id_ == quick.ids[0]] == ["incomplete"]
    quick.vault.prune(quick.vault.plan_prune())
    assert [id_ for id_, _outcome in quick.entries()] == quick.ids[2:]


def test_a_verification_of_one_entry_is_one_of_both(quick: Series) -> None:
    """They hold the same. The newest verified one stays, and so do both of its entries."""
    first = quick.ids[0]
    quick.relabel_append_only(first, Outcome.COMPLETE)
    quick.relabel_append_only(first)
    entry = LedgerEntry(snapshot=first, repository="nas", kind="verify", at=make_label().instant, ok=True)
    StateDirectory(quick.folder / "state").add_to_ledger("open-webui", entry)
    both = [each for each in quick.vault.snapshots(everything=True) if each.id == first]
    assert [each.verified_at for each in both] == [entry.at] * 2
    (plan,) = quick.vault.plan_prune().repositories
    assert [one.reasons for one in plan.kept if one.snapshot.id == first] == [("newest verified",)] * 2


def test_what_prune_shows_has_it_once(quick: Series, capsys: pytest.CaptureFixture[str]) -> None:
    quick.relabel_append_only(quick.ids[0])
    quick.relabel_append_only(quick.ids[2])
    plan = quick.vault.plan_prune()
    planned(Screen(sys.stdout), plan)
    assert "nas: 2 kept, 1 would be removed" in capsys.readouterr().out
    pruned(Screen(sys.stdout), quick.vault.prune(plan))
    shown = capsys.readouterr().out
    assert "nas: 2 kept, 1 removed" in shown
    assert "1 snapshot removed" in shown
    assert [shown.count(each) for each in quick.ids] == [1, 1, 1]


def test_what_a_killed_run_left_is_not_relabelled_again_each_night(tmp_path: Path) -> None:
    """Where nothing can be deleted, each time would leave one more entry."""
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    calls: list[str] = []
    engine = FaultyEngine(
        DirectoryEngine(tmp_path / "repository", Secret(PASSPHRASE)), lambda name, _moment: calls.append(name)
    )
    repository = Repository("nas", engine)
    vault = Vault(DataDirectory(tmp_path / "data"), [repository], state_dir=tmp_path / "state")
    vault.initialize()
    taken = vault.snapshot().id
    relabel_append_only(tmp_path, engine.engine, taken)
    state = StateDirectory(tmp_path / "state")
    state.remember_storing(state.repository_folder("nas", engine.location), "open-webui", taken)
    calls.clear()
    report = vault.snapshot()
    assert any(f"snapshot {taken} in nas is INCOMPLETE" in each for each in report.warnings)
    assert "relabel" not in calls
    assert [each.id for each in engine.snapshots(call_in(tmp_path))].count(taken) == 2
