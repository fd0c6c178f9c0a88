"""The application as a container: which schemas its image knows, and whether it comes up."""

from __future__ import annotations

import posixpath

from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.containers.reader import open_engine
from owui_vault.errors import ResumeError
from owui_vault.instance.application import answer_of, revisions_of, revisions_of_texts, version_at
from owui_vault.model import ContainerRecord, Deadline
from owui_vault.ports import Clock

_MIGRATIONS = "open_webui/migrations/versions"
_POLL_SECONDS = 0.25
_MOST_RESTARTS = 3


class ContainerApplication:
    """`ports.Application` for what runs, or is to run, in one container."""

    def __init__(self, record: ContainerRecord, clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._revisions: frozenset[str] | None = None

    def revisions(self) -> frozenset[str] | None:
        """What `migrations/versions/` of its image holds, read out of the container, running or not."""
        if self._revisions is None:
            engine = open_engine(self._record.engine)
            told = parse(engine.inspect(self._record.id))
            folder = posixpath.join(told.working_dir, _MIGRATIONS)
            files = engine.read_files(told.id, folder, suffix=".py")
            texts = (body.decode(errors="replace") for body in files.values())
            self._revisions = revisions_of_texts(texts) or revisions_of((told.pid,) if told.pid > 0 else ())
        return self._revisions

    def wait_until_healthy(self, deadline: Deadline) -> str:
        """Ask it, where it can be reached, and its health check, where it has one, until both are content.

        Returns nothing for one that has neither an address nor a health check, as soon as it runs.
        """
        first = self._look()
        while True:
            told = self._look()
            answer = self._answer(told)
            if answer:
                return answer
            if told.status == "running" and not told.health and not told.addresses:
                return ""
            if not told.running or told.restarts >= first.restarts + _MOST_RESTARTS:
                raise ResumeError(f"container {told.name} went down again", hint=f"See: docker logs {told.name}")
            if deadline.passed():
                raise ResumeError(
                    f"container {told.name} is running, but does not become healthy"
                    f" ({told.health or 'it has no health check'}; /health or /api/version does not answer)",
                    hint=f"See: docker logs {told.name}",
                )
            self._clock.sleep(_POLL_SECONDS)

    def _look(self) -> ContainerInspect:
        return parse(open_engine(self._record.engine).inspect(self._record.id))

    def _answer(self, inspect: ContainerInspect) -> str:
        """What is said once all that can be asked is content; empty until then."""
        if inspect.status != "running" or inspect.health not in ("healthy", ""):
            return ""
        for host, port in inspect.addresses:
            if answer_of(host, port, "/health") is not None:
                version = version_at(host, port)
                return f"answers on {host}:{port}, version {version}" if version else ""
        # Some networks cannot be reached from here (macvlan, a remote engine); its health check looks from inside.
        if inspect.health == "healthy":
            return "healthy, according to its own health check"
        return ""
