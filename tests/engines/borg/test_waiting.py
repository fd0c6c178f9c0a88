"""Somebody's own borg works on the repository: whoever wants to read waits as long as `limits.lock_wait` allows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import Component, DataDirectory, Repository, RepositoryLockedError, Secret, Vault
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.model import Entry
from owui_vault.ports import Call
from owui_vault.testing.engines.bench import PASSPHRASE
from owui_vault.testing.instances.small import make_small_instance, use_small_instance

pytestmark = pytest.mark.slow


class Interrupted(BorgEngine):
    """Just before its contents are listed another program takes the lock, and keeps it until that was noticed."""

    noticed = 0

    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        if self.noticed:
            return super().contents(engine_id, call)
        lock = Path(self.location) / "lock.exclusive"
        lock.mkdir()
        (lock / "elsewhere@123456789.17-0").touch()
        try:
            return super().contents(engine_id, replace(call, timeout_seconds=8))
        except RepositoryLockedError:
            self.noticed += 1
            shutil.rmtree(lock)
            raise


@pytest.mark.thorough
def test_a_restore_waits_for_the_lock_as_long_as_it_may(tmp_path: Path, own_borg: Path) -> None:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    engine = Interrupted(str(tmp_path / "repository"), Secret(PASSPHRASE), program=str(own_borg))
    state = tmp_path / "state"
    vault = Vault(DataDirectory(tmp_path / "data"), [Repository("nas", engine)], state_dir=state)
    vault.initialize()
    vault.snapshot()
    vault.restore("latest", tmp_path / "target", components=[Component.UPLOADS])
    assert engine.noticed == 1
    assert any((tmp_path / "target/data/uploads").iterdir())
