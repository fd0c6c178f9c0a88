"""Conformance suites and fakes, for us and for authors of engines and quiescers.

The names below are public. They are imported when they are first used: the suites need pytest, the fakes do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from owui_vault.lazy_names import lazy_names

if TYPE_CHECKING:
    from owui_vault.testing.engines.directory import DirectoryEngine as DirectoryEngine
    from owui_vault.testing.engines.faulty import FaultyEngine as FaultyEngine
    from owui_vault.testing.engines.suite import PASSPHRASE as PASSPHRASE
    from owui_vault.testing.engines.suite import Bench as Bench
    from owui_vault.testing.engines.suite import EngineSuite as EngineSuite
    from owui_vault.testing.engines.suite import make_label as make_label
    from owui_vault.testing.fakes import FakeClock as FakeClock
    from owui_vault.testing.fakes import FakeInstance as FakeInstance
    from owui_vault.testing.fakes import FakeQuiescer as FakeQuiescer
    from owui_vault.testing.quiescer_suite import QuiescerSuite as QuiescerSuite
    from owui_vault.testing.quiescer_suite import Subject as Subject

_HOME = {
    "owui_vault.testing.engines.directory": "DirectoryEngine",
    "owui_vault.testing.engines.faulty": "FaultyEngine",
    "owui_vault.testing.engines.suite": "Bench EngineSuite PASSPHRASE make_label",
    "owui_vault.testing.fakes": "FakeClock FakeInstance FakeQuiescer",
    "owui_vault.testing.quiescer_suite": "QuiescerSuite Subject",
}
__all__ = [name for names in _HOME.values() for name in names.split()]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
