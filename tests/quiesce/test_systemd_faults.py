"""A systemd that refuses, keeps silent or says one thing while the kernel says another: a stand-in for `systemctl`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.guardian.rescue_command import SYSTEM_PATH
from owui_vault.model import InstanceState, Quiesce
from owui_vault.ports import Observation
from owui_vault.quiesce import systemctl
from owui_vault.quiesce.systemd import UnitQuiescer, UnitRescue, start, wake
from owui_vault.system import procfs
from owui_vault.system.procfs import ProcessIdentity
from owui_vault.testing.quiescer_suite import soon

UNIT = "family.service"
PROGRAM = """#!/bin/sh
cd {folder}
shift 2
echo "$*" >> calls
verb=$1 name=$2
if test -e on-$verb; then . ./on-$verb; fi
if test $verb = show; then cat $name.show; fi
"""


class Machine:
    """What systemd would say of each unit, and what happens at each verb: nothing, unless `at` tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.group = folder / "cgroup" / UNIT
        self.group.mkdir(parents=True)
        self.program = folder / "bin" / "systemctl"
        self.program.parent.mkdir()
        self.program.write_text(PROGRAM.format(folder=folder))
        self.program.chmod(0o755)
        self.inhabit()
        self.unit()

    def inhabit(self, *pids: int) -> None:
        """These are the unit's processes now."""
        (self.group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def kernel_says(self, frozen: int) -> None:
        (self.group / "cgroup.events").write_text(f"populated 1\nfrozen {frozen}\n")

    def unit(self, name: str = UNIT, **properties: str) -> None:
        told = {"Id": name, "LoadState": "loaded", "ActiveState": "active", "SubState": "running"}
        told |= {"InvocationID": "abc", "ControlGroup": f"/{name}", "FreezerState": "running", "CanFreeze": "yes"}
        (self.folder / f"{name}.show").write_text(
            "".join(f"{key}={value}\n" for key, value in (told | properties).items())
        )

    def at(self, verb: str, script: str) -> None:
        (self.folder / f"on-{verb}").write_text(f"{script}\n")

    def calls(self, verb: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(f"{verb} ")]


def becomes(key: str, value: str) -> str:
    """A piece of script: from now on systemd tells this of the unit."""
    return f"sed -i s/^{key}=.*/{key}={value}/ {UNIT}.show"


def silent(times: int) -> str:
    """A piece of script: systemd executes itself anew, and does not answer so often."""
    return f"echo >> asked; if test $(wc -l < asked) -le {times}; then echo Transport endpoint >&2; exit 1; fi"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    monkeypatch.setattr(systemctl, "_CGROUPS", (tmp_path / "cgroup",))
    path = f"{found.program.parent}:{SYSTEM_PATH}"
    monkeypatch.setattr(systemctl, "_ENVIRONMENT", {"PATH": path, "LC_ALL": "C.UTF-8"})
    return found


@pytest.fixture
def inhabited(machine: Machine, sleeper: Callable[[], ProcessIdentity]) -> Machine:
    """With a process in the unit."""
    machine.inhabit(sleeper().pid)
    return machine


def test_a_systemd_that_does_not_answer_in_time_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemctl, "_SHOW_SECONDS", 0.1)
    machine.at("show", "exec sleep 60")
    with pytest.raises(QuiesceError, match=f"systemd cannot show {UNIT}"):
        systemctl.show(UNIT)


def test_a_machine_without_systemd_is_told_in_its_own_words(machine: Machine) -> None:
    machine.at("show", "echo System has not been booted with systemd >&2; exit 1")
    with pytest.raises(QuiesceError, match="has not been booted") as caught:
        systemctl.show(UNIT)
    assert "run systemd" in caught.value.hint


def test_an_answer_that_tells_no_state_is_an_error(machine: Machine) -> None:
    machine.at("show", "echo Id=family.service; exit 0")
    with pytest.raises(QuiesceError, match="systemd cannot show"):
        systemctl.show(UNIT)


def test_companions_are_those_that_run_and_theirs_each_once(machine: Machine) -> None:
    machine.unit(TriggeredBy=f"front.service idle.socket {UNIT}")
    machine.unit("front.service", RequiredBy=f"{UNIT} front.service back.service")
    machine.unit("back.service", BoundBy="front.service", ActiveState="activating")
    machine.unit("idle.socket", ActiveState="inactive", RequiredBy="never.asked")
    assert systemctl.companions(systemctl.show(UNIT)) == ("front.service", "back.service")


def test_a_stop_that_is_refused_names_the_reason(machine: Machine) -> None:
    machine.at("stop", "echo Access denied >&2; exit 4")
    with pytest.raises(QuiesceError, match=f"{UNIT} could not be stopped: Access denied") as caught:
        systemctl.stop((UNIT,), soon())
    assert "root" in caught.value.hint


def test_frozen_is_what_systemd_and_the_kernel_agree_on(machine: Machine) -> None:
    machine.unit(FreezerState="frozen")
    assert not systemctl.is_frozen(systemctl.show(UNIT)), "no word from the kernel"
    machine.kernel_says(frozen=0)
    assert not systemctl.is_frozen(systemctl.show(UNIT))
    machine.kernel_says(frozen=1)
    assert systemctl.is_frozen(systemctl.show(UNIT))
    machine.unit(FreezerState="running")
    assert not systemctl.is_frozen(systemctl.show(UNIT))


