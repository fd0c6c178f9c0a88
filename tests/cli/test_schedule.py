"""What `schedule` installs: a real cron fires it, and all else of a machine stays as it was.

Each test has file systems and processes of its own: what cron reads and writes there is nobody else's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
pytestmark = [pytest.mark.slow, pytest.mark.root]

PLANS = """\
plans:
  often: {schedule: {every: 1h}, prune: false}
"""
#: cron's own folders, and the one by which systemd is recognised.
SETTING = """\
for folder in /run /etc/cron.d /var/spool/cron/crontabs; do mount -t tmpfs none $folder || exit 1; done
chmod 1730 /var/spool/cron/crontabs && chgrp crontab /var/spool/cron/crontabs
echo ready && exec sleep infinity
"""


class Machine:
    """Where cron is ours alone."""

    def __init__(self, pid: int, config: Path) -> None:
        self.pid = pid
        self.config = config

    def argv(self, *words: str) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", *words]

    def type(self, *words: str, status: int = 0, given: bytes = b"", user: tuple[str, ...] = ()) -> bytes:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            self.argv(*user, *words),
            input=given,
            capture_output=True,
            cwd="/",
            env=environment,
            timeout=90,
            check=False,
        )
        assert done.returncode == status, (words, done.stdout.decode(), done.stderr.decode())
        return done.stdout if status == 0 else done.stdout + done.stderr

    def ours(self, *words: str, status: int = 0, user: tuple[str, ...] = ()) -> str:
        argv = (sys.executable, "-m", "owui_vault", "--config", str(self.config), *words)
        return self.type(*argv, status=status, user=user).decode()

    def report(self, *words: str, status: int = 0, user: tuple[str, ...] = ()) -> Any:
        return json.loads(self.ours("--json", "schedule", *words, status=status, user=user))

    def install_for_every_minute(self, user: tuple[str, ...] = ()) -> None:
        program = "import sys; from owui_vault import *; install_schedule(sys.argv[1], Scheduler.CRON, every_minutes=1)"
        self.type(sys.executable, "-c", program, str(self.config), user=user)

    def start_cron(self) -> None:
        self.type("cron")


@pytest.fixture
def folder(prepared: Path, own_restic: Path) -> Iterator[Path]:
    """A copy of `prepared` that any user can be given: pytest closes its own folders whenever it starts somewhere."""
    with tempfile.TemporaryDirectory(prefix="owui-vault-schedule-") as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer, "vault")
        shutil.copytree(prepared, folder, symlinks=True)
        shutil.copy(own_restic, folder / "restic")
        config = folder / "vault.yaml"
        config.write_text(config.read_text().replace(str(own_restic), str(folder / "restic")) + PLANS)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    if shutil.which("cron") is None:
        pytest.skip("there is no cron here (apt install cron)")
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SETTING]
    with subprocess.Popen(unshare, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            (child,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            yield Machine(int(child), folder / "vault.yaml")
        finally:
            holder.kill()


def given_to_nobody(machine: Machine) -> None:
    subprocess.run(["chown", "-R", "65534:65534", machine.config.parent], check=True)


def wait_for(what: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.2)


def runs(machine: Machine, user: tuple[str, ...]) -> list[tuple[str, str]]:
    listed = json.loads(machine.ours("--json", "history", user=user))["runs"]
    return [(each["plan"], each["outcome"]) for each in listed]


@pytest.mark.thorough
@pytest.mark.parametrize("user", [(), NOBODY], ids=["root", "user"])
def test_a_real_cron_fires_what_is_installed_and_nothing_is_left_of_it(machine: Machine, user: tuple[str, ...]) -> None:
    if user:
        given_to_nobody(machine)
    machine.install_for_every_minute(user)
    machine.start_cron()
    ledger = machine.config.parent / "state/instances/open-webui/runs.jsonl"
    wait_for(lambda: ledger.exists() and '"run-ended"' in ledger.read_text(), 150)
    assert runs(machine, user) == [("often", "success")], ledger.read_text()
    shown = machine.report("show", user=user)
    (each,) = shown["schedules"]
    assert each["obstacles"] == []
    assert each["fires_next"] is not None
    assert shown["called_last"] is not None
    assert machine.report("remove", user=user)["changed"]
    assert machine.type("sh", "-c", "ls /etc/cron.d /var/spool/cron/crontabs").decode().split() == [
        "/etc/cron.d:",
        "/var/spool/cron/crontabs:",
    ]
    assert machine.report("show", user=user)["schedules"] == []


def test_it_is_installed_once_brought_up_to_date_and_removed(machine: Machine) -> None:
    assert "no cron daemon is running" in machine.ours("schedule", "install", status=2)
    machine.start_cron()
    first = machine.report("install")
    assert first["changed"]
    (each,) = first["schedules"]
    assert (each["scheduler"], each["current"], each["places"]) == ("cron", True, ["/etc/cron.d/owui-vault"])
    content = machine.type("cat", "/etc/cron.d/owui-vault").decode()
    assert f"--config {machine.config} run\n" in content
    assert "@reboot root " in content
    assert not machine.report("install")["changed"]
    assert "Installed already; nothing was changed." in machine.ours("schedule", "install")
    machine.install_for_every_minute()  # stands for what another version wrote
    (each,) = machine.report("show")["schedules"]
    assert not each["current"]
    assert machine.report("install")["changed"]
    assert machine.type("cat", "/etc/cron.d/owui-vault").decode() == content
    assert "Removed from cron: /etc/cron.d/owui-vault" in machine.ours("schedule", "remove")
    assert "nothing was changed" in machine.ours("schedule", "remove")


def test_what_somebody_else_wrote_stays_as_it_is(machine: Machine) -> None:
    machine.start_cron()
    theirs = b"0 3 * * * root owui-vault snapshot\n"
    machine.type("tee", "/etc/cron.d/owui-vault", given=theirs)
    assert "was not written by `owui-vault schedule`" in machine.ours("schedule", "install", status=2)
    assert not machine.report("remove")["changed"]
    assert machine.type("cat", "/etc/cron.d/owui-vault") == theirs
    other = machine.config.with_name("other.yaml")
    shutil.copy(machine.config, other)
    machine.type("rm", "/etc/cron.d/owui-vault")
    machine.ours("schedule", "install")
    said = Machine(machine.pid, other).ours("schedule", "install", status=2)
    assert f"calls {machine.config}" in said
    other.write_text(other.read_text().replace("data_dir: data", "data_dir: data, name: second.one"))
    assert Machine(machine.pid, other).report("install")["schedules"][0]["places"] == [
        "/etc/cron.d/owui-vault_second_one"
    ]
    other.unlink()
    (each,) = Machine(machine.pid, other).report("show", status=5)["schedules"]
    assert "other.yaml" in each["obstacles"][0]
    assert Machine(machine.pid, other).report("remove")["changed"]
    assert len(machine.report("show")["schedules"]) == 1


def test_of_a_users_crontab_only_the_own_lines_are_touched(machine: Machine) -> None:
    given_to_nobody(machine)
    machine.start_cron()
    theirs = b"# mine \xff\xfe\nMAILTO=me\n\n5 4 * * * echo 100\\% >/dev/null\n"
    machine.type("crontab", "-", given=theirs, user=NOBODY)
    assert machine.report("install", user=NOBODY)["changed"]
    between = machine.type("crontab", "-l", user=NOBODY)
    assert between.startswith(theirs)
    assert b"@reboot" in between
    assert not machine.report("install", user=NOBODY)["changed"]
    assert machine.type("crontab", "-l", user=NOBODY) == between
    machine.type("crontab", "-", given=between + b"0 0 * * * true\n", user=NOBODY)
    machine.ours("schedule", "remove", user=NOBODY)
    assert machine.type("crontab", "-l", user=NOBODY) == theirs + b"0 0 * * * true\n"
    machine.type("crontab", "-", given=between.rpartition(b"# owui-vault")[0], user=NOBODY)
    assert "a line that ends a block" in machine.ours("schedule", "install", status=2, user=NOBODY)
    machine.type("crontab", "-", given=b"# from elsewhere\r\n", user=NOBODY)
    assert "carriage return" in machine.ours("schedule", "install", status=2, user=NOBODY)
    assert machine.type("cat", "/var/spool/cron/crontabs/nobody").endswith(b"# from elsewhere\r\n")


def test_everything_that_a_scheduler_would_lack_is_named_before_anything_is_written(machine: Machine) -> None:
    machine.start_cron()
    text = machine.config.read_text()
    secrets = """{file: nowhere}, environment: {A: {env: A_KEY}, B: "${B_KEY}", C: {command: [no-such-program, x]}}"""
    machine.config.write_text(text.replace("{file: pass}", secrets))
    environment = {**os.environ, "A_KEY": "a", "B_KEY": "b", "PYTHONPATH": str(ROOT)}
    argv = (sys.executable, "-m", "owui_vault", "--config", str(machine.config), "schedule", "install")
    done = subprocess.run(machine.argv(*argv), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for missing in ("A_KEY", "B_KEY", f"{machine.config.parent}/nowhere", "no-such-program"):
        assert missing in done.stderr
    machine.config.write_text(text.replace("plans:", "# plans:").replace("  often", "#"))
    assert "no plan is configured" in machine.ours("schedule", "install", status=2)
    assert machine.type("ls", "/etc/cron.d") == b""


def test_what_keeps_it_from_firing_is_told(machine: Machine) -> None:
    machine.start_cron()
    assert "No schedule is installed" in machine.ours("schedule", "show")
    machine.ours("schedule", "install")
    machine.type("chmod", "666", "/etc/cron.d/owui-vault")
    machine.type("sh", "-c", "sed -i 's, exec [^ ]*, exec /gone/python,' /etc/cron.d/owui-vault")
    machine.type("sh", "-c", "kill $(cat /run/crond.pid)")
    machine.config.chmod(0o666)
    (each,) = machine.report("show", status=5)["schedules"]
    told = "\n".join(each["obstacles"])
    for reason in ("no cron daemon is running", "others can write it", "/gone/python is gone", str(machine.config)):
        assert reason in told
    assert each["fires_next"] is None
    assert "NOT RUNNING" in machine.ours("schedule", "show", status=5)
