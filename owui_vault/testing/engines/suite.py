"""One conformance suite for every engine.

Subclass it, write `make`, and pytest does the rest:

    class TestMine(EngineSuite):
        def make(self, folder, passphrase=PASSPHRASE):
            return MyEngine(folder / "repository", Secret(passphrase))

A difference between engines is a test here first, and a workaround in the engine second.
"""

from __future__ import annotations

from owui_vault.testing.engines.bench import PASSPHRASE, Bench, EngineBench, make_label
from owui_vault.testing.engines.suite_completeness import CompletenessTests
from owui_vault.testing.engines.suite_failures import TroubleTests
from owui_vault.testing.engines.suite_maintenance import KeepingTests
from owui_vault.testing.engines.suite_store import StoringTests

__all__ = ["PASSPHRASE", "Bench", "EngineBench", "EngineSuite", "make_label"]


class EngineSuite(StoringTests, CompletenessTests, KeepingTests, TroubleTests):
    """Every promise of `ports.Engine`."""
