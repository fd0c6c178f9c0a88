"""An engine that fails as real ones do now and then: a stand-in on a socket, told what to do wrong."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from owui_vault.containers.client import HttpEngine, no_answer
from owui_vault.containers.daemon_identity import daemon_start_id
from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.guardian.bounded_hold import Hold, HoldLimits, recover
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import GONE
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.quiesce.container.rescue import ContainerRescue, Target
from owui_vault.quiesce.rescue import main
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.testing.quiescer_suite import eventually, soon

EFFECTS = {"pause": "paused", "unpause": "running", "stop": "exited", "start": "running"}


class StandIn:
    """A container, `box`, and others by name. `broken` maps a verb to how many of its next calls fail in vain."""

    def __init__(self, folder: Path) -> None:
        self.statuses = {"box": "running"}
        self.ends: dict[tuple[str, str], str] = {}  # (name, verb): how it ends at that moment, exited or removed
        self.starts = 1
        self.health = "healthy"
        self.labels: dict[str, str] = {}
        self.broken: dict[str, int] = {}
        self.silent = 0  # how many of the next deeds are done, and the connection closed without an answer
        self.leaves = False  # once it has told about a container, it is away
        self.answer: tuple[int, bytes] | None = None  # instead of an inspection
        self.forbidden: set[str] = set()  # ends of paths that a proxy before it does not let through
        self.calls: list[str] = []
        self.socket = folder / "engine.sock"
        self.server: socketserver.ThreadingUnixStreamServer | None = None
        self.up()

    @property
    def status(self) -> str:
        return self.statuses["box"]

    @status.setter
    def status(self, status: str) -> None:
        self.statuses["box"] = status

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    def up(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.server = socketserver.ThreadingUnixStreamServer(str(self.socket), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    def inspection(self, name: str) -> bytes:
        status = self.statuses[name]
        state = {
            "Status": status,
            "Running": status in ("running", "paused"),
            "Paused": status == "paused",
            "Restarting": status == "restarting",
            "StartedAt": f"start {self.starts}",
            "Health": {"Status": self.health},
            "Pid": 1,  # not inside that container: a virtual machine's engine has pids of its own
        }
        check = {"Interval": 10_000_000, "Timeout": 10_000_000, "Retries": 1}
        configuration = {"Healthcheck": check, "Labels": self.labels, "Image": "open-webui:main"}
        return json.dumps({"Id": name, "Name": f"/{name}", "State": state, "Config": configuration}).encode()

    def forbids(self, path: str) -> bool:
        return path.partition("?")[0].endswith(tuple(self.forbidden))

    def tell(self, path: str) -> tuple[int, bytes]:
        if self.forbids(path):
            return 403, b"<html>Forbidden</html>"
        name = path.split("/")[-2]
        if self.statuses.get(name, "removed") == "removed":
            return 404, b'{"message": "no such container"}'
        if self.leaves:
            self.leaves = False
            self.down()
        return (200, self.inspection(name)) if self.answer is None else self.answer

    def answer_to(self, name: str, verb: str) -> tuple[int, bytes]:
        if verb in self.forbidden:
            return 403, b"<html>Forbidden</html>"
        return (204, b"") if self.do(name, verb) else (500, b'{"message": "unable to freeze"}')

    def do(self, name: str, verb: str) -> bool:
        self.calls.append(verb)
        left = self.broken.get(verb, 0)
        self.broken[verb] = max(0, left - 1)
        if left:
            return False
        if (name, verb) in self.ends:
            self.statuses[name] = self.ends[name, verb]
            return verb != "pause"
        self.starts += verb == "start"
        self.statuses[name] = EFFECTS[verb]
        return True


def _handler(engine: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "socket"

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.reply(*engine.tell(self.path))

        def do_POST(self) -> None:
            name, verb = self.path.partition("?")[0].split("/")[-2:]
            answer = engine.answer_to(name, verb)
            if engine.silent:
                engine.silent -= 1
            else:
                self.reply(*answer)

    return Handler


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    # Whoever listens counts as the engine, so that engines which come and go elsewhere on the machine do not.
    monkeypatch.setattr("owui_vault.containers.daemon_identity._DAEMON", procfs.name_of(os.getpid()))
    stand_in = StandIn(tmp_path)
    yield stand_in
    stand_in.down()


@pytest.fixture
def quiescer(engine: StandIn) -> ContainerQuiescer:
    return ContainerQuiescer("box", engine=engine.address, stop_seconds=1)


def rescue(engine: StandIn, mode: Quiesce = Quiesce.PAUSE) -> ContainerRescue:
    targets = (Target("box", f"start {engine.starts}"),)
    return ContainerRescue(engine=engine.address, mode=mode, targets=targets, boot=procfs.boot_id(), settled=0)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_pause_that_fails_is_tried_again(engine: StandIn, quiescer: ContainerQuiescer, failures: int) -> None:
    engine.broken["pause"] = failures
    quiescer.quiesce(Quiesce.PAUSE, soon())
    quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
    assert engine.calls.count("pause") == failures + 1


def test_a_pause_that_fails_each_time_is_told_and_undone(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.broken["pause"] = 9
    with pytest.raises(QuiesceError, match="unable to freeze"):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    assert engine.status == "running"
    assert engine.calls.count("pause") == 3


def test_no_second_try_without_time(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.broken["pause"] = 9
    with pytest.raises(QuiesceError):
        quiescer.quiesce(Quiesce.PAUSE, soon(0.05))
    assert engine.calls.count("pause") == 1


def test_a_stop_that_is_refused_is_told_and_undone(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.broken["stop"] = 1
    with pytest.raises(QuiesceError, match="did not stop"):
        quiescer.quiesce(Quiesce.STOP, soon())
    assert engine.status == "running"


@pytest.mark.parametrize(("mode", "verb"), [(Quiesce.PAUSE, "unpause"), (Quiesce.STOP, "start")])
def test_not_coming_back_names_the_complaint_and_the_remedy(
    engine: StandIn, quiescer: ContainerQuiescer, mode: Quiesce, verb: str
) -> None:
    quiescer.quiesce(mode, soon())
    engine.broken[verb] = 1000
    with pytest.raises(ResumeError, match="unable to freeze") as caught:
        quiescer.resume(mode, soon(0.2))
    assert f"docker {verb} box" in caught.value.hint
    engine.broken.clear()
    quiescer.resume(mode, soon())
    assert engine.status == "running"


def test_a_complaint_about_what_happened_all_the_same_does_not_matter(
    engine: StandIn, quiescer: ContainerQuiescer
) -> None:
    """Docker answers 500 to an unpause of what runs; the state decides."""
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.status = "running"
    engine.broken["unpause"] = 9
    quiescer.resume(Quiesce.PAUSE, soon())


def test_an_engine_that_is_away_for_a_moment_is_waited_for(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.down()
    timer = threading.Timer(0.5, engine.up)
    timer.start()
    quiescer.resume(Quiesce.PAUSE, soon())
    timer.join()
    assert engine.status == "running"


def test_an_engine_that_stays_away_is_told(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.down()
    with pytest.raises(ResumeError, match="no container engine answers"):
        quiescer.resume(Quiesce.PAUSE, soon(0.2))
    with pytest.raises(QuiesceError, match="no container engine answers"):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.up()


def test_what_is_being_restarted_is_refused(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.status = "restarting"
    assert quiescer.observe().state is InstanceState.RUNNING
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        with pytest.raises(QuiesceError, match="restarted"):
            quiescer.quiesce(mode, soon())


@pytest.mark.parametrize("mode", [Quiesce.PAUSE, Quiesce.STOP])
def test_the_container_we_run_in_is_never_made_quiet(
    engine: StandIn, quiescer: ContainerQuiescer, monkeypatch: pytest.MonkeyPatch, mode: Quiesce
) -> None:
    """The guardian would be frozen or ended with us, and nobody would be left to bring it back."""
    monkeypatch.setattr(procfs, "own_container", lambda: "box")
    with pytest.raises(QuiesceError, match="runs inside container box") as caught:
        quiescer.quiesce(mode, soon())
    assert "beside" in caught.value.hint
    assert engine.calls == []


def test_what_goes_down_again_after_its_start_is_told(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    quiescer.quiesce(Quiesce.STOP, soon())
    engine.health = "starting"
    timer = threading.Timer(0.05, lambda: setattr(engine, "status", "exited"))
    timer.start()
    with pytest.raises(ResumeError):
        quiescer.resume(Quiesce.STOP, soon())
    timer.join()


def test_pids_of_another_machine_are_not_minded(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    quiescer.quiesce(Quiesce.PAUSE, soon())
    assert quiescer._marks == {}
    (unchecked,) = quiescer.remarks.unchecked
    assert "whether anything in container box ran during the pause" in unchecked
    quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
    quiescer.resume(Quiesce.PAUSE, soon())


def test_an_engine_that_fails_or_talks_nonsense_is_an_error(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    for answer in (b"", b"[]", b'{"message": "out of order"}'):
        engine.answer = 500, answer
        with pytest.raises(QuiesceError, match="cannot inspect"):
            quiescer.observe()


def test_a_rescue_leaves_what_was_started_since(engine: StandIn) -> None:
    before = rescue(engine, Quiesce.STOP)
    engine.starts += 1
    engine.status = "exited"
    before.run(soon())
    assert engine.calls == []


@pytest.mark.parametrize("status", ["paused", "exited"])
def test_a_rescue_of_a_stop_brings_back_what_is_paused_too(engine: StandIn, status: str) -> None:
    engine.status = status
    rescue(engine, Quiesce.STOP).run(soon())
    assert engine.status == "running"


def test_a_rescue_of_another_boot_waits_for_no_stop_to_land(engine: StandIn) -> None:
    known = rescue(engine, Quiesce.STOP)
    ContainerRescue(
        engine=known.engine, mode=known.mode, targets=known.targets, boot="another", settled=float("inf")
    ).run(soon())
    assert engine.calls == []


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Target.parse("nonsense")


def test_an_address_over_tcp_is_understood() -> None:
    with pytest.raises(QuiesceError, match="no container engine answers"):
        HttpEngine("tcp://127.0.0.1:9").inspect("box")


@pytest.mark.parametrize(("mode", "verb"), [(Quiesce.PAUSE, "pause"), (Quiesce.STOP, "stop")])
def test_a_proxy_that_forbids_a_deed_is_named(
    engine: StandIn, quiescer: ContainerQuiescer, mode: Quiesce, verb: str
) -> None:
    engine.forbidden = {verb}
    with pytest.raises(QuiesceError, match="forbidden") as caught:
        quiescer.quiesce(mode, soon(0.5))
    assert f"box/{verb}" in caught.value.message
    assert "docs/docker.md" in caught.value.hint
    assert engine.status == "running"


def test_a_proxy_that_forbids_the_way_back_is_named(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.forbidden = {"unpause"}
    with pytest.raises(ResumeError, match=r"box/unpause is forbidden") as caught:
        quiescer.resume(Quiesce.PAUSE, soon(0.3))
    assert "docs/docker.md" in caught.value.hint
    assert "docker unpause box" in caught.value.hint
    engine.forbidden = set()
    quiescer.resume(Quiesce.PAUSE, soon())
    assert engine.status == "running"


def test_a_proxy_that_forbids_looking_is_named(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.forbidden = {"/box/json"}
    with pytest.raises(QuiesceError, match="cannot inspect") as caught:
        quiescer.observe()
    assert "docs/docker.md" in caught.value.hint


def test_an_engine_far_away_that_may_have_ended_a_paused_container_is_told(engine: StandIn) -> None:
    """Whether it was the engine or a person cannot be known there, and silence would leave the instance down."""
    engine.status = "exited"
    with pytest.raises(ResumeError, match="it is not known") as caught:
        rescue(engine).run(soon())
    assert "docker start box" in caught.value.hint
    assert engine.calls == []


@pytest.mark.parametrize(("ending", "told"), [("exited", "stopped"), ("removed", "removed")])
def test_a_container_that_ends_just_before_its_pause_is_told_and_not_started(
    engine: StandIn, quiescer: ContainerQuiescer, ending: str, told: str
) -> None:
    engine.ends["box", "pause"] = ending
    with pytest.raises(ResumeError, match=f"container box is {ending}") as caught:
        quiescer.quiesce(Quiesce.PAUSE, soon())
    assert f"was {told} while it was being made quiet" in str(caught.value.__context__)
    assert engine.calls == ["pause"]


def with_helper(engine: StandIn, verb: str, ending: str) -> ContainerQuiescer:
    """Both run, until the helper ends as it is told `verb`."""
    engine.statuses["helper"] = "running"
    engine.ends["helper", verb] = ending
    return ContainerQuiescer("box", "helper", engine=engine.address)


@pytest.mark.parametrize("ending", ["exited", "removed"])
def test_a_helper_that_ends_just_before_its_pause_is_left_out(engine: StandIn, ending: str) -> None:
    quiescer = with_helper(engine, "pause", ending)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
    quiescer.resume(Quiesce.PAUSE, soon())
    assert engine.statuses == {"box": "running", "helper": ending}
    assert engine.calls == ["pause", "pause", "unpause"]


@pytest.mark.parametrize("ending", ["exited", "removed"])
def test_a_helper_that_ends_once_it_is_woken_is_no_failure(engine: StandIn, ending: str) -> None:
    quiescer = with_helper(engine, "unpause", ending)
    quiescer.quiesce(Quiesce.PAUSE, soon())
    quiescer.resume(Quiesce.PAUSE, soon())
    assert engine.statuses == {"box": "running", "helper": ending}


@pytest.mark.parametrize("ending", ["exited", "removed"])
def test_the_one_that_matters_must_go_on_once_it_is_woken(
    engine: StandIn, quiescer: ContainerQuiescer, ending: str
) -> None:
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.ends["box", "unpause"] = ending
    with pytest.raises(ResumeError, match=f"container box is {ending}"):
        quiescer.resume(Quiesce.PAUSE, soon())


def test_one_that_was_started_anew_and_paused_again_is_not_the_one_we_paused(
    engine: StandIn, quiescer: ContainerQuiescer
) -> None:
    quiescer.quiesce(Quiesce.PAUSE, soon())
    since = quiescer.observe()
    quiescer.confirm(Quiesce.PAUSE, since)
    engine.starts += 1
    with pytest.raises(QuiesceError, match="container box was restarted"):
        quiescer.confirm(Quiesce.PAUSE, since)


@pytest.mark.parametrize(("mode", "status"), [(Quiesce.PAUSE, "paused"), (Quiesce.STOP, "exited")])
def test_what_an_earlier_run_left_quiet_is_brought_back_by_the_next(
    engine: StandIn, quiescer: ContainerQuiescer, mode: Quiesce, status: str
) -> None:
    engine.status = status
    quiescer.resume(mode, soon())
    assert engine.status == "running"


@pytest.mark.parametrize(("mode", "status"), [(Quiesce.PAUSE, "exited"), (Quiesce.STOP, "paused")])
def test_what_is_quiet_in_another_way_is_left_as_it_is(
    engine: StandIn, quiescer: ContainerQuiescer, mode: Quiesce, status: str
) -> None:
    engine.status = status
    quiescer.resume(mode, soon())
    assert engine.calls == []


def test_an_engine_that_goes_away_meanwhile_still_leaves_a_rescue(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.leaves = True
    command = quiescer.rescue_command(Quiesce.PAUSE)
    assert "--engine-mark=" in command, "whether it was started anew since cannot be told"
    assert "--target=box@start 1" in command


@pytest.mark.parametrize(("anew", "status"), [(True, "running"), (False, "exited")])
def test_an_engine_that_goes_away_is_waited_for_to_tell_whether_it_is_another(
    engine: StandIn, anew: bool, status: str
) -> None:
    """Another one took the paused container along when it died; the same one means that a person stopped it."""
    mark = "earlier" if anew else daemon_start_id(engine.address)
    engine.status, engine.leaves = "exited", True
    timer = threading.Timer(0.1, engine.up)
    timer.start()
    replace(rescue(engine), mark=mark).run(soon())
    timer.join()
    assert engine.status == status


def test_an_engine_that_goes_away_and_stays_away_is_told_in_time(engine: StandIn) -> None:
    engine.status, engine.leaves = "exited", True
    with pytest.raises(ResumeError, match="no container engine answers"):
        replace(rescue(engine), mark="earlier").run(soon(0))


def test_a_pause_whose_answer_is_lost_is_told_and_undone(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    engine.silent = 1
    with pytest.raises(QuiesceError, match="no container engine answers"):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    assert engine.status == "running"
    assert engine.calls == ["pause", "unpause"]


def test_a_way_back_whose_answer_is_lost_is_not_asked_for_twice(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    quiescer.quiesce(Quiesce.STOP, soon())
    engine.silent = 1
    quiescer.resume(Quiesce.STOP, soon())
    assert engine.status == "running"
    assert engine.calls == ["stop", "start"]


def test_a_proxy_that_forbids_looking_after_the_pause_is_named_and_the_pause_undone(
    engine: StandIn, quiescer: ContainerQuiescer, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = engine.do

    def forbidding(name: str, verb: str) -> bool:
        engine.forbidden = {"/box/json"} if verb == "pause" else set()
        threading.Timer(1.0, engine.forbidden.clear).start()
        return paused(name, verb)

    monkeypatch.setattr(engine, "do", forbidding)
    with pytest.raises(QuiesceError, match="cannot inspect container box") as caught:
        quiescer.quiesce(Quiesce.PAUSE, soon())
    assert "docs/docker.md" in caught.value.hint
    assert engine.status == "running"
    assert engine.calls == ["pause", "unpause"]


def test_what_does_not_talk_like_an_engine_is_asked_nothing_more(engine: StandIn, quiescer: ContainerQuiescer) -> None:
    for answer in (b"[]", b"{}", b"<html>", b"null", b'{"Id": "box"}'):
        engine.answer = 200, answer
        with pytest.raises(QuiesceError, match="unexpected answer from the engine"):
            quiescer.quiesce(Quiesce.PAUSE, soon())
    assert engine.calls == []


def test_a_socket_of_somebody_else_asks_for_the_right_to_it() -> None:
    assert "group that owns the socket" in no_answer("unix:///x", PermissionError("denied")).hint
    assert "Is the engine running?" in no_answer("unix:///x", FileNotFoundError("nothing there")).hint


def down(engine: StandIn, target: str) -> int:
    """What leading back does: the same command as a rescue, the other way round."""
    return main(["container", "--down", "stop", f"--engine={engine.address}", f"--target={target}"])


def test_down_stops_what_a_rescue_would_start(engine: StandIn) -> None:
    assert down(engine, "box@start 1") == 0
    assert engine.status == "exited"


@pytest.mark.parametrize(
    ("status", "target"),
    [("running", "box@start 0"), ("exited", "box@start 1"), ("running", "nobody@start 1")],
    ids=["started since", "stopped already", "removed"],
)
def test_down_leaves_alone_what_is_not_as_it_was_left(engine: StandIn, status: str, target: str) -> None:
    engine.status = status
    assert down(engine, target) == 0
    assert engine.calls == []


def test_down_tells_what_does_not_stop(engine: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    engine.broken["stop"] = 1
    assert down(engine, "box@start 1") == 1
    assert "container box did not stop: unable to freeze" in capsys.readouterr().err


COMPOSE = {
    "com.docker.compose.project": "chat",
    "com.docker.compose.service": "open-webui",
    "com.docker.compose.project.config_files": "/srv/my chat/compose.yaml,/srv/extra.yaml",
}


@pytest.mark.parametrize(
    ("labels", "way_out"),
    [
        (COMPOSE, "docker compose -p chat -f '/srv/my chat/compose.yaml' -f /srv/extra.yaml up -d open-webui"),
        ({}, "from image open-webui:main: its settings are in outside/container.json of the last snapshot"),
    ],
)
def test_what_a_cleaner_removed_while_it_was_stopped_is_told_with_the_way_out(
    engine: StandIn, quiescer: ContainerQuiescer, labels: dict[str, str], way_out: str
) -> None:
    engine.labels = labels
    quiescer.quiesce(Quiesce.STOP, soon())
    engine.status = "removed"
    with pytest.raises(ResumeError, match="container box was removed while it was stopped by owui_vault") as told:
        quiescer.resume(Quiesce.STOP, soon())
    assert way_out in told.value.hint
    assert told.value.exit_code == 4


def test_it_is_neither_tried_for_ever_nor_said_to_run(
    engine: StandIn, quiescer: ContainerQuiescer, tmp_path: Path
) -> None:
    """By the run, by its guardian, which is left with it, and by `recover`, once."""
    engine.labels = COMPOSE
    journal = Journal(tmp_path / "journal")
    hold = Hold(quiescer, journal, None, SystemClock(), HoldLimits(resume_seconds=5, stop_grace_seconds=0.1))
    with pytest.raises(ResumeError, match="was removed while it was stopped"), hold(Quiesce.STOP, 30):
        engine.status = "removed"
    (record,) = journal.records()
    guardians = [each for each in procfs.processes() if each.parent == os.getpid()]
    assert eventually(lambda: not any(procfs.alive(each.identity) for each in guardians), 10), "it gave up"
    assert journal.records() == (record,), "and does not say that all is well"
    with pytest.raises(ResumeError, match=r"can no longer be resumed: .* up -d open-webui"):
        recover(journal)
    assert recover(journal) == ()


def test_a_rescue_has_a_status_of_its_own_for_it(engine: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    command = rescue(engine, Quiesce.STOP).command()
    engine.status = "removed"
    assert main(command[3:]) == GONE
    assert "Open WebUI is not running" in capsys.readouterr().err


def test_others_are_brought_back_before_it_is_told(engine: StandIn) -> None:
    engine.statuses |= {"box": "removed", "worker": "exited"}
    targets = (Target("box", "start 1"), Target("worker", "start 1"))
    way_back = ContainerRescue(
        engine=engine.address, mode=Quiesce.STOP, targets=targets, boot=procfs.boot_id(), settled=0
    )
    with pytest.raises(ResumeError, match="container box was removed"):
        way_back.run(soon())
    assert engine.statuses["worker"] == "running"
