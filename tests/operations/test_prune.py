"""Pruning when something comes between the plan and its end, and what the report says of it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from owui_vault import (
    BorgEngine,
    CancelledError,
    Engine,
    EngineError,
    Limits,
    LockHeldError,
    PruneReport,
    Repository,
    RepositoryDamagedError,
    RepositoryFullError,
    RepositoryUnreachableError,
    ResticEngine,
    RetentionPolicy,
    Secret,
    StalePlanError,
    Vault,
    VaultError,
)
from owui_vault.context.state import StateDirectory
from owui_vault.model import LedgerEntry, Outcome
from owui_vault.ports import Call
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.testing.engines.bench import make_label
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.trees import size_of
from tests.restic_templates import PlaceRestic

PASSPHRASE = "a passphrase"


@dataclass
class Place:
    """A repository with a series of three, and its vault. `fails` maps what is called to what it then raises."""

    folder: Path
    engine: Engine
    fails: dict[str, VaultError] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vault = self.vault_on(FaultyEngine(self.engine, self.fault))
        self.vault.initialize()

    def vault_on(self, engine: Engine, limits: Limits | None = None) -> Vault:
        repository = Repository("nas", engine, RetentionPolicy(last=1))
        return Vault(None, [repository], state_dir=self.folder / "state", limits=limits)

    def fault(self, operation: str, moment: str) -> None:
        if moment == "before":
            self.calls.append(operation)
            if operation in self.fails:
                raise self.fails[operation]

    def store(self, number: int, outcome: Outcome = Outcome.COMPLETE) -> str:
        tree = self.folder / "stage"
        tree.mkdir(exist_ok=True)
        (tree / "data").write_bytes(f"number {number}".encode() * 300_000)
        label = make_label(number, outcome=outcome)
        calls = self.folder / "calls"
        calls.mkdir(mode=0o700, exist_ok=True)
        return self.engine.store(tree, label, Call(folder=calls)).snapshot.id

    def ledger(self, snapshot: str, *, ok: bool) -> None:
        at = make_label().instant
        entry = LedgerEntry(snapshot=snapshot, repository="nas", kind="verify", at=at, ok=ok)
        StateDirectory(self.folder / "state").add_to_ledger("open-webui", entry)

    def ids(self) -> set[str]:
        return {each.id for each in self.vault.snapshots()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, DirectoryEngine(tmp_path / "repository", Secret(PASSPHRASE)))


def test_what_was_found_wrong_later_protects_nothing(place: Place) -> None:
    """And the one verified before it is protected again."""
    good, bad, newest = place.store(1), place.store(2), place.store(3)
    place.ledger(good, ok=True)
    place.ledger(bad, ok=True)
    place.ledger(bad, ok=False)
    plan = place.vault.plan_prune().repositories[0]
    assert {one.snapshot.id: one.reasons for one in plan.kept} == {
        newest: ("last 1 of 1", "newest complete"),
        good: ("newest verified",),
    }
    place.ledger(bad, ok=True)
    assert [one.id for one in place.vault.plan_prune().repositories[0].removed] == [good]


def test_a_plan_made_before_a_verification_is_stale(place: Place) -> None:
    """What is the newest verified one now would be removed by it."""
    verified = place.store(1)
    place.store(2)
    plan = place.vault.plan_prune()
    place.ledger(verified, ok=True)
    with pytest.raises(StalePlanError):
        place.vault.prune(plan)
    assert verified in place.ids()


def test_what_is_gone_is_reported_though_compacting_failed(place: Place) -> None:
    first, second = place.store(1), place.store(2)
    place.fails["compact"] = RepositoryFullError("no space to compact")
    (result,) = place.vault.prune(place.vault.plan_prune()).repositories
    assert [one.id for one in result.removed] == [first]
    assert result.error is place.fails["compact"]
    assert result.freed_bytes is None
    assert place.ids() == {second}


def test_the_next_prune_frees_what_an_earlier_one_could_not(place: Place) -> None:
    """Else a disk that is full stays full; once done it is not done again."""
    for number in range(1, 3):
        place.store(number)
    place.fails["compact"] = RepositoryFullError("no space to compact")
    place.vault.prune(place.vault.plan_prune())
    place.fails.clear()
    (result,) = place.vault.prune(place.vault.plan_prune()).repositories
    assert result.removed == ()
    assert (result.freed_bytes or 0) > 1_000_000
    place.calls.clear()
    place.vault.prune(place.vault.plan_prune())
    assert "compact" not in place.calls


def test_what_was_removed_before_a_failure_is_reported(place: Place) -> None:
    first, _ = place.store(1), place.store(2)
    remove = place.engine.remove

    class Broken(FaultyEngine):
        def remove(self, engine_ids, call):  # type: ignore[no-untyped-def]  # as the one behind
            remove(engine_ids, call)
            raise RepositoryFullError("no space left")

    vault = place.vault_on(Broken(place.engine))
    (result,) = vault.prune(vault.plan_prune()).repositories
    assert [one.id for one in result.removed] == [first]
    assert isinstance(result.error, RepositoryFullError)


def test_when_nothing_could_be_done_the_error_is_raised(place: Place) -> None:
    place.store(1)
    place.store(2)
    place.fails["remove"] = RepositoryFullError("no space left")
    with pytest.raises(RepositoryFullError):
        place.vault.prune(place.vault.plan_prune())
    assert len(place.ids()) == 2


def test_where_nobody_can_tell_what_is_gone_nothing_is_said_to_be(place: Place) -> None:
    """The repository went away in the middle."""
    place.store(1)
    place.store(2)
    remove = place.engine.remove

    class Vanishing(FaultyEngine):
        def remove(self, engine_ids, call):  # type: ignore[no-untyped-def]  # as the one behind
            remove(engine_ids, call)
            place.fails["snapshots"] = RepositoryUnreachableError("away")
            raise RepositoryUnreachableError("away")

    vault = place.vault_on(Vanishing(place.engine, place.fault))
    with pytest.raises(RepositoryUnreachableError) as caught:
        vault.prune(vault.plan_prune())
    assert isinstance(caught.value.report, PruneReport)
    (result,) = caught.value.report.repositories
    assert result.removed == ()


def test_a_server_that_says_yes_and_does_nothing_is_told(place: Place) -> None:
    place.store(1)
    place.store(2)

    class AppendOnly(FaultyEngine):
        def remove(self, engine_ids, call):  # type: ignore[no-untyped-def]  # as the one behind
            """Yes."""

    vault = place.vault_on(AppendOnly(place.engine))
    with pytest.raises(EngineError, match="1 of 1 snapshots are still in repository 'nas'") as caught:
        vault.prune(vault.plan_prune())
    assert "append-only" in caught.value.hint
    assert len(place.ids()) == 2


@pytest.mark.parametrize("call", ["remove", "compact"])
def test_it_ends_when_it_is_cancelled_and_the_next_one_goes_on(place: Place, call: str) -> None:
    place.store(1)
    newest = place.store(2)
    place.fails[call] = CancelledError("ended on request")
    with pytest.raises(CancelledError):
        place.vault.prune(place.vault.plan_prune())
    place.fails.clear()
    (result,) = place.vault.prune(place.vault.plan_prune()).repositories
    assert (result.freed_bytes or 0) > 1_000_000
    assert place.ids() == {newest}


def test_another_run_on_the_same_repository_is_waited_for_and_then_told(place: Place) -> None:
    place.store(1)
    place.store(2)
    vault = place.vault_on(place.engine, Limits(lock_wait_seconds=0.2))
    plan = vault.plan_prune()
    folder = StateDirectory(place.folder / "state").repository_folder("nas", place.engine.location)
    with (
        directory_lock(folder, wait_seconds=0, clock=SystemClock(), what="nas"),
        pytest.raises(LockHeldError, match="another run is using nas"),
    ):
        vault.prune(plan)
    assert len(place.ids()) == 2


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.doubled
def test_a_borg_repository_that_keeps_everything_is_told(tmp_path: Path, borg_program: Path) -> None:
    """The snapshot is off the list, and its bytes stay on the disk for ever."""
    place = Place(tmp_path, BorgEngine(str(tmp_path / "repository"), Secret(PASSPHRASE), program=str(borg_program)))
    config = tmp_path / "repository/config"
    config.write_text(config.read_text().replace("append_only = 0", "append_only = 1"))
    first = place.store(1)
    place.store(2)
    before = size_of(tmp_path / "repository")
    (result,) = place.vault.prune(place.vault.plan_prune()).repositories
    assert size_of(tmp_path / "repository") >= before
    assert ([one.id for one in result.removed], result.error) == ([first], None)
    (warning,) = result.warnings
    assert "append-only" in warning


@pytest.mark.slow
def test_nothing_is_removed_while_restic_cannot_read_all_that_it_lists(
    tmp_path: Path, restic_program: Path, place_restic: PlaceRestic
) -> None:
    """It passes over a damaged snapshot with status 0: the rules would count without it."""
    place_restic(tmp_path / "repository", restic_program, PASSPHRASE)
    place = Place(tmp_path, ResticEngine(str(tmp_path / "repository"), Secret(PASSPHRASE), program=str(restic_program)))
    for number in range(1, 4):
        place.store(number)
    newest = place.vault.snapshots()[0]
    path = tmp_path / "repository/snapshots" / newest.engine_id
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:20])
    for cached in tmp_path.rglob(f"**/cache/**/{newest.engine_id}"):
        cached.unlink()
    with pytest.raises(RepositoryDamagedError, match="cannot be read"):
        place.vault.prune(place.vault.plan_prune())
    assert len(list((tmp_path / "repository/snapshots").iterdir())) == 3


def test_each_repository_is_looked_at_again_at_its_turn(tmp_path: Path) -> None:
    """Freeing space in the first may take hours, in which the only verified snapshot of the second was found wrong."""
    places = {name: Place(tmp_path / name, DirectoryEngine(tmp_path / f"{name}-r", Secret("x"))) for name in "ab"}
    for place in places.values():
        for number in range(3):
            place.store(number)
    changed: list[str] = []

    def meanwhile(operation: str, moment: str) -> None:
        if (operation, moment) == ("compact", "before") and not changed:
            changed.append(places["b"].store(7))

    vault = Vault(
        None,
        [
            Repository("a", FaultyEngine(places["a"].engine, meanwhile), RetentionPolicy(last=1)),
            Repository("b", places["b"].engine, RetentionPolicy(last=1)),
        ],
        state_dir=tmp_path / "state",
    )
    first, second = vault.prune(vault.plan_prune()).repositories
    assert changed
    assert (first.error, len(first.removed)) == (None, 2)
    assert isinstance(second.error, StalePlanError)
    assert second.removed == ()
    assert len(places["b"].ids()) == 4


def test_what_changes_while_the_repository_is_waited_for_is_seen(place: Place) -> None:
    """The plan is checked once nobody else works on the repository, and not before."""
    for number in range(3):
        place.store(number)
    plan = place.vault.plan_prune()
    folder = StateDirectory(place.folder / "state").repository_folder("nas", place.engine.location)
    waiting: list[float] = []

    class Meanwhile(SystemClock):
        def sleep(self, seconds: float) -> None:
            waiting.append(seconds)
            if len(waiting) == 1:
                place.store(7)
                held.close()

    held = ExitStack()
    held.enter_context(directory_lock(folder, wait_seconds=0, clock=SystemClock(), what="nas"))
    vault = Vault(
        None,
        [Repository("nas", place.engine, RetentionPolicy(last=1))],
        state_dir=place.folder / "state",
        clock=Meanwhile(),
    )
    with held, pytest.raises(StalePlanError):
        vault.prune(plan)
    assert waiting
    assert len(place.ids()) == 4
