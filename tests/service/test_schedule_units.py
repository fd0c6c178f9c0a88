"""What `schedule install` does with a real systemd: a container is its machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pages import ROOT
from tests.quiesce.conftest import image  # noqa: F401  a fixture: pytest looks for it here
from tests.quiesce.test_systemd import booted, machine  # noqa: F401  likewise
from tests.test_systemd_page import CONFIGURATION, INSTANCE, Machine

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(600)]
PLANS = "plans:\n  often: {schedule: {every: 1h}, prune: false}\n"
CONFIG = "/etc/owui-vault/vault.yaml"
USER = 1000


class Scheduled(Machine):
    """A machine with an instance, a configuration and a repository."""

    def python(self, *words: str, user: int = 0, status: int = 0) -> str:
        environment = [
            f"PYTHONPATH={ROOT}",
            f"HOME={'/home/somebody' if user else '/root'}",
            "PATH=/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE=1",
        ]
        as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        return self.type(*as_user, "env", "-i", *environment, sys.executable, *words, status=status)

    def vault(self, *words: str, config: str = CONFIG, user: int = 0, status: int = 0) -> str:
        return self.python("-m", "owui_vault", "--config", config, *words, user=user, status=status)

    def report(self, *words: str, config: str = CONFIG, user: int = 0, status: int = 0) -> Any:
        return json.loads(self.vault("--json", "schedule", *words, config=config, user=user, status=status))

    def install_for_every_minute(self, config: str = CONFIG, user: int = 0) -> None:
        program = "import sys; from owui_vault import *; install_schedule(sys.argv[1], every_minutes=1)"
        self.python("-c", program, config, user=user)

    def wait_for_a_run(self, state: str) -> None:
        """Asked of the ledger itself: to ask the program for a minute keeps a processor busy."""
        ended = f"until grep --quiet run-ended {state}/instances/*/runs.jsonl 2>/dev/null; do sleep 0.2; done"
        self.type("timeout", "150", "sh", "-c", ended)

    def files(self, folder: str) -> set[str]:
        return set(self.type("find", folder, "-name", "owui-vault*").split())


@pytest.fixture
def scheduled(
    machine: tuple[str, str],  # noqa: F811  the fixture of that name
    own_restic: Path,
    small_instance: Callable[[Path], Path],
    tmp_path: Path,
) -> Scheduled:
    there = Scheduled(machine[0])
    there.write("/usr/bin/restic", own_restic.read_bytes(), "755")
    there.write(CONFIG, (CONFIGURATION + PLANS).encode())
    there.write("/etc/owui-vault/nas.pass", b"correct horse battery staple", "600")
    there.put(small_instance(tmp_path / "instance"), "/run/open-webui/data")
    there.write("/etc/systemd/system/open-webui.service", INSTANCE.encode())
    there.type("rm", "-rf", "/var/lib/owui-vault", "/run/repository")
    there.vault("init")
    return there


@pytest.mark.parametrize("booted", ["unified"], indirect=True)
def test_a_real_systemd_fires_what_is_installed_and_nothing_is_left_of_it(scheduled: Scheduled) -> None:
    before = scheduled.files("/etc/systemd")
    first = scheduled.report("install")
    units = {"owui-vault.service", "owui-vault.timer", "owui-vault-recover.service"}
    (each,) = first["schedules"]
    assert (each["scheduler"], each["current"], each["obstacles"]) == ("systemd", True, [])
    assert {Path(place).name for place in each["places"]} == units
    assert each["fires_next"] is not None
    verdict = scheduled.type("systemd-analyze", "verify", *each["places"])
    assert not [line for line in verdict.splitlines() if "owui-vault" in line]
    assert not scheduled.report("install")["changed"]
    scheduled.install_for_every_minute()
    scheduled.wait_for_a_run("/var/lib/owui-vault")
    assert '"success"' in scheduled.vault("--json", "history")
    shown = scheduled.report("show")
    assert shown["schedules"][0]["fired_last"] is not None
    assert shown["called_last"] is not None
    assert not shown["schedules"][0]["current"], "as another version would have written it"
    scheduled.type("systemctl", "disable", "--now", "owui-vault.timer")
    (each,) = scheduled.report("show", status=5)["schedules"]
    assert ["does not start at boot" in each["obstacles"][0], "does not fire" in each["obstacles"][1]] == [True, True]
    assert scheduled.report("install")["schedules"][0]["obstacles"] == []
    scheduled.type("systemctl", "start", "owui-vault-recover.service")
    assert scheduled.report("remove")["changed"]
    assert scheduled.files("/etc/systemd") == before
    assert "owui-vault" not in scheduled.type("systemctl", "list-units", "--all", "--no-legend")
    assert scheduled.files("/var/lib/systemd") == set()


@pytest.mark.parametrize("booted", ["unified"], indirect=True)
def test_units_of_somebody_else_and_a_credential_that_nobody_hands_over(scheduled: Scheduled) -> None:
    theirs = b"[Service]\nExecStart=/bin/true\n"
    scheduled.write("/etc/systemd/system/owui-vault.service", theirs)
    assert "was not written by" in scheduled.vault("schedule", "install", status=2)
    assert scheduled.type("cat", "/etc/systemd/system/owui-vault.service").encode() == theirs
    assert scheduled.files("/etc/systemd") == {"/etc/systemd/system/owui-vault.service"}
    scheduled.type("rm", "/etc/systemd/system/owui-vault.service")
    text = CONFIGURATION.replace("{file: /etc/owui-vault/nas.pass}", "{credential: nas}") + PLANS
    scheduled.write(CONFIG, text.encode())
    assert "the credential nas" in scheduled.vault("schedule", "install", status=2)
    drop_in = b"[Service]\nLoadCredential=nas:/etc/owui-vault/nas.pass\n"
    scheduled.write("/etc/systemd/system/owui-vault.service.d/secret.conf", drop_in)
    assert scheduled.report("install")["schedules"][0]["obstacles"] == []
    # systemd does so on a machine, and not in a container: a credential is mounted elsewhere, and comes by that.
    scheduled.type("mount", "--make-rshared", "/")
    scheduled.type("systemctl", "daemon-reload")
    scheduled.type("sh", "-c", "systemctl start owui-vault.service || { journalctl -u owui-vault.service; exit 1; }")
    assert '"success"' in scheduled.vault("--json", "history"), "nothing but the credential opens the repository"
    scheduled.type("mount", "--make-rprivate", "/")
    scheduled.write(CONFIG, text.replace("{credential: nas}", "{env: NAS}").encode())
    (told,) = scheduled.report("show", status=5)["schedules"][0]["obstacles"]
    assert "the environment variable NAS will not be set" in told
    drop_in = b'[Service]\nEnvironment="NAS=correct horse battery staple"\n'
    scheduled.write("/etc/systemd/system/owui-vault.service.d/secret.conf", drop_in)
    assert not scheduled.report("install")["changed"]
    scheduled.vault("schedule", "remove")
    scheduled.type("rm", "-r", "/etc/systemd/system/owui-vault.service.d")


@pytest.mark.parametrize("booted", ["unified"], indirect=True)
def test_a_users_own_systemd_and_its_linger(scheduled: Scheduled) -> None:
    """Without a login manager nobody lets it linger, and that is told; with the mark of one it is fine."""
    home = "/home/somebody"
    scheduled.type("sh", "-c", f"id somebody || useradd --create-home --uid {USER} somebody")
    config = f"{home}/vault.yaml"
    text = (
        CONFIGURATION.partition("  systemd_unit")[0] + "repositories:\n" + CONFIGURATION.partition("repositories:\n")[2]
    )
    text = text.replace("/etc/owui-vault", home).replace("/run/repository", f"{home}/repository")
    scheduled.write(config, (text + PLANS).encode())
    scheduled.write(f"{home}/nas.pass", b"correct horse battery staple", "600")
    scheduled.type("chown", "-R", f"{USER}:{USER}", home, "/run/open-webui/data")
    runtime = f"[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/{USER}\n"  # which a login manager would give
    scheduled.write(f"/run/systemd/system/user@{USER}.service.d/runtime.conf", runtime.encode())
    scheduled.type("chmod", "o+x", "/root")  # where this Python may be
    scheduled.type("systemctl", "daemon-reload")
    scheduled.type("systemctl", "start", f"user@{USER}.service")
    try:
        scheduled.vault("init", config=config, user=USER)
        (each,) = scheduled.report("install", config=config, user=USER)["schedules"]
        assert each["user"] == "somebody"
        (told,) = each["obstacles"]
        assert "loginctl enable-linger somebody" in told
        scheduled.type("install", "-D", "/dev/null", "/var/lib/systemd/linger/somebody")
        scheduled.install_for_every_minute(config, USER)
        scheduled.wait_for_a_run(f"{home}/.local/state/owui-vault")
        assert '"success"' in scheduled.vault("--json", "history", config=config, user=USER)
        assert scheduled.report("show", config=config, user=USER)["schedules"][0]["obstacles"] == []
        assert scheduled.report("remove", config=config, user=USER)["changed"]
        assert scheduled.files(home) == {f"{home}/.local/state/owui-vault"}
    finally:
        scheduled.type("systemctl", "stop", f"user@{USER}.service")
