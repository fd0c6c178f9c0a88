"""A collapse stops retention everywhere, night after night, until somebody accepts it; and append-only repositories."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from owui_vault import (
    CollapseLimits,
    ConfigError,
    DataDirectory,
    Engine,
    Event,
    Repository,
    RepositoryUnreachableError,
    RetentionPolicy,
    Secret,
    Vault,
)
from owui_vault.context.state import LEDGER_LENGTH, StateDirectory
from owui_vault.model import LedgerEntry
from owui_vault.testing.engines.bench import make_label
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.instances.small import make_small_instance
from tests.operations.conftest import PASSPHRASE, MakeEngine
from tests.operations.test_twins import call_in


@dataclass
class Heard:
    """A notifier that keeps what it heard."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


class MirrorBehind:
    """Two repositories, of which the second is behind: a mirror that is brought up to date once a week."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.heard = Heard()
        self.engines = {"nas": engine, "far": DirectoryEngine(folder / "far", Secret(PASSPHRASE))}
        self.vault = self.a_vault()
        self.vault.initialize()

    def a_vault(self, *, append_only: str = "", away: str = "") -> Vault:
        def fault(name: str, call: str) -> None:
            if name == away and call == "snapshots":
                raise RepositoryUnreachableError("nobody answers")

        return Vault(
            None,
            [
                Repository(
                    name,
                    FaultyEngine(each, lambda call, _moment, name=name: fault(name, call)),  # type: ignore[misc]  # bound
                    RetentionPolicy(last=1),
                    append_only=name == append_only,
                )
                for name, each in self.engines.items()
            ],
            notifiers=[self.heard],
            state_dir=self.folder / "state",
        )

    def store(self, number: int, chats: int, *to: str) -> str:
        tree = self.folder / "stage"
        tree.mkdir(exist_ok=True)
        (tree / "data").write_bytes(b"%d" % number)
        label = make_label(number, users=3, chats=chats, uploads=chats)
        for name in to or self.engines:
            self.engines[name].store(tree, label, call_in(self.folder))
        return label.id

    def ids(self, name: str) -> list[str]:
        return [each.id for each in self.vault.snapshots(name)]


@pytest.fixture
def places(tmp_path: Path, make_engine: MakeEngine) -> MirrorBehind:
    return MirrorBehind(tmp_path, make_engine(tmp_path / "repository"))


@pytest.fixture
def quick(tmp_path: Path) -> MirrorBehind:
    return MirrorBehind(tmp_path, DirectoryEngine(tmp_path / "repository", Secret(PASSPHRASE)))


@pytest.mark.doubled
def test_nothing_is_pruned_anywhere_night_after_night_until_it_is_accepted(places: MirrorBehind) -> None:
    """Also not in the mirror that does not have the collapsed one yet, and not what the rules would keep least."""
    first, second = places.store(1, 480), places.store(2, 481)
    third = places.store(3, 12, "nas")
    for number in (4, 5):
        plan = places.vault.plan_prune()
        assert plan.collapse
        assert plan.collapse.reasons == (
            f"it has 12 chats, and {second} has 481",
            f"it has 12 uploads, and {second} has 481",
        )
        assert [each.removed for each in plan.repositories] == [(), ()]
        report = places.vault.prune(plan)
        assert [each.removed for each in report.repositories] == [(), ()]
        assert [(each.operation, each.kind) for each in places.heard.events] == [("prune", "failure")] * (number - 3)
        assert places.ids("far") == [second, first]
        places.store(number, 12, "nas")
    assert places.vault.plan_prune(repository="far").collapse, "whichever repository was asked for"
    plan = places.vault.plan_prune()
    assert plan.collapse
    assert plan.collapse.snapshot == make_label(5).id
    places.vault.accept_collapse(plan.collapse)
    plan = places.vault.plan_prune()
    assert plan.collapse is None
    places.vault.prune(plan)
    assert (places.ids("nas"), places.ids("far")) == ([make_label(5).id], [second])
    assert third not in places.ids("nas")
    assert len(places.heard.events) == 2


@pytest.mark.slow
def test_what_was_there_only_before_the_collapse_is_still_there_after_a_month(quick: MirrorBehind) -> None:
    quick.store(1, 480)
    for number in range(2, 32):
        quick.store(number, 30, "nas")
        quick.vault.prune(quick.vault.plan_prune())
    assert make_label(1).id in quick.ids("nas")
    assert len(quick.heard.events) == 30


def test_a_repository_that_is_away_hides_no_collapse_of_another(quick: MirrorBehind) -> None:
    quick.store(1, 480)
    quick.store(2, 12, "nas")
    plan = quick.a_vault(away="far").plan_prune(repository="nas")
    assert plan.collapse
    assert plan.unanswered == (), "it was not asked for"
    assert quick.a_vault(away="nas").plan_prune(repository="far").collapse is None


@pytest.mark.slow
def test_an_acceptance_and_a_damaged_database_are_not_forgotten_among_many_verifications(quick: MirrorBehind) -> None:
    quick.store(1, 480)
    quick.store(2, 12)
    collapse = quick.vault.plan_prune().collapse
    assert collapse
    quick.vault.accept_collapse(collapse)
    state = StateDirectory(quick.folder / "state")
    at = make_label(1).instant
    damaged = LedgerEntry(
        snapshot=make_label(2).id,
        repository="",
        kind="check",
        at=at.replace(year=2099),
        ok=False,
        detail="webui.db is bad",
    )
    state.add_to_ledger("open-webui", damaged)
    for number in range(LEDGER_LENGTH + 5):
        entry = LedgerEntry(snapshot=f"{number:08x}", repository="nas", kind="verify", at=at, ok=True)
        state.add_to_ledger("open-webui", entry)
        check = LedgerEntry(
            snapshot=make_label(2).id, repository="", kind="check", at=at, ok=True, detail="x.db is sound"
        )
        state.add_to_ledger("open-webui", check)
    found = quick.vault.plan_prune().collapse
    assert found
    assert found.reasons == ("a database failed its check: webui.db is bad",)


def test_what_was_accepted_here_is_accepted_on_every_machine(tmp_path: Path) -> None:
    """By the manifest of the next snapshot."""
    make_small_instance(tmp_path / "data")
    engine = DirectoryEngine(tmp_path / "repository", Secret(PASSPHRASE))

    def vault(state: str, *, instance: bool = True) -> Vault:
        return Vault(
            DataDirectory(tmp_path / "data") if instance else None,
            [Repository("nas", engine, RetentionPolicy(last=1))],
            state_dir=tmp_path / state,
            collapse=CollapseLimits(least=5),
        )

    here, other = vault("state"), vault("elsewhere", instance=False)
    here.initialize()
    with closing(sqlite3.connect(tmp_path / "data/webui.db")) as database:
        for number in range(10):
            database.execute("INSERT INTO chat VALUES (?, 'text')", (str(number),))
        database.commit()
        full = here.snapshot().id
        database.execute("DELETE FROM chat")
        database.commit()
    emptied = here.snapshot().id
    plan = here.plan_prune()
    assert plan.collapse
    assert plan.collapse.reasons == (f"it has 0 chats, and {full} has 10",)
    assert other.plan_prune().collapse == plan.collapse
    here.accept_collapse(plan.collapse)
    assert other.plan_prune().collapse, "nobody has told it"
    third = here.snapshot().id
    assert [(each.kind, each.snapshot, each.sequence) for each in here.manifest(third).ledger] == [
        ("accept-collapse", emptied, 2)
    ]
    assert other.plan_prune().collapse is None
    other.prune(other.plan_prune())
    assert [each.id for each in other.snapshots()] == [third]


def test_an_append_only_repository_is_never_pruned_from_here_and_that_is_no_failure(quick: MirrorBehind) -> None:
    for number in (1, 2):
        quick.store(number, 100)
    here = quick.a_vault(append_only="far")
    plan = here.plan_prune()
    assert (plan.append_only, [each.repository for each in plan.repositories]) == (("far",), ["nas"])
    here.prune(plan)
    assert (quick.ids("nas"), len(quick.ids("far"))) == ([make_label(2).id], 2)
    alone = here.plan_prune(repository="far")
    assert (alone.append_only, alone.repositories) == (("far",), ())
    assert here.prune(alone).repositories == ()
    quick.vault.prune(quick.vault.plan_prune(repository="far"))
    assert quick.ids("far") == [make_label(2).id], "a trusted machine's configuration does not say so"


def test_without_append_only_a_repository_needs_a_policy(quick: MirrorBehind) -> None:
    bare = Vault(None, [Repository("nas", quick.engines["nas"])], state_dir=quick.folder / "state")
    with pytest.raises(ConfigError, match="no retention policy"):
        bare.plan_prune()
    spared = Vault(None, [Repository("nas", quick.engines["nas"], append_only=True)], state_dir=quick.folder / "state")
    assert spared.plan_prune().append_only == ("nas",)
