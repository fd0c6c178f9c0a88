"""Units under a real systemd: a container is its machine, once with the old control groups and once with the new."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from owui_vault.testing.quiescer_suite import eventually

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).parent / "inside"
CLAIMS = {
    "quiet": (INSIDE / "unit_claims.py",),
    "pauses": (INSIDE / "unit_claims.py", "-m", "not doubled"),
    "in place": (INSIDE / "restore_claims.py",),
}
RIGHTS = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
# With the engine's own hierarchy systemd has no freezer; on a pure v2 one, which needs no controllers, it has.
HIERARCHIES = {
    "hybrid": ("--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup"),
    "unified": ("--cgroupns=private",),
}
INIT = {"hybrid": "exec /sbin/init", "unified": "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /sbin/init"}


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


# Between two claims: no unit of theirs, no process (a guardian looks for some seconds more), no file.
CLEANED = """if True:
    import os, pathlib, shutil, signal, subprocess, sys
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            ours = entry.joinpath("cmdline").read_bytes().startswith(sys.executable.encode() + b"\\0")
        except OSError:
            continue  # it has ended meanwhile
        if ours and int(entry.name) != os.getpid():
            os.kill(int(entry.name), signal.SIGKILL)
    units = [each for each in pathlib.Path("/run/systemd/system").glob("*.*") if each.is_file()]
    if units:
        subprocess.run(["systemctl", "stop", *(each.name for each in units)], check=False)
    for each in units:
        each.unlink()
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "reset-failed"], check=True)
    shutil.rmtree("/tmp/pytest-of-root", ignore_errors=True)
"""


@pytest.fixture(scope="module")
def booted(request: pytest.FixtureRequest, image: str) -> Iterator[tuple[str, str]]:
    """A container with systemd as its first process, and this Python and checkout at their own places."""
    hierarchy: str = request.param
    if hierarchy == "hybrid" and Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("this machine has the new control groups only")
    name = f"owui-vault-{uuid.uuid4().hex[:8]}"
    places = {str(ROOT), sys.prefix, sys.base_prefix} - {"/usr", "/usr/local"}
    volumes = [f"--volume={place}:{place}" for place in sorted(places)]
    options = (*RIGHTS, *HIERARCHIES[hierarchy], "--tmpfs=/run", "--tmpfs=/tmp:exec", *volumes, "--no-healthcheck")
    command = (*options, image, "sh", "-c", INIT[hierarchy])
    started = docker("run", "--detach", f"--name={name}", *command)
    assert started.returncode == 0, started.stderr
    try:
        running = ("exec", name, "systemctl", "is-system-running")
        assert eventually(lambda: docker(*running).stdout == "running\n", 60), docker("logs", name).stderr
        yield name, hierarchy
    finally:
        docker("rm", "--force", "--volumes", name)


@pytest.fixture
def machine(booted: tuple[str, str]) -> tuple[str, str]:
    """That container as it was when it had booted, whatever was claimed in it before."""
    name, _ = booted
    cleaned = docker("exec", name, sys.executable, "-c", CLEANED)
    assert cleaned.returncode == 0, cleaned.stderr
    assert eventually(lambda: docker("exec", name, "systemctl", "is-system-running").stdout == "running\n", 60)
    return booted


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(900)  # fifty claims, each with units of its own
@pytest.mark.parametrize(
    ("booted", "claimed"),
    [
        ("unified", "quiet"),
        ("unified", "in place"),
        ("hybrid", "pauses"),
        # Stops and starts are the same with either kind of control groups.
        pytest.param("hybrid", "quiet", marks=pytest.mark.rare),
        pytest.param("hybrid", "in place", marks=pytest.mark.rare),
    ],
    indirect=["booted"],
    scope="module",
)
def test_units_under_a_real_systemd(machine: tuple[str, str], claimed: str) -> None:
    name, hierarchy = machine
    passed_on = {key: value for key, value in os.environ.items() if key.startswith(("OWUI_VAULT_", "REQUIRE"))}
    settings = {"HIERARCHY": hierarchy, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT), **passed_on}
    environment = [f"--env={key}={value}" for key, value in settings.items()]
    run = [sys.executable, "-m"]
    if (ROOT / ".cache" / "coverage-in-children").exists():
        files = (f"--data-file={ROOT}/.coverage", f"--source={ROOT}/owui_vault")
        run += ["coverage", "run", "--parallel-mode", *files, "-m"]
    claims = [
        *run,
        "pytest",
        "-q",
        "-x",
        "--durations=12",
        "-p",
        "no:cacheprovider",
        f"--confcutdir={ROOT}/tests",
        *map(str, CLAIMS[claimed]),
    ]
    done = docker("exec", f"--workdir={ROOT}", *environment, name, *claims)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
