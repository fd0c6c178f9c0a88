"""The fake is trusted because it passes what the real engines pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from owui_vault.errors import RepositoryFullError, RepositoryLockedError
from owui_vault.model import Entry, RepositoryInfo, Secret
from owui_vault.ports import Call, Engine
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine
from owui_vault.testing.engines.suite import PASSPHRASE, Bench, EngineSuite, make_label


class TestDirectory(EngineSuite):
    def make(self, folder: Path, passphrase: str = PASSPHRASE) -> Engine:
        return DirectoryEngine(folder / "repository", Secret(passphrase))

    def store_foreign(self, bench: Bench, tree: Path) -> None:
        path = bench.repository / "snapshots" / f"{'f' * 64}.json"
        path.write_text(json.dumps({"label": "somebody else's", "nodes": []}))


class Lockable(DirectoryEngine):
    """Answers nobody while a lock is there."""

    def inspect(self, call: Call) -> RepositoryInfo:
        if (Path(self.location) / "lock").exists():
            raise RepositoryLockedError("locked")
        return super().inspect(call)


class Lazy(Lockable):
    """Does nothing before somebody asks for the first path."""

    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        yield from super().contents(engine_id, call)


class Lockables(EngineSuite):
    @contextmanager
    def locked(self, bench: Bench) -> Iterator[None]:
        (bench.repository / "lock").touch()
        yield
        (bench.repository / "lock").unlink()


@pytest.mark.parametrize("kind", [Lockable, Lazy])
def test_the_suite_tells_a_lazy_engine_from_one_that_is_not(tmp_path: Path, kind: type[DirectoryEngine]) -> None:
    bench = Bench(engine=kind(tmp_path / "repository", Secret("x")), folder=tmp_path)
    bench.engine.initialize(bench.call())
    lazy = kind is Lazy
    with pytest.raises(RepositoryLockedError) if lazy else nullcontext():
        Lockables().test_contents_of_a_locked_repository_fail_at_the_call_or_not_at_all(bench)
    (bench.repository / "lock").unlink(missing_ok=True)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE") if lazy else nullcontext():
        Lockables().test_contents_and_fetch_name_a_missing_snapshot(bench)


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
