"""Telling an engine from the one that comes after it, where it is not on a socket of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault.containers import daemon_identity as module
from owui_vault.containers.daemon_identity import daemon_start_id
from owui_vault.system import procfs

FAR_AWAY = "tcp://engine.example:2375"


def test_an_engine_far_away_has_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_A_CONTAINER", (tmp_path / ".dockerenv",))
    assert daemon_start_id(FAR_AWAY) == ""


def test_from_inside_a_container_our_own_first_process_is_the_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its engine, and comes back with another start time."""
    (tmp_path / ".dockerenv").touch()
    monkeypatch.setattr(module, "_IN_A_CONTAINER", (tmp_path / ".dockerenv",))
    assert daemon_start_id(FAR_AWAY) == f"{procfs.boot_id()}+{procfs.identify(1)}"


def test_a_socket_without_an_engine_of_this_machine_counts_as_one_of_our_own_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Podman has no daemon: its containers live on, and only the machine's own end takes them along."""
    monkeypatch.setattr(module, "_DAEMON", "no-such-program")
    monkeypatch.setattr(module, "_listener", lambda path: 0)
    assert daemon_start_id(f"unix://{tmp_path}/podman.sock") == f"{procfs.boot_id()}+{procfs.identify(1)}"


def test_nobody_at_the_socket_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        daemon_start_id(f"unix://{tmp_path}/nobody.sock")
