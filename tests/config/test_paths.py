"""Where configuration and state lie by default."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from owui_vault.config import config_candidates, default_state_dir, expand, find_config
from owui_vault.errors import ConfigError


def test_the_nearest_file_wins(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home")}
    here, at_home, system = config_candidates(environ, tmp_path)
    assert system == Path("/etc/owui-vault/vault.yaml")
    at_home.parent.mkdir(parents=True)
    at_home.touch()
    assert find_config(environ, tmp_path) == at_home
    here.touch()
    assert find_config(environ, tmp_path) == here


def test_a_named_file_is_meant_even_if_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "vault.yaml").touch()
    assert find_config({"OWUI_VAULT_CONFIG": "other.yaml"}, tmp_path) == tmp_path / "other.yaml"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_must_be_named(tmp_path: Path) -> None:
    found = tmp_path / "vault.yaml"
    found.touch()
    os.chown(found, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        find_config({"HOME": "/nowhere"}, tmp_path)
    assert f"--config {found}" in caught.value.hint
    assert find_config({"HOME": "/nowhere", "OWUI_VAULT_CONFIG": str(found)}, tmp_path) == found


def test_paths_are_expanded() -> None:
    environ = {"HOME": "/home/ada"}
    folder = Path("/etc/vault")
    root = Path(pwd.getpwuid(0).pw_dir)
    assert expand("a/../b", folder, environ) == Path("/etc/vault/b")
    assert expand("~", folder, environ) == Path("/home/ada")
    assert expand("~/x", folder, environ) == Path("/home/ada/x")
    assert expand("~root/x", folder, environ) == root / "x"
    assert expand("~", folder, {}) == Path(pwd.getpwuid(os.geteuid()).pw_dir)
    with pytest.raises(ConfigError, match="no user"):
        expand("~no-such-user/x", folder, environ)


def test_the_state_of_an_ordinary_user_lies_in_their_home() -> None:
    script = (
        "import os; from owui_vault.config import default_state_dir as place\n"
        "os.geteuid() or os.seteuid(65534)\n"
        "print(place({'HOME': '/h'}), place({'HOME': '/h', 'XDG_STATE_HOME': '/s'}),"
        " place({'HOME': '/h', 'XDG_STATE_HOME': 'relative'}))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["/h/.local/state/owui-vault", "/s/owui-vault", "/h/.local/state/owui-vault"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="what root gets is seen by root only")
def test_the_state_of_root_lies_in_var_lib() -> None:
    assert default_state_dir({"HOME": "/root", "XDG_STATE_HOME": "/s"}) == Path("/var/lib/owui-vault")


def test_importing_settings_costs_neither_yaml_nor_pydantic() -> None:
    script = "import sys, owui_vault.config; print([m for m in ('yaml', 'pydantic') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
