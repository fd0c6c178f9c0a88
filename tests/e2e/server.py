"""One real Open WebUI as a pip process: its settings, its start and stop, and a quiescer that can do both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from owui_vault import Deadline, InstanceState, Observation, Quiesce, Quiescer
from owui_vault.errors import QuiesceError, ResumeError
from owui_vault.system import procfs
from tests.e2e import service
from tests.e2e.installation import installed
from tests.e2e.upstream import EMBEDDING_MODEL

SERVICE = Path(service.__file__)


def settings(provider: str) -> dict[str, str]:
    """What an instance needs that has no network but the stand-in for its provider."""
    return {
        "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1",
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_VERSION_UPDATE_CHECK": "false",
        "OPENAI_API_BASE_URL": provider,
        "OPENAI_API_KEY": "test",
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_EMBEDDING_MODEL": EMBEDDING_MODEL,
        "RAG_EMBEDDING_BATCH_SIZE": "64",
        "RAG_OPENAI_API_BASE_URL": provider,
        "RAG_OPENAI_API_KEY": "test",
        "ANONYMIZED_TELEMETRY": "false",
        "SCARF_NO_ANALYTICS": "true",
        "DO_NOT_TRACK": "true",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class OpenWebUI:
    """One instance. `folder` holds how it is started, its log, its pid file and its working directory."""

    folder: Path
    data_dir: Path
    port: int

    @staticmethod
    def prepare(folder: Path, data_dir: Path, provider: str, secret_key: str | None = None) -> OpenWebUI:
        """Write down how to start it. Without a key it makes one itself, in its working directory."""
        cwd = folder / "work"
        cwd.mkdir(parents=True)
        data_dir.mkdir(parents=True, exist_ok=True)
        port = free_port()
        program = installed() / "bin" / "open-webui"
        environment = {
            **settings(provider),
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "DATA_DIR": str(data_dir),
            "STATIC_DIR": str(folder / "static"),  # emptied and filled at each start
        }
        if secret_key:
            environment["WEBUI_SECRET_KEY"] = secret_key
        argv = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
        how = {"argv": argv, "environment": environment, "cwd": str(cwd), "port": port}
        (folder / "service.json").write_text(json.dumps(how))
        return OpenWebUI(folder, data_dir, port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    def start(self) -> float:
        """Start it; the seconds until it answered."""
        began = time.monotonic()
        self._do("start")
        return time.monotonic() - began

    def stop(self) -> None:
        self._do("stop")

    def _do(self, deed: str) -> None:
        done = subprocess.run([sys.executable, SERVICE, deed, self.folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{deed}: {done.stderr}\n{self.last_words()}")

    def last_words(self) -> str:
        log = self.folder / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-25:]) if log.exists() else "(no log)"

    def pid(self) -> int:
        pid = service.running(self.folder)
        assert pid is not None, "it is not running"
        return pid


class ServiceQuiescer(Quiescer):
    """Stops an instance and starts it again by its own start script."""

    def __init__(self, server: OpenWebUI) -> None:
        self._server = server

    @property
    def name(self) -> str:
        return f"service {self._server.folder.name}"

    @property
    def modes(self) -> frozenset[Quiesce]:
        return frozenset({Quiesce.STOP})

    def observe(self) -> Observation:
        pid = service.running(self._server.folder)
        identity = procfs.identify(pid) if pid else None
        if identity is None:
            return Observation(InstanceState.STOPPED, "")
        return Observation(InstanceState.RUNNING, f"{procfs.boot_id()}:{identity}")

    def quiesce(self, mode: Quiesce, deadline: Deadline) -> None:
        self._run("stop", deadline, QuiesceError)

    def confirm(self, mode: Quiesce, since: Observation) -> None:
        if self.observe() != since:
            raise QuiesceError(f"{self.name} was started meanwhile")

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        self._run("start", deadline, ResumeError)

    def rescue_command(self, mode: Quiesce) -> tuple[str, ...]:
        return (sys.executable, os.fspath(SERVICE), "start", os.fspath(self._server.folder))

    def _run(self, deed: str, deadline: Deadline, kind: type[QuiesceError | ResumeError]) -> None:
        argv = [sys.executable, os.fspath(SERVICE), deed, os.fspath(self._server.folder)]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline.remaining(), check=False)
        except subprocess.TimeoutExpired as error:
            raise kind(f"{self.name}: {deed} takes too long") from error
        if done.returncode:
            raise kind(f"{self.name}: {deed} failed: {done.stderr.strip()}")