@pytest.mark.parametrize(
    ("mode", "invocation"), [(Quiesce.STOP, "other"), (Quiesce.PAUSE, "other"), (Quiesce.PAUSE, "")]
)
def test_another_invocation_is_not_the_one_that_was_made_quiet(
    machine: Machine, mode: Quiesce, invocation: str
) -> None:
    quiet = {"ActiveState": "inactive"} if mode is Quiesce.STOP else {"FreezerState": "frozen"}
    machine.unit(InvocationID=invocation, **quiet)
    with pytest.raises(QuiesceError, match="restarted"):
        UnitQuiescer(UNIT).confirm(mode, Observation(InstanceState.RUNNING, "abc"))


@pytest.mark.parametrize("invocation", ["abc", ""])
def test_a_stopped_unit_may_be_forgotten_by_systemd(machine: Machine, invocation: str) -> None:
    machine.unit(InvocationID=invocation, ActiveState="inactive")
    UnitQuiescer(UNIT).confirm(Quiesce.STOP, Observation(InstanceState.RUNNING, "abc"))


def test_a_kernel_that_woke_the_unit_outranks_what_systemd_believes(inhabited: Machine) -> None:
    inhabited.kernel_says(frozen=1)
    inhabited.at("freeze", becomes("FreezerState", "frozen"))
    quiescer = UnitQuiescer(UNIT)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    assert since.state is InstanceState.PAUSED
    inhabited.kernel_says(frozen=0)
    with pytest.raises(QuiesceError, match="the kernel says"):
        quiescer.confirm(Quiesce.PAUSE, since)


def test_a_systemd_that_falls_silent_at_the_freeze_leaves_nothing_frozen(inhabited: Machine) -> None:
    inhabited.at("freeze", f"{becomes('FreezerState', 'frozen')}; touch frozen")
    inhabited.at("show", f"if test -e frozen; then {silent(1)}; fi")
    inhabited.at("thaw", becomes("FreezerState", "running"))
    quiescer = UnitQuiescer(UNIT)
    with pytest.raises(QuiesceError, match="systemd cannot show"):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    assert inhabited.calls("thaw") == [f"thaw {UNIT}"]
    assert quiescer.observe().state is InstanceState.RUNNING


def test_a_unit_that_is_not_down_after_its_stop_is_told_and_started_again(machine: Machine) -> None:
    machine.at("stop", becomes("ActiveState", "deactivating"))
    machine.at("start", becomes("ActiveState", "active"))
    with pytest.raises(QuiesceError, match="did not stop: it is deactivating"):
        UnitQuiescer(UNIT).quiesce(Quiesce.STOP, soon())
    assert machine.calls("start") == [f"start {UNIT}"]


def test_one_that_left_the_units_group_while_it_was_frozen_is_woken_too(
    machine: Machine, sleeper: Callable[[], ProcessIdentity]
) -> None:
    machine.unit(CanFreeze="no")
    one = sleeper()
    machine.inhabit(one.pid)
    quiescer = UnitQuiescer(UNIT)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    assert procfs.stopped(one)
    machine.inhabit()
    quiescer.resume(Quiesce.PAUSE, soon())
    assert not procfs.stopped(one)


def test_the_unit_we_run_in_is_never_paused(machine: Machine) -> None:
    machine.inhabit(os.getppid())
    with pytest.raises(QuiesceError, match="would freeze itself"):
        UnitQuiescer(UNIT).quiesce(Quiesce.PAUSE, soon())
    assert machine.calls("show")
    assert not machine.calls("freeze")


def test_a_unit_that_stays_frozen_is_named_with_the_remedy(machine: Machine) -> None:
    machine.unit(FreezerState="frozen")
    with pytest.raises(ResumeError, match="still frozen") as caught:
        wake(UNIT, (), soon(0.05))
    assert f"systemctl thaw {UNIT}" in caught.value.hint
    assert machine.calls("thaw"), "it was tried"


def test_a_unit_on_its_way_up_is_waited_for_and_no_failure_is_forgiven(machine: Machine) -> None:
    machine.unit(ActiveState="inactive")
    second = f"test $(grep -c ^start calls) -ge 2 && {becomes('ActiveState', 'active')}"
    machine.at("start", f"{becomes('ActiveState', 'activating')}; {second} || true")
    start(UNIT, (), soon())
    assert machine.calls("start") == [f"start {UNIT}"] * 2
    assert not machine.calls("reset-failed")


def test_a_systemd_that_executes_itself_anew_is_asked_until_it_answers(machine: Machine) -> None:
    machine.unit(FreezerState="frozen")
    machine.at("show", silent(2))
    machine.at("thaw", becomes("FreezerState", "running"))
    UnitRescue(name=UNIT, mode=Quiesce.PAUSE, boot="another", invocation="abc").run(soon())
    assert not systemctl.show(UNIT).frozen
    assert len(machine.calls("thaw")) == 1


def test_a_systemd_that_stays_silent_is_told_in_time(machine: Machine) -> None:
    machine.at("show", silent(1000))
    with pytest.raises(ResumeError, match=f"systemd cannot show {UNIT}") as caught:
        wake(UNIT, (), soon(0.05))
    assert f"systemctl status {UNIT}" in caught.value.hint
