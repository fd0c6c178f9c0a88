"""An engine that fails when it is told to, in front of one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from owui_vault.model import Entry, Label, RepositoryInfo, Snapshot, StoreReceipt
from owui_vault.ports import Call, Engine

Fault = Callable[[str, str], None]


def no_fault(_operation: str, _moment: str) -> None:
    """Nothing goes wrong."""


class FaultyEngine(Engine):
    """Hands every call on. `fault("store", "before")` and `fault("store", "after")` may raise what they like.

    Raising "before" is a repository that is away; raising "after" is an answer that got lost: the deed is done.
    """

    def __init__(self, engine: Engine, fault: Fault = no_fault) -> None:
        self.engine = engine
        self.fault = fault

    @property
    def name(self) -> str:
        """The name of the one behind."""
        return self.engine.name

    @property
    def location(self) -> str:
        """The location of the one behind."""
        return self.engine.location

    @contextmanager
    def _around(self, operation: str) -> Iterator[None]:
        self.fault(operation, "before")
        yield
        self.fault(operation, "after")

    def initialize(self, call: Call) -> RepositoryInfo:
        """As the one behind, or a fault."""
        with self._around("initialize"):
            return self.engine.initialize(call)

    def inspect(self, call: Call) -> RepositoryInfo:
        """As the one behind, or a fault."""
        with self._around("inspect"):
            return self.engine.inspect(call)

    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        """As the one behind, or a fault."""
        with self._around("store"):
            return self.engine.store(tree, label, call)

    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        """As the one behind, or a fault."""
        with self._around("snapshots"):
            return self.engine.snapshots(call)

    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        """As the one behind, or a fault."""
        with self._around("contents"):
            return self.engine.contents(engine_id, call)

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        """As the one behind, or a fault."""
        with self._around("fetch"):
            self.engine.fetch(engine_id, target, call, paths=paths)

    def relabel(self, engine_id: str, label: Label, call: Call) -> Snapshot:
        """As the one behind, or a fault."""
        with self._around("relabel"):
            return self.engine.relabel(engine_id, label, call)

    def remove(self, engine_ids: Sequence[str], call: Call) -> None:
        """As the one behind, or a fault."""
        with self._around("remove"):
            self.engine.remove(engine_ids, call)

    def compact(self, call: Call) -> int | None:
        """As the one behind, or a fault."""
        with self._around("compact"):
            return self.engine.compact(call)

    def verify(self, call: Call, *, read_data: float = 0.0) -> tuple[str, ...]:
        """As the one behind, or a fault."""
        with self._around("verify"):
            return self.engine.verify(call, read_data=read_data)

    def initialize_like(self, source: Engine, call: Call, source_call: Call) -> RepositoryInfo:
        """As the one behind, or a fault."""
        with self._around("initialize_like"):
            behind = source.engine if isinstance(source, FaultyEngine) else source
            return self.engine.initialize_like(behind, call, source_call)

    def can_copy_from(self, source: Engine) -> bool:
        """As the one behind."""
        return self.engine.can_copy_from(source.engine if isinstance(source, FaultyEngine) else source)

    def copy_from(self, source: Engine, engine_ids: Sequence[str], call: Call, source_call: Call) -> None:
        """As the one behind, or a fault."""
        with self._around("copy_from"):
            behind = source.engine if isinstance(source, FaultyEngine) else source
            self.engine.copy_from(behind, engine_ids, call, source_call)

    def forget(self, call: Call) -> None:
        """As the one behind, or a fault."""
        with self._around("forget"):
            self.engine.forget(call)
