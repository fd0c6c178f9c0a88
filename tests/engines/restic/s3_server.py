"""A small S3 server for tests: python s3_server.py PORT FOLDER KEY SECRET.

As much of S3 as a restic repository needs, from the standard library, with signatures checked (version 4): Debian's
rclone is built without `serve s3`.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    key: str
    secret: str

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the standard library
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.signed():
            self.refuse(403, "AccessDenied")
            return
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        bucket, _, name = unquote(url.path).strip("/").partition("/")
        if not (self.folder / bucket).is_dir():
            self.refuse(404, "NoSuchBucket")
        elif not name:
            self.bucket(bucket, query)
        else:
            self.object(self.folder / bucket / name, body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_one  # noqa: N815  # names of the standard library

    def signed(self) -> bool:
        head = self.headers.get("Authorization", "").removeprefix("AWS4-HMAC-SHA256 ")
        parts = dict(part.strip().partition("=")[::2] for part in head.split(",") if "=" in part)
        access, _, scope = parts.get("Credential", "").partition("/")
        if access != self.key:
            return False
        url = urlsplit(self.path)
        query = sorted(parse_qsl(url.query, keep_blank_values=True))
        names = parts["SignedHeaders"].split(";")
        headers = "".join(f"{name}:{' '.join(self.headers.get(name, '').split())}\n" for name in names)
        canonical_query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
        hashed = self.headers["x-amz-content-sha256"]
        canonical = "\n".join((self.command, url.path, canonical_query, headers, parts["SignedHeaders"], hashed))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, digest))
        key = b"AWS4" + self.secret.encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.compare_digest(key.hex(), parts["Signature"])

    def bucket(self, bucket: str, query: dict[str, str]) -> None:
        if "location" in query:
            self.answer(200, b"<LocationConstraint>us-east-1</LocationConstraint>")
            return
        root, prefix, delimiter = self.folder / bucket, query.get("prefix", ""), query.get("delimiter", "")
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        found, groups = [], set()
        for name in names:
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    groups.add(prefix + rest.split(delimiter)[0] + delimiter)
                else:
                    found.append(name)
        items = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{(root / name).stat().st_size}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in found
        ) + "".join(f"<CommonPrefixes><Prefix>{escape(group)}</Prefix></CommonPrefixes>" for group in sorted(groups))
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode())

    def object(self, path: Path, body: bytes) -> None:
        if self.command == "PUT":
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f"{path.name}.{id(body)}.new")
            new.write_bytes(unchunked(body) if "STREAMING" in self.headers["x-amz-content-sha256"] else body)
            new.rename(path)
            self.answer(200, ETag='"x"')
        elif self.command == "DELETE":
            path.unlink(missing_ok=True)
            self.answer(204)
        elif path.is_file():
            self.send_object(path.read_bytes())
        else:
            self.refuse(404, "NoSuchKey")

    def send_object(self, data: bytes) -> None:
        headers = {"Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"x"'}
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if not wanted or self.command == "HEAD":
            self.answer(200, data, **headers)
            return
        first, _, last = wanted.partition("-")
        end = int(last) + 1 if last else len(data)
        part = data[int(first) : end]
        self.answer(206, part, Content_Range=f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}", **headers)


def unchunked(body: bytes) -> bytes:
    """What a streaming upload holds: `SIZE;chunk-signature=…`, the bytes, until SIZE is 0."""
    found = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        found += body[:size]
        body = body[size + 2 :]
        if size == 0:
            break
    return found


if __name__ == "__main__":
    Handler.folder, Handler.key, Handler.secret = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
