"""As much of Open WebUI's HTTP API as clients of these tests use. Only the standard library."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

PATIENCE_SECONDS = 120.0

Witness = Callable[[str, float, float, int], None]  # name, begun, took, status (0: no answer)


class RefusedError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class SilentError(Exception):
    """No answer: nobody listens, or the connection broke. What was asked may or may not have been done."""


def no_witness(_name: str, _begun: float, _took: float, _status: int) -> None:
    """For those whose requests nobody times."""


class Client:
    """One person at one server, for one thread."""

    def __init__(self, url: str, token: str = "", witness: Witness = no_witness) -> None:
        self._host = urlsplit(url).netloc
        self._token = token
        self._witness = witness
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, value: object = None, name: str = "") -> Any:
        """JSON there and back."""
        body = None if value is None else json.dumps(value).encode()
        answer = self.raw(method, path, body, name=name)
        return json.loads(answer) if answer else None

    def raw(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", name: str = ""
    ) -> bytes:
        """Bytes back. Raises RefusedError or SilentError."""
        headers = {"Content-Type": kind}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        wall, begun, status = time.time(), time.monotonic(), 0
        try:
            status, answer = self._exchange(method, path, body, headers)
        finally:
            self._witness(name or f"{method} {path.partition('?')[0]}", wall, time.monotonic() - begun, status)
        if status >= 400:
            raise RefusedError(status, answer.decode(errors="replace")[:300])
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = self._connection or http.client.HTTPConnection(self._host, timeout=PATIENCE_SECONDS)
        self._connection = None
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            told = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise SilentError(f"{method} {path}: {error!r}") from error
        self._connection = connection
        return told

    def upload(self, file_name: str, content: bytes, *, process: bool) -> dict[str, Any]:
        """One file. A processed one has been embedded when this returns."""
        border = uuid.uuid4().hex
        kind = "text/plain" if process else "application/octet-stream"
        head = f'Content-Disposition: form-data; name="file"; filename="{file_name}"\r\nContent-Type: {kind}'
        body = b"--%s\r\n%s\r\n\r\n%s\r\n--%s--\r\n" % (border.encode(), head.encode(), content, border.encode())
        flags = f"process={str(process).lower()}&process_in_background=false"
        answer = self.raw(
            "POST",
            f"/api/v1/files/?{flags}",
            body,
            f"multipart/form-data; boundary={border}",
            name="upload a document" if process else "upload a file",
        )
        told: dict[str, Any] = json.loads(answer)
        return told

    def download(self, identity: str) -> bytes:
        return self.raw("GET", f"/api/v1/files/{quote(identity)}/content")

    def found_in(self, base: str, text: str, count: int = 5) -> list[str]:
        """The files whose pieces are nearest to a text."""
        answer = self.call(
            "POST",
            "/api/v1/retrieval/query/collection",
            {"collection_names": [base], "query": text, "k": count},
            name="ask a knowledge base",
        )
        return [each.get("file_id", "") for pieces in (answer or {}).get("metadatas") or [] for each in pieces]


def sign_in(url: str, email: str, password: str) -> str:
    """A token."""
    told = Client(url).call("POST", "/api/v1/auths/signin", {"email": email, "password": password})
    return str(told["token"])
