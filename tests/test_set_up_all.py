"""The set-up that goes on beside `make test`: waited for, once only, and in nobody's way afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from owui_vault.testing.children import descendants
from owui_vault.testing.quiescer_suite import eventually
from tests.pages import ROOT

PARTS = {
    "tools/engine-matrix": 'while ! [ -e go ]; do sleep 0.02; done; echo "$*" >>brought',
    "tools/engine-up": "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $! >daemon",
    "tools/build-test-images": "echo image >>brought",
    "tools/build-sidecar-images": "echo sidecar >>brought",
    "bin/apt-get": "exit 0",
    "bin/dpkg-query": "echo install ok installed",
    "bin/id": "echo 0",
}


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    for name, script in PARTS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    shutil.copy2(ROOT / "tools" / "set-up-all", tmp_path / "tools")
    yield tmp_path
    if (tmp_path / "daemon").exists():
        os.kill(int((tmp_path / "daemon").read_text()), signal.SIGKILL)


def set_up(clone: Path, *arguments: str, required: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{clone / 'bin'}:{os.environ['PATH']}"} | ({"REQUIRE": "all"} if required else {})
    argv = [str(clone / "tools/set-up-all"), *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_second_call_waits_for_the_work_beside_and_a_daemon_keeps_nobody(clone: Path) -> None:
    assert set_up(clone, "--beside").returncode == 0
    assert not (clone / "brought").exists() or "--suites" not in (clone / "brought").read_text()
    waiting = subprocess.Popen([clone / "tools/set-up-all"], env={"PATH": f"{clone / 'bin'}:{os.environ['PATH']}"})
    assert eventually(lambda: "flock" in programs_below(waiting.pid)), "the work beside does not hold the lock"
    (clone / "go").touch()
    assert waiting.wait(60) == 0
    brought = ["--suites", "--pypi", "image", "sidecar"] * 2
    assert sorted((clone / "brought").read_text().splitlines()) == sorted(brought)
    assert "Docker engine and images: status 0" in (clone / ".cache/set-up-all.log").read_text()
    assert set_up(clone).returncode == 0, "the engine that was started holds the lock"


def programs_below(pid: int) -> list[str]:
    names = []
    for child in descendants(pid):
        with suppress(OSError):  # it has ended
            names.append(Path(f"/proc/{child}/comm").read_text().strip())
    return names


@pytest.mark.parametrize("required", [True, False])
def test_what_cannot_be_had_is_named_and_an_error_where_all_is_required(clone: Path, required: bool) -> None:
    (clone / "go").touch()
    (clone / "tools/build-test-images").write_text("#!/bin/sh\necho no archive today; exit 1\n")
    done = set_up(clone, required=required)
    assert "no archive today" in done.stdout
    assert "not here, so the tests that need it are skipped: Docker engine and images" in done.stdout
    assert done.returncode == (1 if required else 0)
