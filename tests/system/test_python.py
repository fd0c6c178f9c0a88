"""Which Python runs our own programs, also inside a program that embeds one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from owui_vault.errors import ProgramMissingError
from owui_vault.system.python import PACKAGE, environment, interpreter, module_environment

EMBEDDED = """
import sys
sys.path.insert(0, sys.argv[1])
sys.executable = sys.argv[2]
from pathlib import Path
from owui_vault import CaptureLimits, DataDirectory, Limits, Quiesce, Repository, Secret, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance

folder = Path(sys.argv[3])
make_small_instance(folder / "data")
vault = Vault(
    DataDirectory(folder / "data"),
    [Repository("one", DirectoryEngine(folder / "repository", Secret("x")))],
    quiescer=FakeQuiescer(folder),
    state_dir=folder / "state",
    limits=Limits(capture=CaptureLimits(reserve_bytes=0)),
)
vault.initialize()
report = vault.snapshot(quiesce=Quiesce.PAUSE)
print(report.outcome.value, report.proof.mode.value)
"""


@pytest.mark.parametrize("name", ["host", "python-host", ""])
def test_an_embedding_program_is_never_started_in_place_of_python(tmp_path: Path, name: str) -> None:
    """A whole snapshot with a pause: probe, capture, guardian."""
    host, called = tmp_path / (name or "unused"), tmp_path / "called"
    host.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    host.chmod(0o755)
    argv = [sys.executable, "-c", EMBEDDED, str(PACKAGE.parent), str(host) if name else "", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not called.exists(), called.read_text()
    assert done.stdout == "complete pause\n", done.stderr


def test_where_there_is_no_interpreter_an_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("executable", "exec_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, name, "/usr/sbin/uwsgi")
    with pytest.raises(ProgramMissingError, match="no Python interpreter") as raised:
        interpreter()
    assert f"python{sys.version_info.major}.{sys.version_info.minor}" in str(raised.value.hint)


def test_what_needs_the_standard_library_only_is_run_by_any_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("executable", "exec_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, name, "/nowhere")
    (tmp_path / "python3").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreter(any_version=True) == str(tmp_path / "python3")


def test_nothing_is_inherited_but_where_python_finds_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/usr/lib/host")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    assert environment() == {"LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": "/opt/python/lib"}
    assert module_environment().keys() == {*environment(), "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert environment() == {"LC_ALL": "C.UTF-8"}


def test_this_module_alone_decides() -> None:
    own = Path("system/python.py")
    asking = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "sys.executable" in path.read_text()]
    assert [os.fspath(path) for path in asking if path != own] == []
