"""One message to one address, in a process of its own: the only door to Apprise.

It has many services, each with a client and timeouts of its own, and takes most of a second to import. What hangs in
one of them is killed from outside, and takes nothing with it. The job is one JSON object on stdin, the answer another
on stdout: what was said where it was not accepted.
"""

from __future__ import annotations

import json
import logging
import signal
import sys

_LONGEST = 2000


class _Kept(logging.Handler):
    """What is complained about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(record.getMessage())


def deliver(address: str, *, title: str, body: str, kind: str) -> str:
    """Hand a message to a service; what was said where it did not take it, empty where it did."""
    try:
        import apprise  # noqa: PLC0415  here alone, and slow
    except ImportError as error:
        return f"apprise cannot be imported: {error}"
    kept = _Kept()
    log = logging.getLogger("apprise")
    log.propagate = False
    log.addHandler(kept)
    asset = apprise.AppriseAsset(app_id="owui_vault", app_desc="owui_vault", app_url="", async_mode=False)
    target = apprise.Apprise(asset=asset)
    if not target.add(address):
        return "it is no address that Apprise knows"
    if bool(target.notify(body=body, title=title, notify_type=kind, body_format="text")):
        return ""
    return ("; ".join(kept.lines) or "it was not accepted")[:_LONGEST]


def main() -> None:
    """Read the job, do it, answer."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started us has waited long enough: no clean-up
    job = json.load(sys.stdin)
    said = deliver(job["address"], title=job["title"], body=job["body"], kind=job["kind"])
    print(json.dumps({"said": said}))


if __name__ == "__main__":
    main()
