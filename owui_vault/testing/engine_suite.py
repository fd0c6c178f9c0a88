"""One conformance suite for every engine.

Subclass it, write `make`, and pytest does the rest:

    class TestMine(EngineSuite):
        def make(self, folder, passphrase=PASSPHRASE):
            return MyEngine(folder / "repository", Secret(passphrase))

A difference between engines is a test here first, and a workaround in the engine second.
"""

from __future__ import annotations

from owui_vault.testing.engine_bench import PASSPHRASE, Bench, EngineBench, make_label
from owui_vault.testing.engine_suite_completeness import CompletenessTests
from owui_vault.testing.engine_suite_keeping import KeepingTests
from owui_vault.testing.engine_suite_storing import StoringTests
from owui_vault.testing.engine_suite_trouble import TroubleTests

__all__ = ["PASSPHRASE", "Bench", "EngineBench", "EngineSuite", "make_label"]


class EngineSuite(StoringTests, CompletenessTests, KeepingTests, TroubleTests):
    """Every promise of `ports.Engine`."""
