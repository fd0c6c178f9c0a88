"""What parts of one's own a vault takes: derived from their ports, with defaults for what is optional."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import Deadline, InstanceState, Observation, Quiesce, Quiescer, Repository, Secret, Vault
from owui_vault.ports import Remarks
from owui_vault.testing.engines.directory import DirectoryEngine


class Plain(Quiescer):
    """No more than a quiescer needs."""

    @property
    def name(self) -> str:
        return "plain"

    @property
    def modes(self) -> frozenset[Quiesce]:
        return frozenset()

    def observe(self) -> Observation:
        return Observation(InstanceState.STOPPED, "")

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        raise NotImplementedError

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        raise NotImplementedError

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        raise NotImplementedError

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        raise NotImplementedError


def test_what_is_optional_has_a_default() -> None:
    plain = Plain()
    assert (plain.remarks, plain.launch(), plain.places()) == (Remarks(), None, ())


def test_what_is_required_cannot_be_left_out() -> None:
    class WithoutRescue(Plain):
        rescue_command = Quiescer.rescue_command

    with pytest.raises(TypeError, match="rescue_command"):
        WithoutRescue()


def test_parts_that_are_not_derived_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    class Structural:
        name, modes = Plain.name, Plain.modes
        observe, quiesce, confirm = Plain.observe, Plain.quiesce, Plain.confirm
        resume, rescue_command = Plain.resume, Plain.rescue_command

    class StructuralEngine:
        name, location = "mine", "here"

    with pytest.raises(TypeError, match=r"Structural has no remarks, launch, places: derive it from .*ports\.Quiescer"):
        Vault(None, [], quiescer=Structural(), state_dir=tmp_path)  # type: ignore[arg-type]  # that is the test
    engine: object = StructuralEngine()
    with pytest.raises(
        TypeError, match=r"StructuralEngine has no forget, .*copy_from.*: derive it from .*ports\.Engine"
    ):
        Vault(None, [Repository("nas", engine)], state_dir=tmp_path)  # type: ignore[arg-type]  # that is the test
    Vault(None, [Repository("nas", DirectoryEngine(tmp_path, Secret("x")))], quiescer=Plain(), state_dir=tmp_path)
