"""A secret is asked for once per operation: behind it may be a program, a token to be touched, a limit of a service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import BorgEngine, DataDirectory, Engine, PrunePlan, Repository, ResticEngine, RetentionPolicy, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.restic_templates import PlaceRestic


class Counting:
    """A source that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def reveal(self) -> str:
        self.asked += 1
        return f"a secret, as long as it takes, {id(self)}"


Make = Callable[[Path, Counting, Counting], Engine]
_REAL = pytest.mark.slow


@pytest.fixture(
    params=[
        "directory",
        pytest.param("own_restic", marks=_REAL),
        pytest.param("own_borg", marks=[_REAL, pytest.mark.rare]),
    ],
)
def make(request: pytest.FixtureRequest, place_restic: PlaceRestic) -> Make:
    if request.param == "directory":
        return lambda folder, passphrase, _: DirectoryEngine(folder, passphrase)
    program = str(request.getfixturevalue(request.param))
    if request.param == "own_restic":

        def restic(folder: Path, word: Counting, key: Counting) -> Engine:
            place_restic(folder, program, word.reveal())
            return ResticEngine(str(folder), word, environment={"KEY": key}, program=program)

        return restic
    return lambda folder, word, key: BorgEngine(str(folder), word, environment={"KEY": key}, program=program)


def test_each_operation_asks_once(tmp_path: Path, make: Make) -> None:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    passphrase, key = Counting(), Counting()
    repository = Repository("nas", make(tmp_path / "repository", passphrase, key), RetentionPolicy(last=1))
    vault = Vault(DataDirectory(tmp_path / "data"), [repository], state_dir=tmp_path / "state")
    vault.initialize()
    vault.snapshot()
    plans: list[PrunePlan] = []
    operations: list[Callable[[], object]] = [
        vault.initialize,
        vault.snapshot,
        vault.snapshots,
        vault.verify,
        lambda: plans.append(vault.plan_prune()),
        lambda: vault.prune(plans[0]),
        lambda: vault.restore("latest", tmp_path / "back"),
    ]
    for number, operation in enumerate(operations):
        passphrase.asked = key.asked = 0
        operation()
        assert passphrase.asked == 1, number
        assert key.asked <= 1, number
