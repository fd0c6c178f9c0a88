"""The engine through its SDK: what makes containers quiet. Resuming them needs less (`containers.client`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from owui_vault.containers.client import FORBIDDEN_HINT, no_answer
from owui_vault.containers.status import parse
from owui_vault.errors import QuiesceError
from owui_vault.model import Deadline, InstanceState
from owui_vault.quiesce.container.rescue import Target
from owui_vault.system.clock import SystemClock

if TYPE_CHECKING:
    from docker import APIClient

_TRIES = 3  # runc loses a race against a health check's exec now and then: "unable to freeze" (moby#48205)
_NAP_SECONDS = 0.1
_HTTP_SECONDS = 30


@contextmanager
def open_engine(address: str) -> Iterator[APIClient]:
    """The SDK's client; its errors become ours."""
    from requests.exceptions import RequestException  # noqa: PLC0415 - comes with docker

    import docker  # noqa: PLC0415 - heavy, and most runs touch no container

    try:
        client = docker.APIClient(base_url=address, version="auto", timeout=_HTTP_SECONDS)
    except (docker.errors.DockerException, OSError) as error:
        raise (_refused(error) if _forbids(error.__cause__) else no_answer(address, error)) from error
    try:
        yield client
    except docker.errors.DockerException as error:  # first: the SDK's answers with an error are RequestExceptions too
        raise _refused(error) from error
    except RequestException as error:
        raise no_answer(address, error) from error
    finally:
        client.close()


def pause(engine: APIClient, target: Target, deadline: Deadline) -> InstanceState | None:
    """Pause it; the state it is in afterwards (None: removed). Raises QuiesceError when it still runs."""
    complaint = _attempt(lambda: engine.pause(target.id))
    for _ in range(_TRIES - 1):
        if _state(engine, target) is not InstanceState.RUNNING:
            break
        _attempt(lambda: engine.unpause(target.id))  # it may be half frozen
        SystemClock().sleep(min(_NAP_SECONDS, deadline.remaining()))
        if deadline.passed():
            break
        complaint = _attempt(lambda: engine.pause(target.id)) or complaint
    state = _state(engine, target)
    if state is InstanceState.RUNNING:
        raise QuiesceError(f"container {target.id[:12]} could not be paused: {complaint}", hint=_hint(complaint))
    return state


def stop(engine: APIClient, target: Target, deadline: Deadline) -> InstanceState | None:
    """Stop it; the state it is in afterwards (None: removed). Raises QuiesceError when it did not stop."""
    complaint = _attempt(lambda: engine.stop(target.id, timeout=max(1, int(deadline.remaining()))))
    state = _state(engine, target)
    if state not in (InstanceState.STOPPED, None):
        hint = _hint(complaint, "Raise limits.stop.")
        raise QuiesceError(f"container {target.id[:12]} did not stop: {complaint}", hint=hint)
    return state


def _state(engine: APIClient, target: Target) -> InstanceState | None:
    from docker.errors import NotFound  # noqa: PLC0415 - loaded already by whoever calls this

    try:
        return parse(engine.inspect_container(target.id)).state
    except NotFound:
        return None


def _attempt(call: Callable[[], object]) -> str:
    """What the engine complained about; the state decides, not that."""
    from docker.errors import APIError  # noqa: PLC0415 - loaded already by whoever calls this

    try:
        call()
    except APIError as error:
        return f"it is forbidden ({error})" if _forbids(error) else str(error.explanation or error)
    return ""


def _refused(error: Exception) -> QuiesceError:
    forbidden = _forbids(error) or _forbids(error.__cause__)
    return QuiesceError(f"the engine refused: {error}", hint=FORBIDDEN_HINT if forbidden else "")


def _forbids(error: BaseException | None) -> bool:
    return getattr(error, "status_code", None) == 403


def _hint(complaint: str, otherwise: str = "Try again.") -> str:
    return FORBIDDEN_HINT if complaint.startswith("it is forbidden") else otherwise
