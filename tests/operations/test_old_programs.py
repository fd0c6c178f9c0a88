"""An engine's program that is too old is found before the instance is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import (
    BorgEngine,
    DataDirectory,
    Engine,
    ProgramMissingError,
    Quiesce,
    Repository,
    ResticEngine,
    Secret,
    Vault,
)
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

OLD = {
    "restic": "restic 0.12.1 compiled with go1.17 on linux/amd64",
    "borg": "borg 1.1.17",
}


def an_engine(name: str, folder: Path, program: str) -> Engine:
    kind = ResticEngine if name == "restic" else BorgEngine
    return kind(str(folder / "repository"), Secret("right horse"), program=program)


@pytest.mark.parametrize("name", OLD)
def test_a_program_that_was_replaced_by_an_old_one_costs_no_outage(tmp_path: Path, name: str) -> None:
    make_small_instance(tmp_path / "data")
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {name} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "unit").mkdir()
    quiescer = FakeQuiescer(tmp_path / "unit")
    vault = Vault(
        DataDirectory(tmp_path / "data"),
        [Repository("nas", an_engine(name, tmp_path, str(program)))],
        quiescer=quiescer,
        state_dir=tmp_path / "state",
    )
    vault.initialize()
    vault.snapshot(quiesce=Quiesce.LIVE)
    program.write_text(f'#!/bin/sh\ncase "$*" in *version*) echo {OLD[name]};; *) exec {name} "$@";; esac\n')
    with pytest.raises(ProgramMissingError, match=r"0\.12\.1|1\.1\.17"):
        vault.snapshot(quiesce=Quiesce.STOP)
    assert quiescer.instance.read().sleeps == 0


@pytest.mark.parametrize("name", OLD)
def test_a_relative_program_is_the_one_of_the_callers_directory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines are run in the stage, where the same path leads to nothing, or to what lies among the data."""
    make_small_instance(tmp_path / "data")
    (tmp_path / "tools").mkdir()
    program = tmp_path / "tools" / name
    program.write_text(f'#!/bin/sh\nexec {name} "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    engine = an_engine(name, tmp_path, f"tools/{name}")
    vault = Vault(DataDirectory(tmp_path / "data"), [Repository("one", engine)], state_dir=tmp_path / "state")
    vault.initialize()
    stored = vault.snapshot()
    assert vault.restore(stored.id, tmp_path / "copy").manifest.id == stored.id
