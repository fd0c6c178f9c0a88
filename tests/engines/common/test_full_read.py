"""Once in thirty days nothing is passed over, so that what size and mtime hide is found in the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.engines.common.full_read import is_due, record_full_read
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.model import Outcome, Secret
from owui_vault.ports import Engine
from owui_vault.testing.engines.bench import PASSPHRASE, Bench
from owui_vault.testing.trees import MANY_BYTES
from tests.borg_templates import WITHOUT_SELFTEST
from tests.restic_templates import PlaceRestic

DAY = 24 * 3600


@pytest.mark.parametrize(("age", "due"), [(0, False), (29 * DAY, False), (31 * DAY, True), (-31 * DAY, True)])
def test_a_full_reading_lasts_thirty_days(tmp_path: Path, age: float, due: bool) -> None:
    assert is_due(tmp_path, "open-webui")
    record_full_read(tmp_path, "open-webui")
    made_older(tmp_path, age)
    assert is_due(tmp_path, "open-webui") is due
    assert is_due(tmp_path, "another")


def made_older(folder: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(folder / "full-readings/open-webui", (moment, moment))


def restic(folder: Path, program: Path) -> Engine:
    return ResticEngine(str(folder / "repository"), Secret(PASSPHRASE), program=str(program))


def borg(folder: Path, program: Path) -> Engine:
    return BorgEngine(
        str(folder / "repository"), Secret(PASSPHRASE), program=str(program), environment=WITHOUT_SELFTEST
    )


@pytest.mark.slow
def test_restic_reads_everything_again(tmp_path: Path, restic_program: Path, place_restic: PlaceRestic) -> None:
    place_restic(tmp_path / "repository", restic_program, PASSPHRASE)
    everything_again(tmp_path, restic_program, restic)


@pytest.mark.slow
@pytest.mark.doubled
@pytest.mark.thorough
def test_borg_reads_everything_again(tmp_path: Path, borg_program: Path) -> None:
    bench = Bench(engine=borg(tmp_path, borg_program), folder=tmp_path)
    bench.engine.initialize(bench.call())
    everything_again(tmp_path, borg_program, borg)


def everything_again(folder: Path, program: Path, make: Callable[[Path, Path], Engine]) -> None:
    bench = Bench(engine=make(folder, program), folder=folder)
    bench.store(1)
    victim = bench.tree / "data/webui.db"
    facts = victim.stat()
    victim.write_bytes(os.urandom(MANY_BYTES))
    os.utime(victim, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    assert bench.store(2).added_bytes < MANY_BYTES // 10
    made_older(folder / "state", 31 * DAY)
    third = bench.store(3)
    assert third.added_bytes > MANY_BYTES * 0.9
    assert third.snapshot.outcome is Outcome.COMPLETE
    assert (bench.fetch(third.snapshot) / "data/webui.db").read_bytes() == victim.read_bytes()
    assert bench.store(4).added_bytes < MANY_BYTES // 10
