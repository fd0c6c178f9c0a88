"""Notifications by mail, webhook, ntfy, Slack and whatever else Apprise knows."""

from __future__ import annotations

import json
from collections.abc import Mapping

from owui_vault.errors import DeadlineExceededError, NotifyError
from owui_vault.model import Event, EventKind, Secret
from owui_vault.notify.addresses import scheme_of, without_addresses
from owui_vault.ports import SecretSource
from owui_vault.system import python
from owui_vault.system.process import Command, run
from owui_vault.system.python import environ_or_own

_SECONDS = 9.0  # a second less than anybody waits for a notifier
_TYPES = {
    EventKind.FAILURE: "failure",
    EventKind.INCOMPLETE: "failure",
    EventKind.OVERDUE: "failure",
    EventKind.WARNING: "warning",
    EventKind.RECOVERY: "success",
    EventKind.SUCCESS: "success",
    EventKind.SUMMARY: "info",
}
#: By which services are reached and their certificates believed.
_INHERITED = ("HOME", "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class AppriseNotifier:
    """One address of Apprise's, such as `mailtos://…`, `json://…` (a webhook), `ntfy://…` or `slack://…`.

    The address may hold passwords: it is revealed when there is something to tell, goes to the one process that needs
    it, and is never repeated.
    """

    def __init__(self, address: SecretSource | Secret, environ: Mapping[str, str] | None = None) -> None:
        """`environ` (None: this process's) has the proxies and certificates."""
        self._address = address
        self._environ = environ_or_own(environ)

    def notify(self, event: Event) -> None:
        """Hand it over. Raises NotifyError, SecretError or ProgramMissingError."""
        address = self._address.reveal()
        kind = _TYPES[event.kind]
        job = {"address": address, "title": event.subject, "body": event.body, "kind": kind}
        command = Command(
            argv=(python.interpreter(), "-m", "owui_vault.notify.apprise_main"),
            environment={**self._surroundings(), **python.module_environment()},
            stdin=json.dumps(job),
            timeout_seconds=_SECONDS,
            name="apprise",
        )
        try:
            completed = run(command)
        except DeadlineExceededError:
            raise _failed(f"no answer within {_SECONDS:g} s", address) from None
        try:
            said = str(json.loads(completed.stdout)["said"])
        except (ValueError, KeyError, TypeError):
            last = completed.stderr_tail.strip().rpartition("\n")[2]
            raise _failed(f"apprise ended with {completed.status}: {last}", address) from None
        if said:
            raise _failed(said, address)

    def _surroundings(self) -> dict[str, str]:
        proxies = [name for name in self._environ if name.lower().endswith("_proxy")]
        return {name: self._environ[name] for name in (*_INHERITED, *proxies) if name in self._environ}


def _failed(said: str, address: str) -> NotifyError:
    scheme = scheme_of(address)
    return NotifyError(
        f"{f'{scheme}: ' if scheme else ''}{without_addresses(said, address)}",
        hint="Is the address right, and the service there? docs/monitoring.md has examples.",
    )
