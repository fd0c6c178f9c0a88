"""What surrounds a vault is what it was told, and not what surrounds this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from owui_vault import Container, InstanceNotFoundError, Vault, open_vault
from owui_vault.instance.container import container


def test_the_engine_of_containers_is_looked_for_where_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def find(_name: str, addresses: Sequence[str]) -> None:
        asked.append(addresses)
        raise InstanceNotFoundError("there is none")

    monkeypatch.setattr(container, "find_container", find)
    monkeypatch.setenv("DOCKER_HOST", "unix:///of/this/process.sock")
    file = tmp_path / "vault.yaml"
    file.write_text("state_dir: state\ninstance: {container: open-webui}\n")
    file.chmod(0o600)
    for vault in (
        open_vault(file, environ={"DOCKER_HOST": "", "HOME": "/nowhere"}),
        Vault(Container("open-webui"), [], state_dir=tmp_path / "state", environ={}),
        Vault(Container("open-webui"), [], state_dir=tmp_path / "state"),
        open_vault(file, environ={"DOCKER_HOST": "unix:///as/said.sock"}),
    ):
        with pytest.raises(InstanceNotFoundError):
            vault.inspect()
    this_process = "unix:///of/this/process.sock"
    assert [this_process in addresses for addresses in asked] == [False, False, True, False]
    assert asked[3] == ("unix:///as/said.sock",)


def test_the_state_lies_where_the_surroundings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/of/this/process")
    vault = Vault(None, [], environ={"XDG_STATE_HOME": "/as/said"})
    assert vault._context.state.root == Path("/as/said/owui-vault")


def test_a_vault_says_what_it_was_given() -> None:
    instance = Container("open-webui")
    assert Vault(instance, [], environ={}).instance is instance
    assert Vault(None, [], environ={}).instance is None
