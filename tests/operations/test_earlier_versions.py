"""What an earlier version wrote is understood by every later one: repositories, state, what was left half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from owui_vault import (
    BorgEngine,
    DataDirectory,
    Engine,
    InstanceState,
    Outcome,
    Repository,
    ResticEngine,
    RetentionPolicy,
    Secret,
    Snapshot,
    Vault,
    rescue,
)
from owui_vault.guardian import bounded_hold
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import with_current_interpreter
from owui_vault.ports import Quiescer
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.quiesce.systemd import UnitQuiescer
from owui_vault.system import procfs
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import state_of_small_instance, use_small_instance
from owui_vault.testing.quiescer_suite import eventually
from tests.borg_templates import WITHOUT_SELFTEST
from tests.operations.earlier import (
    HOLDS,
    VERSIONS,
    Site,
    described,
    described_manifest,
    described_run,
    place_hold,
    unpack,
)
from tests.operations.house import QUICK, FakeApplication
from tests.quiesce.test_container_faults import StandIn
from tests.quiesce.test_systemd_faults import Machine, becomes
from tests.quiesce.test_systemd_faults import machine as machine  # noqa: PLC0414  a fixture

PASSPHRASE = "a passphrase"
EXCHANGES = ("replace", "undo", "back")


def vault_of(site: Site, *engines: Engine, quiescer: Quiescer | None = None) -> Vault:
    return Vault(
        DataDirectory(site.data_dir),
        [Repository(name, engine) for name, engine in zip(("one", "two"), engines, strict=False)],
        quiescer=quiescer,
        application=FakeApplication(),
        state_dir=site.folder / "state",
        limits=QUICK,
    )


def known_of(listed: Iterable[Snapshot], known: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """What is listed, as far as was written down then."""
    return [{key: described(each)[key] for key in known[0]} for each in listed]


@pytest.mark.parametrize("version", VERSIONS)
class Claims:
    """For repositories of one engine, and the state beside them."""

    kind: str
    make: Callable[[str], Engine]

    @pytest.fixture
    def site(self, version: str, tmp_path: Path) -> Site:
        return unpack(version, self.kind, tmp_path)

    @pytest.fixture
    def vault(self, site: Site) -> Vault:
        places = [site.folder / name for name in ("repository", "second")]
        return vault_of(site, *(self.make(str(place)) for place in places if place.exists()))

    def test_its_snapshots_are_listed_as_they_were_with_their_verifications(self, site: Site, vault: Vault) -> None:
        for name, listed in (("one", "snapshots"), ("two", "second")):
            if listed in site.expected:
                found = vault.snapshots(name)
                assert found.warnings == ()
                assert known_of(found, site.expected[listed]) == site.expected[listed]

    @pytest.mark.doubled
    def test_they_are_verified(self, vault: Vault) -> None:
        assert vault.verify("latest").problems == ()

    @pytest.mark.doubled
    def test_they_are_restored(self, site: Site, vault: Vault) -> None:
        said = site.expected.get("manifests", {})
        for id_, state in site.expected["states"].items():
            restored = vault.restore(id_, site.folder / id_)
            assert restored.manifest.id == id_
            assert state_of_small_instance(restored.data_dir) == state
            assert described_manifest(restored.manifest) | said.get(id_, {}) == described_manifest(restored.manifest)

    @pytest.mark.doubled
    def test_they_are_pruned(self, site: Site, vault: Vault) -> None:
        """The oldest that nothing holds goes; the tagged and the pinned stay, though newer ones are COMPLETE."""
        known = site.expected["snapshots"]
        held = {each["id"] for each in known if each["tags"] or each.get("pinned")}
        oldest = [each["id"] for each in known if each["id"] not in held][-1]
        report = vault.prune(vault.plan_prune(RetentionPolicy(last=1, tags=("before-upgrade",))))
        assert oldest in {each.id for each in report.repositories[0].removed}
        left = {each.id for each in vault.snapshots("one")}
        assert held <= left
        assert oldest not in left

    @pytest.mark.doubled
    def test_its_work_is_gone_on_with(self, site: Site, vault: Vault) -> None:
        """What a killed run left is cleared, the previous data are put back, the series goes on."""
        assert any("emptied the stage" in each for each in vault.recover().actions)
        assert state_of_small_instance(site.data_dir) == site.expected["now"]
        vault.undo()
        assert state_of_small_instance(site.data_dir) == site.expected["previous"]
        use_small_instance(site.data_dir, "by a later version")
        report = vault.snapshot()
        assert (report.outcome, report.problems) == (Outcome.COMPLETE, ())
        assert report.manifest is not None
        assert report.manifest.sequence == 1 + max(each["sequence"] for each in site.expected["snapshots"])


@pytest.mark.slow
class TestRestic(Claims):
    kind = "restic"

    @pytest.fixture(autouse=True)
    def _which(self, restic_program: Path) -> None:
        self.make = lambda place: ResticEngine(place, Secret(PASSPHRASE), program=str(restic_program))


@pytest.mark.slow
class TestBorg(Claims):
    kind = "borg"

    @pytest.fixture(autouse=True)
    def _which(self, borg_program: Path) -> None:
        self.make = lambda place: BorgEngine(
            place, Secret(PASSPHRASE), program=str(borg_program), environment=WITHOUT_SELFTEST
        )

    # Ten calls of borg each; what is written is decided with restic.

    @pytest.mark.rare
    def test_they_are_verified(self, vault: Vault) -> None:
        super().test_they_are_verified(vault)

    @pytest.mark.rare
    def test_they_are_pruned(self, site: Site, vault: Vault) -> None:
        super().test_they_are_pruned(site, vault)


@pytest.mark.parametrize("version", VERSIONS)
def test_its_runs_are_remembered(version: str, tmp_path: Path) -> None:
    site = unpack(version, "restic", tmp_path)
    vault = vault_of(site, DirectoryEngine(tmp_path / "repository", Secret("x")))
    assert [described_run(each) for each in vault.history()] == site.expected.get("runs", [])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path)
    yield stand_in
    stand_in.down()


@pytest.mark.parametrize("deed", EXCHANGES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alone", [False, True], ids=["recover", "its journal alone"])
def test_a_killed_exchange_is_undone_before_the_container_starts_again(
    version: str, deed: str, tmp_path: Path, engine: StandIn, *, alone: bool
) -> None:
    """Also where somebody has started it meanwhile, on the data that shall go."""
    site = unpack(version, deed, tmp_path)
    engine.starts = site.expected["starts"]
    engine.status = "running" if deed == "back" else "exited"
    if alone:
        (action,) = bounded_hold.recover(Journal(site.journal))
        assert "container box" in action
    else:
        quiescer = ContainerQuiescer("box", engine=engine.address, stop_seconds=1)
        vault = vault_of(site, DirectoryEngine(tmp_path / "repository", Secret("x")), quiescer=quiescer)
        assert any("rolled back" in each for each in vault.recover().actions)
    assert state_of_small_instance(site.data_dir) == site.expected["after"]
    assert not (site.data_dir / ".owui-vault/swap.json").exists()
    assert engine.status == "running"
    assert engine.calls.count("stop") == (deed == "back")
    assert list(site.journal.iterdir()) == []


def test_what_was_written_down_is_run_at_the_address_of_rescues(tmp_path: Path) -> None:
    """Also where a module of then is still there: the next version may move it."""
    journals = [
        Journal(unpack(version, deed, tmp_path / version / deed).journal) for version in VERSIONS for deed in EXCHANGES
    ]
    for number, held in enumerate(HOLDS):
        place_hold(held, tmp_path / str(number), tmp_path)
        journals.append(Journal(tmp_path / str(number)))
    for record in (record for journal in journals for record in journal.records()):
        command = with_current_interpreter(record.rescue)
        modules = [command[at + 1] for at, part in enumerate(command) if part == "-m"]
        assert set(modules) == {"owui_vault.rescue"}
        assert command[0] == sys.executable


@pytest.mark.parametrize("held", [each for each in HOLDS if "container" in each])
def test_a_container_that_was_held_is_brought_back(held: str, tmp_path: Path, engine: StandIn) -> None:
    engine.status = "paused" if held.endswith("pause") else "exited"
    place_hold(held, tmp_path / "journal", tmp_path)
    (action,) = bounded_hold.recover(Journal(tmp_path / "journal"))
    assert "is as it was before" in action
    assert engine.status == "running"
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("held", [each for each in HOLDS if "unit" in each])
def test_a_unit_that_was_held_is_brought_back(held: str, tmp_path: Path, machine: Machine) -> None:
    paused = held.endswith("pause")
    machine.unit(**{"FreezerState": "frozen"} if paused else {"ActiveState": "inactive"})
    machine.unit("family.socket")
    machine.at("thaw", becomes("FreezerState", "running"))
    machine.at("start", becomes("ActiveState", "active"))
    place_hold(held, tmp_path / "journal", tmp_path)
    (record,) = Journal(tmp_path / "journal").records()
    command = with_current_interpreter(record.rescue)
    assert command[1:3] == ("-m", "owui_vault.rescue")
    assert rescue.main(command[3:]) == 0  # in this process, where a stand-in answers for systemd
    assert machine.calls("thaw" if paused else "start")
    assert UnitQuiescer("family").observe().state is InstanceState.RUNNING


@pytest.mark.parametrize("held", [each for each in HOLDS if "process" in each])
def test_a_process_that_was_held_runs_again(held: str, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        process = procfs.identify(child.pid)
        assert process is not None
        os.kill(child.pid, signal.SIGSTOP)
        assert eventually(lambda: procfs.stopped(process))
        place_hold(held, tmp_path / "journal", tmp_path, process)
        bounded_hold.recover(Journal(tmp_path / "journal"))
        assert not procfs.stopped(process)
        assert list((tmp_path / "journal").iterdir()) == []
        child.kill()
