"""An engine that fails as real ones do now and then: a stand-in on a socket, told what to do wrong."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.model import InstanceState, Quiesce
from owui_vault.quiesce.container import ContainerQuiescer
from owui_vault.quiesce.container_rescue import ContainerRescue, Target
from owui_vault.quiesce.container_state import parse
from owui_vault.quiesce.engine_http import HttpEngine
from owui_vault.system import procfs
from owui_vault.testing.quiescer_suite import soon

EFFECTS = {"pause": "paused", "unpause": "running", "stop": "exited", "start": "running"}


class StandIn:
    """One container, `box`. `broken` maps a verb to how many of its next calls fail without an effect."""

    def __init__(self, folder: Path) -> None:
        self.status = "running"
        self.starts = 1
        self.health = "healthy"
        self.broken: dict[str, int] = {}
        self.answer: bytes | None = None  # instead of an inspection
        self.forbidden: set[str] = set()  # ends of paths that a proxy before it does not let through
        self.calls: list[str] = []
        self.socket = folder / "engine.sock"
        self.server: socketserver.ThreadingUnixStreamServer | None = None
        self.up()

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

    def inspection(self) -> bytes:
        state = {
            "Status": self.status,
            "Running": self.status in ("running", "paused"),
            "Paused": self.status == "paused",
            "Restarting": self.status == "restarting",
            "StartedAt": f"start {self.starts}",
            "Health": {"Status": self.health},
            "Pid": 1,  # not inside that container: a virtual machine's engine has pids of its own
        }
        check = {"Interval": 10_000_000, "Timeout": 10_000_000, "Retries": 1}
        return json.dumps({"Id": "box", "Name": "/box", "State": state, "Config": {"Healthcheck": check}}).encode()

    def forbids(self, path: str) -> bool:
        return path.partition("?")[0].endswith(tuple(self.forbidden))

    def answer_to(self, verb: str) -> tuple[int, bytes]:
        if verb in self.forbidden:
            return 403, b"<html>Forbidden</html>"
        return (204, b"") if self.do(verb) else (500, b'{"message": "unable to freeze"}')

    def do(self, verb: str) -> bool:
        self.calls.append(verb)
        left = self.broken.get(verb, 0)
        self.broken[verb] = max(0, left - 1)
        if left:
            return False
        self.starts += verb == "start"
        self.status = EFFECTS[verb]
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
            if engine.forbids(self.path):
                self.reply(403, b"<html>Forbidden</html>")
            elif "/version" in self.path:
                self.reply(200, b'{"ApiVersion": "1.41"}')
            elif self.path.endswith("/box/json"):
                self.reply(200, engine.inspection()) if engine.answer is None else self.reply(500, engine.answer)
            else:
                self.reply(404, b'{"message": "no such container"}')

        def do_POST(self) -> None:
            verb = self.path.partition("?")[0].rpartition("/")[2]
            self.reply(*engine.answer_to(verb))

    return Handler


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandIn]:
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
def test_a_pause_that_fails_is_tried_again(engine, quiescer, failures):
    engine.broken["pause"] = failures
    quiescer.quiesce(Quiesce.PAUSE, soon())
    quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
    assert engine.calls.count("pause") == failures + 1


def test_a_pause_that_fails_each_time_is_told_and_undone(engine, quiescer):
    engine.broken["pause"] = 9
    with pytest.raises(QuiesceError, match="unable to freeze"):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    assert engine.status == "running"
    assert engine.calls.count("pause") == 3


def test_no_second_try_without_time(engine, quiescer):
    engine.broken["pause"] = 9
    with pytest.raises(QuiesceError):
        quiescer.quiesce(Quiesce.PAUSE, soon(0.05))
    assert engine.calls.count("pause") == 1


def test_a_stop_that_is_refused_is_told_and_undone(engine, quiescer):
    engine.broken["stop"] = 1
    with pytest.raises(QuiesceError, match="did not stop"):
        quiescer.quiesce(Quiesce.STOP, soon())
    assert engine.status == "running"


@pytest.mark.parametrize(("mode", "verb"), [(Quiesce.PAUSE, "unpause"), (Quiesce.STOP, "start")])
def test_not_coming_back_names_the_complaint_and_the_remedy(engine, quiescer, mode, verb):
    quiescer.quiesce(mode, soon())
    engine.broken[verb] = 1000
    with pytest.raises(ResumeError, match="unable to freeze") as caught:
        quiescer.resume(mode, soon(0.2))
    assert f"docker {verb} box" in caught.value.hint
    engine.broken.clear()
    quiescer.resume(mode, soon())
    assert engine.status == "running"


def test_a_complaint_about_what_happened_all_the_same_does_not_matter(engine, quiescer):
    """Docker answers 500 to an unpause of what runs; the state decides."""
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.status = "running"
    engine.broken["unpause"] = 9
    quiescer.resume(Quiesce.PAUSE, soon())


def test_an_engine_that_is_away_for_a_moment_is_waited_for(engine, quiescer):
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.down()
    timer = threading.Timer(0.5, engine.up)
    timer.start()
    quiescer.resume(Quiesce.PAUSE, soon())
    timer.join()
    assert engine.status == "running"


def test_an_engine_that_stays_away_is_told(engine, quiescer):
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.down()
    with pytest.raises(ResumeError, match="no container engine answers"):
        quiescer.resume(Quiesce.PAUSE, soon(0.2))
    with pytest.raises(QuiesceError, match="no container engine answers"):
        quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.up()


def test_what_is_being_restarted_is_refused(engine, quiescer):
    engine.status = "restarting"
    assert quiescer.observe().state is InstanceState.RUNNING
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        with pytest.raises(QuiesceError, match="restarted"):
            quiescer.quiesce(mode, soon())


def test_what_goes_down_again_after_its_start_is_told(engine, quiescer):
    quiescer.quiesce(Quiesce.STOP, soon())
    engine.health = "starting"
    timer = threading.Timer(0.05, lambda: setattr(engine, "status", "exited"))
    timer.start()
    with pytest.raises(ResumeError):
        quiescer.resume(Quiesce.STOP, soon())
    timer.join()


def test_pids_of_another_machine_are_not_minded(engine, quiescer):
    quiescer.quiesce(Quiesce.PAUSE, soon())
    assert quiescer._marks == {}
    (unchecked,) = quiescer.remarks.unchecked
    assert "whether anything in container box ran during the pause" in unchecked
    quiescer.confirm(Quiesce.PAUSE, quiescer.observe())
    quiescer.resume(Quiesce.PAUSE, soon())


def test_an_engine_that_fails_or_talks_nonsense_is_an_error(engine, quiescer):
    for answer in (b"", b"[]", b'{"message": "out of order"}'):
        engine.answer = answer
        with pytest.raises(QuiesceError, match="does not tell"):
            quiescer.observe()
    with pytest.raises(QuiesceError, match="could not be understood"):
        parse({"Id": "box"})


def test_a_rescue_leaves_what_was_started_since(engine):
    before = rescue(engine, Quiesce.STOP)
    engine.starts += 1
    engine.status = "exited"
    before.run(soon())
    assert engine.calls == []


@pytest.mark.parametrize("status", ["paused", "exited"])
def test_a_rescue_of_a_stop_brings_back_what_is_paused_too(engine, status):
    engine.status = status
    rescue(engine, Quiesce.STOP).run(soon())
    assert engine.status == "running"


def test_a_rescue_of_another_boot_waits_for_no_stop_to_land(engine):
    known = rescue(engine, Quiesce.STOP)
    ContainerRescue(
        engine=known.engine, mode=known.mode, targets=known.targets, boot="another", settled=float("inf")
    ).run(soon())
    assert engine.calls == []


def test_a_target_that_is_none_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        Target.parse("nonsense")


def test_an_address_over_tcp_is_understood():
    with pytest.raises(QuiesceError, match="no container engine answers"):
        HttpEngine("tcp://127.0.0.1:9").inspect("box")


@pytest.mark.parametrize(("mode", "verb"), [(Quiesce.PAUSE, "pause"), (Quiesce.STOP, "stop")])
def test_a_proxy_that_forbids_a_deed_is_named(engine, quiescer, mode, verb):
    engine.forbidden = {verb}
    with pytest.raises(QuiesceError, match="forbidden") as caught:
        quiescer.quiesce(mode, soon(0.5))
    assert f"box/{verb}" in caught.value.message
    assert "docs/docker.md" in caught.value.hint
    assert engine.status == "running"


def test_a_proxy_that_forbids_the_way_back_is_named(engine, quiescer):
    quiescer.quiesce(Quiesce.PAUSE, soon())
    engine.forbidden = {"unpause"}
    with pytest.raises(ResumeError, match=r"box/unpause is forbidden .*docs/docker.md"):
        quiescer.resume(Quiesce.PAUSE, soon(0.3))
    engine.forbidden = set()
    quiescer.resume(Quiesce.PAUSE, soon())
    assert engine.status == "running"


def test_a_proxy_that_forbids_looking_is_named(engine, quiescer):
    engine.forbidden = {"/box/json"}
    with pytest.raises(QuiesceError, match="does not tell") as caught:
        quiescer.observe()
    assert "docs/docker.md" in caught.value.hint


def test_an_engine_far_away_that_may_have_ended_a_paused_container_is_told(engine):
    """Whether it was the engine or a person cannot be known there, and silence would leave the instance down."""
    engine.status = "exited"
    with pytest.raises(ResumeError, match="cannot be told") as caught:
        rescue(engine).run(soon())
    assert "docker start box" in caught.value.hint
    assert engine.calls == []
