from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from owui_vault import Deadline, ResumeError
from owui_vault.instance.application import ProcessApplication, revisions_near
from owui_vault.instance.processes import Holder, Holders
from owui_vault.system.clock import SystemClock

OURSELVES = Holders(found=(Holder(pid=os.getpid(), name="python"),))


def a_package(folder: Path, *revisions: str) -> None:
    versions = folder / "open_webui/migrations/versions"
    versions.mkdir(parents=True)
    for each in revisions:
        (versions / f"{each}_a_change.py").write_text(f'revision: str = "{each}"\n')


class TestRevisionsOfWhatDoesNotRun:
    def test_data_in_the_package_itself(self, tmp_path: Path) -> None:
        """Where a pip installation keeps them unless it is told otherwise."""
        a_package(tmp_path, "0123456789ab", "ba9876543210")
        assert revisions_near([tmp_path / "open_webui/data"]) == frozenset({"0123456789ab", "ba9876543210"})

    def test_data_beside_the_package(self, tmp_path: Path) -> None:
        """As in a checkout: backend/data and backend/open_webui."""
        a_package(tmp_path, "0123456789ab")
        assert revisions_near([tmp_path / "data"]) == frozenset({"0123456789ab"})

    @pytest.mark.parametrize("name", ["open-webui", "python"])
    def test_a_program_of_an_environment(self, tmp_path: Path, name: str) -> None:
        a_package(tmp_path / "venv/lib/python3.11/site-packages", "0123456789ab")
        (tmp_path / "venv/bin").mkdir()
        program = tmp_path / "venv/bin" / name
        program.symlink_to("/bin/true")  # an environment's python is a link to another one
        assert revisions_near([program]) == frozenset({"0123456789ab"})
        link = tmp_path / "open-webui"
        program.unlink()
        program.write_text("#!")
        link.symlink_to(program)  # ~/.local/bin, made by pipx and uv
        assert revisions_near([tmp_path / "nowhere", link]) == frozenset({"0123456789ab"})

    def test_the_directory_it_is_started_in(self, tmp_path: Path) -> None:
        a_package(tmp_path, "0123456789ab")
        assert revisions_near([tmp_path]) == frozenset({"0123456789ab"})

    def test_nothing_of_it_anywhere(self, tmp_path: Path) -> None:
        assert revisions_near([tmp_path / "data", Path("/bin/true")]) is None

    def test_what_runs_is_believed_first_and_places_next(self, tmp_path: Path) -> None:
        a_package(tmp_path, "0123456789ab")
        nobody = ProcessApplication(Holders(), SystemClock(), places=[tmp_path])
        assert nobody.revisions() == frozenset({"0123456789ab"})


@pytest.fixture
def known() -> dict[str, object]:
    """What the application answers."""
    return {"/health": {"status": True}, "/api/version": {"version": "0.6.5"}}


@pytest.fixture
def port(known: dict[str, object]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in known else 404)
            self.end_headers()
            self.wfile.write(json.dumps(known.get(self.path)).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def within(seconds: float) -> Deadline:
    clock = SystemClock()
    return Deadline(clock.monotonic() + seconds, clock.monotonic)


def test_it_is_asked_where_it_listens_until_it_says_its_version(port: int) -> None:
    assert ProcessApplication(OURSELVES, SystemClock()).wait_until_healthy(within(10)) == (
        f"answers on port {port}, version 0.6.5"
    )


@pytest.mark.parametrize("missing", ["/health", "/api/version"])
def test_half_an_answer_is_none(port: int, known: dict[str, object], missing: str) -> None:
    del known[missing]
    with pytest.raises(ResumeError, match=f"does not answer /health and /api/version on port {port}"):
        ProcessApplication(OURSELVES, SystemClock()).wait_until_healthy(within(0.6))


def test_where_it_listens_nowhere_nothing_is_said(tmp_path: Path) -> None:
    assert ProcessApplication(Holders(), SystemClock(), places=[tmp_path]).wait_until_healthy(within(10)) == ""
