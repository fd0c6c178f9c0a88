"""An instance and its vault, with one snapshot of an earlier state: for everything that restores in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from owui_vault import (
    CaptureLimits,
    DataDirectory,
    Deadline,
    InstanceState,
    Limits,
    Repository,
    ResumeError,
    Secret,
    Vault,
)
from owui_vault.ports import Notifier, Quiescer
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance
from tests.built_once import BuiltOnce

# Also how long a guardian waits for a stop to land that was asked for by a run that died.
QUICK = Limits(capture=CaptureLimits(stop_seconds=1.0))


@dataclass
class FakeApplication:
    """An application that knows some schemas and comes up, or does not, as often as told."""

    known: frozenset[str] | None = frozenset({"aaaaaaaaaaaa"})
    failures: int = 0
    says: str = "answers"
    asked: list[float] = field(default_factory=list)

    def revisions(self) -> frozenset[str] | None:
        return self.known

    def wait_until_healthy(self, deadline: Deadline) -> str:
        self.asked.append(deadline.remaining())
        if self.failures:
            self.failures -= 1
            raise ResumeError("it does not answer")
        return self.says


class House:
    """An instance, its vault, and one snapshot of an earlier state.

    `as_built` is one that was built at the same place, and whose files are there as they were then.
    """

    earlier: dict[str, str]
    later: dict[str, str]
    snapshot: str

    def __init__(self, folder: Path, as_built: House | None = None) -> None:
        self.data_dir = folder / "data"
        self.folder = folder
        if as_built is None:
            make_small_instance(self.data_dir)
        self.quiescer = FakeQuiescer(folder)
        self.application = FakeApplication()
        self.vault = self.a_vault()
        if as_built is None:
            self._build()
        else:
            self.earlier, self.later = dict(as_built.earlier), dict(as_built.later)
            self.snapshot = as_built.snapshot

    def _build(self) -> None:
        self.vault.initialize()
        use_small_instance(self.data_dir, "earlier")
        self.earlier = state_of_small_instance(self.data_dir)
        self.snapshot = self.vault.snapshot().id
        use_small_instance(self.data_dir, "later")
        (self.data_dir / "audit.log").write_text("stays")
        self.later = self.state()

    def a_vault(self) -> Vault:
        return self.vault_at(self.data_dir, self.quiescer)

    def vault_at(
        self, data_dir: Path, quiescer: Quiescer | None = None, *, notifiers: tuple[Notifier, ...] = ()
    ) -> Vault:
        """A vault for the same instance as it is seen from elsewhere, or without anybody who could stop it."""
        engine = DirectoryEngine(self.folder / "repository", Secret("x"))
        return Vault(
            DataDirectory(data_dir),
            [Repository("one", engine)],
            quiescer=quiescer,
            application=self.application,
            notifiers=notifiers,
            state_dir=self.folder / "state",
            limits=QUICK,
        )

    def state(self) -> dict[str, str]:
        return state_of_small_instance(self.data_dir)

    def runs(self) -> bool:
        return self.quiescer.observe().state is InstanceState.RUNNING


class Houses:
    """Houses for tests that change them, built once."""

    def __init__(self, workshop: Path) -> None:
        self._once = BuiltOnce(workshop, House)

    def one(self) -> House:
        """A house at the same place as all others, that nobody has lived in."""
        return House(self._once.place, self._once.put_back())
