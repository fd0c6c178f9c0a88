"""The conformance suite on the process quiescer and on the fake."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from owui_vault.model import InstanceState, Quiesce
from owui_vault.ports import Quiescer
from owui_vault.testing.fakes import FakeInstance, FakeQuiescer
from owui_vault.testing.quiescer_suite import QuiescerSuite, Subject


class TestProcess(QuiescerSuite):
    modes = (Quiesce.PAUSE,)

    @pytest.fixture
    def subject(self, family: Subject) -> Subject:
        return family


class FakeSubject(Subject):
    """A fake instance; it "writes" whenever somebody looks while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance = FakeInstance(folder)
        self.count = 0
        self.lock = threading.Lock()

    def quiescer(self) -> Quiescer:
        return FakeQuiescer(self.folder)

    def writes(self) -> int:
        with self.lock:
            self.count += self.instance.read().state == InstanceState.RUNNING.value
            return self.count

    def pause(self) -> None:
        self.instance.set(InstanceState.PAUSED)

    def wake(self) -> None:
        self.instance.set(InstanceState.RUNNING)

    def stop(self) -> None:
        self.instance.set(InstanceState.STOPPED)

    def start(self) -> None:
        self.instance.set(InstanceState.RUNNING)


class TestFake(QuiescerSuite):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        return FakeSubject(tmp_path)
