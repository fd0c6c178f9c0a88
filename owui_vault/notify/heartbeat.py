"""Signs of life to a URL: as healthchecks.io takes them, or to a push monitor of Uptime Kuma."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from owui_vault.errors import NotifyError
from owui_vault.model import Beat, BeatKind, Secret
from owui_vault.notify.addresses import without_addresses
from owui_vault.ports import SecretSource
from owui_vault.system.python import environ_or_own
from owui_vault.version import VERSION

_SECONDS = 9.0
_LONGEST_LOG = 10_000  # what healthchecks services keep of a body
_SUFFIXES: Mapping[BeatKind, str] = {BeatKind.START: "/start", BeatKind.SUCCESS: "", BeatKind.FAILURE: "/fail"}
_KUMA = "/api/push/"
_NO_SUCH_PLACE = (404, 405)


class UrlHeartbeat:
    """A URL that expects signs of life.

    `URL/start`, `URL` and `URL/fail` are called, as healthchecks services take them; a push URL of Uptime Kuma, which
    is recognized by its `/api/push/`, is called with `status=up` or `down`, and not at the start. `log`: whether what
    the run did is sent along. The address is as good as a password and never repeated.
    """

    def __init__(
        self, address: SecretSource | Secret, *, log: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        """`environ` (None: this process's) has the proxies."""
        self._address = address
        self._log = log
        self._environ = environ_or_own(environ)

    def beat(self, beat: Beat) -> None:
        """Call it. Raises NotifyError or SecretError."""
        address = self._address.reveal().strip()
        if not address.startswith(("https://", "http://")):
            raise NotifyError("the heartbeat's address is no http or https URL", hint="Correct it.")
        is_kuma = _KUMA in urlsplit(address).path
        if is_kuma and beat.kind is BeatKind.START:
            return
        place = _kuma(address, beat, log=self._log) if is_kuma else _beside(address, _SUFFIXES[beat.kind])
        body = beat.log[-_LONGEST_LOG:].encode() if self._log and beat.log and not is_kuma else None
        status = _call(place, body, address, self._environ)
        if beat.kind is BeatKind.START and status in _NO_SUCH_PLACE:
            return  # not every service has a place for it
        if not 200 <= status < 300:
            raise NotifyError(f"the heartbeat was answered with status {status}", hint="Does its monitor still exist?")


def _beside(address: str, suffix: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix if suffix else parts.path))


def _kuma(address: str, beat: Beat, *, log: bool) -> str:
    parts = urlsplit(address)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("status", "msg", "ping")]
    ping = "" if beat.took_seconds is None else f"{beat.took_seconds * 1000:.0f}"
    message = beat.log[-200:] if log and beat.log else beat.summary or "OK"
    said = [("status", "down" if beat.kind is BeatKind.FAILURE else "up"), ("msg", message), ("ping", ping)]
    return urlunsplit(parts._replace(query=urlencode([*kept, *said])))


def _proxies(environ: Mapping[str, str], place: str) -> dict[str, str]:
    """The proxies for `host` or `host:port`. urllib itself would ask this process's environment only."""
    # HTTP_PROXY in capitals is a header of somebody's request, behind a CGI: nobody believes it.
    names = [name for name in environ if name.lower().endswith("_proxy") and name != "HTTP_PROXY"]
    names.sort(key=str.islower)  # small letters win
    proxies = {name.lower().removesuffix("_proxy"): environ[name] for name in names}
    known = {scheme: proxies[scheme] for scheme in ("http", "https") if proxies.get(scheme)}
    host = urlsplit(f"//{place}").hostname or ""
    for excepted in proxies.get("no", "").replace(" ", "").split(","):
        name = excepted.lstrip(".")
        if excepted == "*" or (name and (name in (host, place) or host.endswith(f".{name}"))):
            return {}
    return known


def _call(place: str, body: bytes | None, address: str, environ: Mapping[str, str]) -> int:
    """The status of the answer. Raises NotifyError where there is none."""
    from http.client import HTTPException  # noqa: PLC0415  slow to import, and most ticks need none of it
    from urllib.error import HTTPError  # noqa: PLC0415  same
    from urllib.request import ProxyHandler, Request, build_opener  # noqa: PLC0415  same

    headers = {"User-Agent": f"owui_vault/{VERSION}"}
    if body is not None:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    try:
        request = Request(place, data=body, headers=headers, method="GET" if body is None else "POST")  # noqa: S310  http and https only, looked at above
        with build_opener(ProxyHandler(_proxies(environ, request.host))).open(request, timeout=_SECONDS) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        said = without_addresses(str(reason) or type(error).__name__, address)
        raise NotifyError(f"the heartbeat was not taken: {said}", hint="Is its address right?") from None
