"""Whose processes a container's are."""

from __future__ import annotations

import subprocess

import pytest
from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.quiesce.container.activity import marks_of, root_of
from owui_vault.system import procfs


def container(pid: int) -> ContainerInspect:
    return parse({"Id": "box", "Name": "/box", "State": {"Paused": True, "Pid": pid}})


def test_a_process_that_ends_while_it_is_looked_at_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["sleep", "60"])
    identity = procfs.identify(child.pid)
    child.kill()
    child.wait()
    monkeypatch.setattr(procfs, "identify", lambda pid: identity)
    assert root_of(container(child.pid)) is None
    assert marks_of([container(child.pid)]) == {}
