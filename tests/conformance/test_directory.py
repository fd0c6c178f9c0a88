"""The fake is trusted because it passes what the real engines pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from owui_vault.errors import RepositoryFullError
from owui_vault.model import Secret
from owui_vault.ports import Engine
from owui_vault.testing.directory_engine import DirectoryEngine
from owui_vault.testing.engine_suite import PASSPHRASE, Bench, EngineSuite, make_label
from owui_vault.testing.faulty_engine import FaultyEngine


class TestDirectory(EngineSuite):
    def make(self, folder: Path, passphrase: str = PASSPHRASE) -> Engine:
        return DirectoryEngine(folder / "repository", Secret(passphrase))

    def store_foreign(self, bench: Bench, tree: Path) -> None:
        path = bench.repository / "snapshots" / f"{'f' * 64}.json"
        path.write_text(json.dumps({"label": "somebody else's", "nodes": []}))


@pytest.mark.rare  # the same claims once more
class TestFaultyWithoutFault(TestDirectory):
    def make(self, folder: Path, passphrase: str = PASSPHRASE) -> Engine:
        return FaultyEngine(super().make(folder, passphrase))


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
def test_a_fault_comes_before_or_after_the_deed(tmp_path: Path, moment: str, stored: int) -> None:
    def fault(operation: str, when: str) -> None:
        if (operation, when) == ("store", moment):
            raise RepositoryFullError("no space left")

    bench = Bench(engine=DirectoryEngine(tmp_path / "repository", Secret("x")), folder=tmp_path)
    bench.engine.initialize(bench.call())
    with pytest.raises(RepositoryFullError):
        FaultyEngine(bench.engine, fault).store(bench.build(), make_label(), bench.call())
    assert len(bench.listed()) == stored
