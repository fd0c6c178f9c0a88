"""The units of docs/systemd.md, as they stand, under a real systemd: they are accepted, run, and bring back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pages import ROOT, blocks
from tests.quiesce.conftest import image  # noqa: F401  a fixture: pytest looks for it here
from tests.quiesce.test_systemd import booted, machine  # noqa: F401  likewise

PAGE = ROOT / "docs" / "systemd.md"
PROGRAM = f"""\
#!/bin/sh
export PYTHONPATH={ROOT} PYTHONDONTWRITEBYTECODE=1
exec {sys.executable} -m owui_vault "$@"
"""
CONFIGURATION = """\
instance:
  data_dir: /run/open-webui/data
  systemd_unit: open-webui.service
repositories:
  nas:
    engine: restic
    location: /run/repository
    passphrase: {file: /etc/owui-vault/nas.pass}
    keep: {last: 1}
"""
INSTANCE = "[Service]\nExecStart=/bin/sleep infinity\n"


class Machine:
    """Where the units run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def type(self, *words: str, given: bytes = b"", status: int = 0) -> str:
        argv = ["docker", "exec", "--interactive", self.name, *words]
        done = subprocess.run(argv, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == status, (words, done.stdout.decode())
        return done.stdout.decode()

    def write(self, path: str, content: bytes, mode: str = "644") -> None:
        self.type("install", "-D", f"--mode={mode}", "/dev/stdin", path, given=content)

    def put(self, folder: Path, target: str) -> None:
        packed = subprocess.run(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
        self.type("mkdir", "-p", target)
        self.type("tar", "-C", target, "-x", given=packed)

    def ours(self, *words: str) -> str:
        return self.type("/opt/owui-vault/bin/owui-vault", *words)


@pytest.fixture
def prepared(
    machine: tuple[str, str],  # noqa: F811  the fixture of that name
    own_restic: Path,
    small_instance: Callable[[Path], Path],
    tmp_path: Path,
) -> Machine:
    there = Machine(machine[0])
    there.write("/usr/bin/restic", own_restic.read_bytes(), "755")
    there.write("/opt/owui-vault/bin/owui-vault", PROGRAM.encode(), "755")
    there.write("/etc/owui-vault/vault.yaml", CONFIGURATION.encode())
    there.write("/etc/owui-vault/nas.pass", b"correct horse battery staple", "600")
    there.put(small_instance(tmp_path / "instance"), "/run/open-webui/data")
    there.write("/etc/systemd/system/open-webui.service", INSTANCE.encode())
    for block in blocks(PAGE, "ini"):
        (path,) = re.findall(r"^# (/etc/systemd/system/\S+)$", block.text, re.MULTILINE)
        there.write(path, block.text.encode())
    return there


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("booted", ["unified"], indirect=True)
def test_the_units_of_the_page_back_up_prune_and_bring_back(prepared: Machine) -> None:
    units = re.findall(r"^# /etc/systemd/system/(\S+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    verdict = prepared.type("systemd-analyze", "verify", *(f"/etc/systemd/system/{unit}" for unit in units))
    assert not [line for line in verdict.splitlines() if "owui-vault" in line]
    prepared.ours("init")
    for line in (line for block in blocks(PAGE, "console") for line in block.text.splitlines()):
        if line.startswith("$ systemctl"):
            prepared.type(*line.removeprefix("$ ").split())
    prepared.type("systemctl", "start", "owui-vault.service")
    listed = json.loads(prepared.ours("--json", "snapshots"))["snapshots"]
    assert [(each["label"]["outcome"], each["label"]["sequence"]) for each in listed] == [("complete", 2)]
    assert "owui-vault.timer" in prepared.type("systemctl", "list-timers", "--all")
    killed_in_a_stop(prepared)
    prepared.type("systemctl", "start", "owui-vault-recover.service")
    assert prepared.type("systemctl", "is-active", "open-webui.service").strip() == "active"


def killed_in_a_stop(there: Machine) -> None:
    """Everything of ours is killed at once, the guardian too, as by a power cut; the unit stays down."""
    there.type("systemctl", "start", "open-webui.service")
    hold = "owui-vault hold --quiesce stop -- sleep 600"
    there.type("systemd-run", "--unit=holder", "sh", "-c", f"exec /opt/owui-vault/bin/{hold}")
    down = "until [ $(systemctl is-active open-webui.service) = inactive ]; do sleep 0.1; done"
    there.type("timeout", "30", "sh", "-c", down)
    there.type("systemctl", "kill", "--signal=SIGKILL", "--kill-who=all", "holder.service")
    assert there.type("systemctl", "is-active", "open-webui.service", status=3).strip() == "inactive"
