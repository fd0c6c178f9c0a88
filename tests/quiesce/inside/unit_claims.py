"""Claims about units, made inside a container whose first process is a real systemd.

`test_systemd.py` starts it and runs this file there, where no other part of the tests is needed.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owui_vault.errors import InstanceNotFoundError, QuiesceError, ResumeError
from owui_vault.guardian.bounded_hold import recover
from owui_vault.guardian.journal import Journal
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce import freezer, systemctl
from owui_vault.quiesce.systemd import UnitQuiescer, UnitRescue
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.lock import directory_lock
from owui_vault.testing.quiescer_suite import QuiescerSuite, Subject, eventually, run_rescue, soon, writes_on

UNITS = Path("/run/systemd/system")
PROGRAMS = Path(__file__).parents[1] / "programs"
SOAK = float(os.environ.get("OWUI_VAULT_SOAK", "0.1"))
RANDOM = random.Random(int(os.environ.get("OWUI_VAULT_SEED", "0")))
# How many in full, and how soon it has to run again: with the machine for itself, as in make soak, or beside others.
KILLS = {Quiesce.PAUSE: (50, 2.0 if SOAK >= 1 else 5.0), Quiesce.STOP: (20, 15.0)}
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.environ["PATH"]}
#: A pause is another one with each kind of control groups. Stops, starts and refusals are the same: `doubled`.
STOP = pytest.param(Quiesce.STOP, marks=pytest.mark.doubled)
FREEZER = os.environ["HIERARCHY"] == "unified"


def systemctl_by_hand(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], check=False, stderr=subprocess.DEVNULL)


def write_unit(name: str, service: str, unit: str = "") -> None:
    UNITS.mkdir(exist_ok=True)
    kind = {"service": "Service", "socket": "Socket"}[name.rpartition(".")[2]]
    (UNITS / name).write_text(f"[Unit]\n{unit}\n[{kind}]\n{service}\n")
    systemctl_by_hand("daemon-reload")


class Service(Subject):
    """`family.py` as a unit."""

    name = "family.service"

    def __init__(self, folder: Path, extra: str = "", unit: str = "") -> None:
        self.folder = folder
        start = f"ExecStart={sys.executable} {PROGRAMS / 'family.py'} {folder / 'family'}"
        write_unit(self.name, f"{start}\n{extra}", unit)
        self.start()

    def quiescer(self) -> UnitQuiescer:
        return UnitQuiescer(self.name)

    def writes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("family.*") if path.suffix != ".pid")

    def members(self) -> frozenset[procfs.ProcessIdentity]:
        return systemctl.show(self.name).members()

    def pause(self) -> None:
        systemctl_by_hand("kill", "--signal=STOP", self.name)
        assert eventually(lambda: freezer.stopped_among(self.members()) == self.members())

    def wake(self) -> None:
        systemctl_by_hand("thaw", self.name)
        systemctl_by_hand("kill", "--signal=CONT", self.name)
        assert eventually(lambda: not freezer.stopped_among(self.members()))

    def stop(self) -> None:
        self.wake()
        systemctl_by_hand("stop", self.name)

    def start(self) -> None:
        (self.folder / "family.pid").unlink(missing_ok=True)
        systemctl_by_hand("reset-failed", self.name)
        systemctl_by_hand("start", self.name)
        assert eventually((self.folder / "family.pid").exists)

    def state(self) -> InstanceState:
        return self.quiescer().observe().state


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    subject = Service(tmp_path)
    try:
        yield subject
    finally:
        subject.stop()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def build(**options: str) -> Service:
        made.append(Service(tmp_path, **options))
        return made[-1]

    yield build
    for each in made:
        each.stop()


class TestUnit(QuiescerSuite):
    @pytest.fixture
    def subject(self, service: Service) -> Subject:
        return service


def test_the_kernels_freezer_is_used_where_systemd_offers_it(service: Service) -> None:
    quiescer = service.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    assert systemctl.show(service.name).frozen is FREEZER
    assert (len(freezer.stopped_among(service.members())) == 3) is not FREEZER
    quiescer.resume(Quiesce.PAUSE, soon())


def test_what_the_user_had_stopped_stays_stopped(service: Service) -> None:
    left = max(service.members())
    os.kill(left.pid, 19)
    assert eventually(lambda: procfs.stopped(left))
    quiescer = service.quiescer()
    assert quiescer.observe().state is InstanceState.RUNNING
    command = quiescer.rescue_command(Quiesce.PAUSE)
    for bring_back in (lambda: quiescer.resume(Quiesce.PAUSE, soon()), lambda: run_rescue(command)):
        quiescer.quiesce(Quiesce.PAUSE, soon())
        bring_back()
        assert freezer.stopped_among(service.members()) == {left}
        quiescer.resume(Quiesce.PAUSE, soon())


def test_a_nap_in_the_middle_of_a_freeze_is_seen(service: Service) -> None:
    """Thawed and frozen again by somebody else, all looks as before; only the threads tell that they ran."""
    quiescer = service.quiescer()
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    for _ in range(3):
        quiescer.confirm(Quiesce.PAUSE, since)
        time.sleep(0.05)
    if FREEZER:
        systemctl_by_hand("thaw", service.name)
        time.sleep(0.1)
        systemctl_by_hand("freeze", service.name)
        assert eventually(lambda: quiescer.observe().state is InstanceState.PAUSED)
    else:
        service.wake()
        service.pause()
    with pytest.raises(QuiesceError):
        quiescer.confirm(Quiesce.PAUSE, since)
    quiescer.resume(Quiesce.PAUSE, soon())
    assert service.state() is InstanceState.RUNNING


def test_a_freeze_by_hand_is_seen(service: Service) -> None:
    if not FREEZER:
        return  # systemd refuses: nothing to see
    systemctl_by_hand("freeze", service.name)
    assert service.state() is InstanceState.PAUSED
    service.wake()
    assert service.state() is InstanceState.RUNNING


@pytest.mark.doubled
def test_a_missing_unit_is_named() -> None:
    quiescer = UnitQuiescer("nowhere")
    assert quiescer.name == "unit nowhere.service"
    with pytest.raises(InstanceNotFoundError, match="nowhere"):
        quiescer.observe()


@pytest.mark.parametrize("mode", [Quiesce.PAUSE, STOP])
def test_a_unit_on_its_way_up_is_refused(mode: Quiesce) -> None:
    write_unit("slow.service", "ExecStartPre=/bin/sleep 60\nExecStart=/bin/sleep 60")
    systemctl_by_hand("start", "--no-block", "slow.service")
    try:
        quiescer = UnitQuiescer("slow.service")
        assert eventually(lambda: systemctl.show("slow.service").active == "activating")
        assert quiescer.observe().state is InstanceState.RUNNING
        with pytest.raises(QuiesceError, match="activating"):
            quiescer.quiesce(mode, soon())
        assert systemctl.show("slow.service").active == "activating"
    finally:
        systemctl_by_hand("stop", "slow.service")


@pytest.mark.doubled
def test_a_unit_that_was_stopped_and_run_by_somebody_else_is_not_ours_to_start(service: Service) -> None:
    command = service.quiescer().rescue_command(Quiesce.STOP)
    service.stop()
    service.start()
    # Referred to by nobody, a stopped unit is forgotten by systemd, and its invocation with it; an enabled one is not.
    write_unit("keeper.service", "ExecStart=/bin/sleep 600", f"After={service.name}\nWants={service.name}")
    systemctl_by_hand("start", "keeper.service")
    service.stop()
    assert run_rescue(command) == 0
    assert service.state() is InstanceState.STOPPED
    systemctl_by_hand("stop", "keeper.service")


@pytest.mark.doubled
def test_after_another_boot_a_stopped_unit_is_started_and_no_old_process_is_minded(service: Service) -> None:
    service.stop()
    leave = frozenset({procfs.ProcessIdentity(1, 1)})
    UnitRescue(name=service.name, mode=Quiesce.PAUSE, boot="another", invocation="x", leave=leave).run(soon())
    assert service.state() is InstanceState.STOPPED
    UnitRescue(name=service.name, mode=Quiesce.STOP, boot="another", invocation="").run(soon())
    assert service.state() is InstanceState.RUNNING


@pytest.mark.doubled
def test_what_requires_the_unit_comes_back_with_it(service: Service) -> None:
    write_unit("front.service", "ExecStart=/bin/sleep 600", f"Requires={service.name}\nAfter={service.name}")
    write_unit("idle.service", "ExecStart=/bin/sleep 600", f"Requires={service.name}\nAfter={service.name}")
    systemctl_by_hand("start", "front.service")
    quiescer = service.quiescer()
    command = quiescer.rescue_command(Quiesce.STOP)
    assert "--with=front.service" in command
    for bring_back in (lambda: quiescer.resume(Quiesce.STOP, soon()), lambda: run_rescue(command)):
        quiescer.quiesce(Quiesce.STOP, soon())
        assert systemctl.show("front.service").active == "inactive"
        bring_back()
        assert systemctl.show("front.service").active == "active"
        assert systemctl.show("idle.service").active == "inactive"
    systemctl_by_hand("stop", "front.service")
    for name in ("front.service", "idle.service"):
        (UNITS / name).unlink()
    systemctl_by_hand("daemon-reload")


@pytest.mark.doubled
def test_a_socket_cannot_wake_what_was_stopped_and_listens_again_afterwards(
    make: Callable[..., Service], tmp_path: Path
) -> None:
    address = tmp_path / "socket"
    write_unit("family.socket", f"ListenStream={address}")
    service = make()
    systemctl_by_hand("stop", service.name)
    systemctl_by_hand("start", "family.socket")
    service.start()
    quiescer = service.quiescer()
    try:
        quiescer.quiesce(Quiesce.STOP, soon())
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match=r"refused|No such file"):
            client.connect(str(address))
        quiescer.confirm(Quiesce.STOP, quiescer.observe())
        quiescer.resume(Quiesce.STOP, soon())
        assert systemctl.show("family.socket").active == "active"
        assert writes_on(service)
        systemctl_by_hand("stop", "family.socket")  # as a run leaves it that is killed between the two
        assert run_rescue(quiescer.rescue_command(Quiesce.STOP)) == 0
        assert systemctl.show("family.socket").active == "inactive", "it was down when that rescue was asked for"
        assert run_rescue((*quiescer.rescue_command(Quiesce.STOP), "--with=family.socket")) == 0
        assert systemctl.show("family.socket").active == "active"
        assert writes_on(service)
    finally:
        systemctl_by_hand("stop", "family.socket")
        (UNITS / "family.socket").unlink()


@pytest.mark.doubled
def test_a_restart_policy_does_not_fight_a_stop(make: Callable[..., Service]) -> None:
    service = make(extra="Restart=always\nRestartSec=0")
    quiescer = service.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    time.sleep(0.3)
    quiescer.confirm(Quiesce.STOP, quiescer.observe())
    quiescer.resume(Quiesce.STOP, soon())
    assert writes_on(service)


@pytest.mark.doubled
def test_starts_are_not_counted_against_us(make: Callable[..., Service]) -> None:
    service = make(unit="StartLimitIntervalSec=600\nStartLimitBurst=2")
    quiescer = service.quiescer()
    up = service.folder / "family.pid"
    for _ in range(4):  # how long each takes is no part of the claim
        quiescer.quiesce(Quiesce.STOP, soon(60))
        up.unlink()
        quiescer.resume(Quiesce.STOP, soon(60))
        # a child that is born while all are told to end is not told: systemd would wait for it for a minute and a half
        assert eventually(up.exists, 60)
    assert writes_on(service, 60)


@pytest.mark.doubled
def test_a_stop_that_needs_a_kill_is_logged(make: Callable[..., Service], caplog: pytest.LogCaptureFixture) -> None:
    service = make(extra="KillSignal=SIGCHLD\nTimeoutStopSec=1")
    quiescer = service.quiescer()
    with caplog.at_level(logging.WARNING):
        quiescer.quiesce(Quiesce.STOP, soon())
    assert "had to be killed" in caplog.text
    quiescer.resume(Quiesce.STOP, soon())
    assert writes_on(service)


@pytest.mark.doubled
def test_a_stop_that_takes_too_long_is_undone(make: Callable[..., Service]) -> None:
    service = make(extra="KillSignal=SIGCHLD\nTimeoutStopSec=3")
    with pytest.raises(QuiesceError, match="in time"):
        service.quiescer().quiesce(Quiesce.STOP, soon(1))
    assert service.state() is InstanceState.RUNNING
    assert writes_on(service)


@pytest.mark.doubled
def test_a_unit_that_does_not_come_up_is_told(make: Callable[..., Service], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    service = make(extra=f"ExecStartPre=/usr/bin/test -e {gate}")
    quiescer = service.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    gate.unlink()
    with pytest.raises(ResumeError, match="did not come back up"):
        quiescer.resume(Quiesce.STOP, soon(2))
    quiescer.quiesce(Quiesce.STOP, soon())  # as an in-place restore does that leads back
    gate.touch()
    quiescer.resume(Quiesce.STOP, soon())
    assert writes_on(service)


@pytest.mark.doubled
def test_what_we_started_may_be_stopped_again_on_its_way_up(make: Callable[..., Service], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    patience = f"ExecStartPre=/bin/sh -c 'while ! test -e {gate}; do sleep 0.1; done'"
    service = make(extra=patience)
    quiescer = service.quiescer()
    quiescer.quiesce(Quiesce.STOP, soon())
    gate.unlink()
    with pytest.raises(ResumeError):
        quiescer.resume(Quiesce.STOP, soon(0.5))
    assert systemctl.show(service.name).active == "activating"
    command = quiescer.rescue_command(Quiesce.STOP)
    quiescer.quiesce(Quiesce.STOP, soon())
    assert service.state() is InstanceState.STOPPED
    gate.touch()
    assert run_rescue(command) == 0
    quiescer.resume(Quiesce.STOP, soon())
    assert writes_on(service)


def test_a_unit_without_a_process_cannot_be_paused() -> None:
    write_unit("once.service", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true")
    systemctl_by_hand("start", "once.service")
    with pytest.raises(QuiesceError, match="no process"):
        UnitQuiescer("once.service").quiesce(Quiesce.PAUSE, soon())
    systemctl_by_hand("stop", "once.service")


def test_a_unit_that_only_runs_a_container_client_cannot_be_paused(tmp_path: Path) -> None:
    client = tmp_path / "docker"
    client.write_bytes(Path("/bin/sleep").read_bytes())
    client.chmod(0o755)
    write_unit("client.service", f"ExecStart={client} 600")
    systemctl_by_hand("start", "client.service")
    assert eventually(
        lambda: "docker" in {procfs.name_of(each.pid) for each in systemctl.show("client.service").members()}
    )
    with pytest.raises(QuiesceError, match="container"):
        UnitQuiescer("client.service").quiesce(Quiesce.PAUSE, soon())
    systemctl_by_hand("stop", "client.service")


def test_a_short_watchdog_forbids_a_pause(tmp_path: Path) -> None:
    write_unit("watched.service", "ExecStart=/bin/sleep 600\nWatchdogSec=15s\nNotifyAccess=all")
    systemctl_by_hand("start", "watched.service")
    with pytest.raises(QuiesceError, match="watchdog"):
        UnitQuiescer("watched.service").quiesce(Quiesce.PAUSE, soon())
    systemctl_by_hand("stop", "watched.service")


def test_a_program_does_not_freeze_the_unit_it_runs_in(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from owui_vault.model import Deadline, Quiesce\n"
        "from owui_vault.quiesce.systemd import UnitQuiescer\n"
        "try: UnitQuiescer('own').quiesce(Quiesce.PAUSE, Deadline(time.monotonic() + 5, time.monotonic))\n"
        "except Exception as error: open(sys.argv[2], 'w').write(str(error))\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "own.py").write_text(code)
    write_unit("own.service", f"ExecStart={sys.executable} {tmp_path}/own.py {Path(__file__).parents[3]} {answer}")
    systemctl_by_hand("start", "own.service")
    assert eventually(lambda: answer.exists() and answer.read_text() != "")
    assert "would freeze itself" in answer.read_text()
    systemctl_by_hand("stop", "own.service")


@pytest.mark.doubled
def test_spans_of_time_are_read_as_systemd_prints_them() -> None:
    assert systemctl._seconds("1min 30s") == 90
    assert systemctl._seconds("15s") == 15
    assert systemctl._seconds("1h 500ms") == 3600.5
    assert systemctl._seconds("0") == 0
    assert systemctl._seconds("infinity") == 0


@pytest.mark.parametrize("mode", [Quiesce.PAUSE, STOP])
def test_killed_at_any_moment_the_unit_runs_again(service: Service, tmp_path: Path, mode: Quiesce) -> None:
    journal, lock = tmp_path / "journal", tmp_path / "lock"
    lock.mkdir()
    count, back_seconds = KILLS[mode]
    argv = [sys.executable, str(PROGRAMS / "holder.py"), "unit", service.name, mode.value, str(journal), str(lock)]
    for _ in range(max(1, round(count * SOAK))):
        kill_at_random(argv)
        died = time.monotonic()
        assert writes_on(service, back_seconds)
        assert time.monotonic() - died <= back_seconds
    # One that was killed after it had written down what it would do, and before it had a guardian, leaves the record.
    with directory_lock(lock, wait_seconds=30, clock=SystemClock(), what="it"):
        recover(Journal(journal))
    assert Journal(journal).records() == ()
    assert service.state() is InstanceState.RUNNING


@pytest.mark.parametrize("mode", [Quiesce.PAUSE, STOP])
def test_killed_with_its_guardian_recover_brings_the_unit_back(service: Service, tmp_path: Path, mode: Quiesce) -> None:
    journal, lock = tmp_path / "journal", tmp_path / "lock"
    lock.mkdir()
    argv = [sys.executable, str(PROGRAMS / "holder.py"), "unit", service.name, mode.value, str(journal), str(lock), "5"]
    for _ in range(max(1, round(10 * SOAK))):
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, env=ENVIRONMENT)
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(2)] == [b"locked\n", b"quiet\n"]
        me = procfs.identify(child.pid)
        assert me is not None
        guardians = [each for each in procfs.descendants(me) if b"guardian_main" in command_of(each.pid)]
        assert len(guardians) == 1
        os.kill(guardians[0].pid, 9)
        child.kill()
        child.wait()
        child.stdout.close()
        assert service.state() is (InstanceState.PAUSED if mode is Quiesce.PAUSE else InstanceState.STOPPED)
        assert len(recover(Journal(journal))) == 1
        assert service.state() is InstanceState.RUNNING
        assert writes_on(service, 15.0)
        assert not any(journal.iterdir())


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def kill_at_random(argv: list[str]) -> None:
    """Run it until it has the lock and for a random while after that; then SIGKILL."""
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n", "the guardian of the run before let go of the lock"
    time.sleep(RANDOM.uniform(0, 0.8))
    child.kill()
    child.wait()
    child.stdout.close()
