"""An application for tests: the same kinds of files as Open WebUI's, and rules that tell a whole copy from another.

    application.py serve        write until SIGTERM; HTTP on $PORT: /health, /api/version, /stats
    application.py fill MB      make DATA_DIR about so big
    application.py check DIR    tell which rules a copy breaks; status 1 when it breaks one
    application.py health       status 0 when /health answers
    application.py stats        commits, and the longest time without one, since the last time this was asked

Settings of `serve`: DATA_DIR, PORT, JOURNAL (wal or delete), RATE (commits a second), UPLOAD_EVERY (so many of them),
START_SECONDS, STOP_SECONDS, DEAF=1 (SIGTERM is not heard), SYNCHRONOUS, WEBUI_SECRET_KEY, WEBUI_SECRET_KEY_FILE. The
standard library only.

Each round writes in one fixed order, so that at any moment these rules hold: the ledger has no gap and its sum is the
number of its lines; a file's row has its upload; a file that is done has its vectors, in the database and in the index;
the index has nothing that the database does not know.
"""

import hashlib
import http.server
import json
import os
import pathlib
import random
import signal
import sqlite3
import struct
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence

RECORD_BYTES = 2048
INDEXES = ("11111111-aaaa", "22222222-bbbb", "33333333-cccc")
TABLES = """
CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT);
CREATE TABLE IF NOT EXISTS user (id TEXT PRIMARY KEY, created_at INTEGER);
CREATE TABLE IF NOT EXISTS auth (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS chat (id INTEGER PRIMARY KEY, title TEXT, chat TEXT);
CREATE TABLE IF NOT EXISTS summary (chats INTEGER);
CREATE TABLE IF NOT EXISTS file (id TEXT PRIMARY KEY, path TEXT, hash TEXT, done INTEGER);
"""
VECTOR_TABLES = """
CREATE TABLE IF NOT EXISTS embeddings (number INTEGER PRIMARY KEY, file TEXT, place TEXT);
CREATE TABLE IF NOT EXISTS written (place TEXT PRIMARY KEY, number INTEGER);
CREATE TABLE IF NOT EXISTS collections (id TEXT PRIMARY KEY, name TEXT, dimension INTEGER);
CREATE TABLE IF NOT EXISTS segments (id TEXT PRIMARY KEY, scope TEXT, collection TEXT);
CREATE TABLE IF NOT EXISTS embeddings_queue (topic TEXT, id TEXT);
"""


class Store:
    """The files of one data directory, open for writing."""

    def __init__(self, folder: str, journal: str) -> None:
        self.folder = pathlib.Path(folder)
        for name in ("uploads", *(f"vector_db/{place}" for place in INDEXES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.main = self.open("webui.db", journal, TABLES)
        self.vectors = self.open("vector_db/chroma.sqlite3", "delete", VECTOR_TABLES)
        if not self.main.execute("SELECT 1 FROM summary").fetchone():
            self.main.execute("INSERT INTO alembic_version VALUES ('000000000001')")
            self.main.execute("INSERT INTO user VALUES ('first', 1700000000)")
            self.main.execute("INSERT INTO summary VALUES (0)")
            self.vectors.executemany("INSERT INTO written VALUES (?, 0)", [(place,) for place in INDEXES])
        self.chats = self.main.execute("SELECT count(*) FROM chat").fetchone()[0]
        self.number = self.vectors.execute("SELECT coalesce(max(number), 0) FROM embeddings").fetchone()[0]
        self.files = [row[0] for row in self.main.execute("SELECT id FROM file WHERE done")]

    def open(self, name: str, journal: str, tables: str) -> sqlite3.Connection:
        database = sqlite3.connect(self.folder / name, isolation_level=None, timeout=30, check_same_thread=False)
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute(f"PRAGMA synchronous = {os.environ.get('SYNCHRONOUS', 'NORMAL')}")
        database.executescript(tables)
        return database

    def chat(self, size: int = 1000) -> None:
        self.main.execute("BEGIN IMMEDIATE")
        self.write_chat(size)
        self.main.execute("COMMIT")

    def write_chat(self, size: int) -> None:
        self.chats += 1
        self.main.execute("INSERT INTO chat VALUES (?, 'chat', ?)", (self.chats, os.urandom(size // 2).hex()))
        self.main.execute("UPDATE summary SET chats = chats + 1")

    def upload(self, size: int) -> None:
        name, body = os.urandom(8).hex(), os.urandom(size)
        (self.folder / "uploads" / name).write_bytes(body)
        row = (name, f"{self.folder}/uploads/{name}", hashlib.sha256(body).hexdigest())
        self.main.execute("INSERT INTO file VALUES (?, ?, ?, 0)", row)
        place = random.choice(INDEXES)
        self.number += 1
        self.vectors.execute("INSERT INTO embeddings VALUES (?, ?, ?)", (self.number, name, place))
        self.append(place, [self.number])
        self.vectors.execute("UPDATE written SET number = ? WHERE place = ?", (self.number, place))
        self.main.execute("UPDATE file SET done = 1 WHERE id = ?", (name,))
        self.files.append(name)

    def append(self, place: str, numbers: Sequence[int]) -> None:
        folder = self.folder / "vector_db" / place
        with open(folder / "data_level0.bin", "ab") as file:
            file.writelines(struct.pack("<Q", number) + os.urandom(RECORD_BYTES - 8) for number in numbers)
        with open(folder / "header.bin", "wb") as file:  # truncated and rewritten in place
            file.write(struct.pack("<QQ", numbers[-1], RECORD_BYTES))

    def delete(self) -> None:
        name = self.files.pop(random.randrange(len(self.files)))
        self.main.execute("DELETE FROM file WHERE id = ?", (name,))
        (self.folder / "uploads" / name).unlink()

    def close(self) -> None:
        self.main.close()
        self.vectors.close()


class Pulse:
    """When the last commit was, and the longest time without one."""

    def __init__(self) -> None:
        self.commits, self.longest, self.last = 0, 0.0, time.time()

    def beat(self) -> None:
        now = time.time()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        self.commits += 1

    def told(self, reset: bool) -> dict[str, float]:
        answer = {"commits": self.commits, "longest_gap_seconds": max(self.longest, time.time() - self.last)}
        if reset:
            self.commits, self.longest = 0, 0.0
        return answer


def answers(pulse: Pulse) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            known: dict[str, object] = {"/health": {"status": True}, "/api/version": {"version": "0.0.1"}}
            path, _, query = self.path.partition("?")
            body = known.get(path) or (pulse.told("reset" in query) if path == "/stats" else None)
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    return Handler


def keep_key(setting: Callable[[str], str | None]) -> None:
    """As `start.sh` of the real image does: a key of its own, in the working directory, unless one is given."""
    place = pathlib.Path(setting("WEBUI_SECRET_KEY_FILE") or ".webui_secret_key")
    if not setting("WEBUI_SECRET_KEY") and not place.exists():
        place.write_text(os.urandom(9).hex())


def serve() -> None:
    setting = os.environ.get
    asked = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if setting("DEAF") == "1" else lambda *_: asked.set())
    keep_key(setting)
    time.sleep(float(setting("START_SECONDS", "0")))
    store = Store(os.environ["DATA_DIR"], setting("JOURNAL", "wal"))
    pulse, rate = Pulse(), float(setting("RATE", "100"))
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(setting("PORT", "8080"))), answers(pulse))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    turn, due, every = 0, time.monotonic(), int(setting("UPLOAD_EVERY", "20"))
    while not asked.is_set():
        turn += 1
        if turn % every == 0:
            store.upload(random.randint(1000, 20000))
            if len(store.files) > 50 and turn % (2 * every) == 0:
                store.delete()
        else:
            store.chat()
        pulse.beat()
        due = max(due + 1 / rate, time.monotonic() - 0.5)  # after a freeze no burst
        time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(float(setting("STOP_SECONDS", "0")))
    server.shutdown()
    store.close()


def fill(megabytes: int) -> None:
    """Four tenths in the database, three in uploads, three in the index."""
    store = Store(os.environ["DATA_DIR"], os.environ.get("JOURNAL", "wal"))
    for database in (store.main, store.vectors):
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
    for _ in range(max(1, megabytes * 2)):
        store.upload(150_000)
    for place in INDEXES:
        numbers = range(store.number + 1, store.number + 1 + megabytes * 100_000 // RECORD_BYTES)
        store.number += len(numbers)
        store.vectors.executemany("INSERT INTO embeddings VALUES (?, '', ?)", [(number, place) for number in numbers])
        store.append(place, numbers)
        store.vectors.execute("UPDATE written SET number = ? WHERE place = ?", (store.number, place))
    for _ in range(megabytes * 4):
        store.write_chat(100_000)
    for database in (store.main, store.vectors):
        database.execute("COMMIT")
    store.close()


def check(folder: pathlib.Path) -> Iterator[str]:
    """The rules that are broken, as text."""
    main, vectors = sqlite3.connect(folder / "webui.db"), sqlite3.connect(folder / "vector_db" / "chroma.sqlite3")
    for name, database in (("webui.db", main), ("chroma.sqlite3", vectors)):
        found = database.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            yield f"{name}: {found}"
    chats, last = main.execute("SELECT count(*), coalesce(max(id), 0) FROM chat").fetchone()
    told = main.execute("SELECT chats FROM summary").fetchone()[0]
    if not chats == last == told:
        yield f"the ledger has {chats} lines, the last is {last}, its sum says {told}"
    yield from check_files(folder, main, vectors)
    yield from check_indexes(folder, vectors)


def check_files(folder: pathlib.Path, main: sqlite3.Connection, vectors: sqlite3.Connection) -> Iterator[str]:
    known = {row[0] for row in vectors.execute("SELECT DISTINCT file FROM embeddings")}
    for name, path, digest, done in main.execute("SELECT * FROM file"):
        try:
            if hashlib.sha256((folder / "uploads" / pathlib.Path(path).name).read_bytes()).hexdigest() != digest:
                yield f"upload {name} has other bytes"
        except FileNotFoundError:
            yield f"upload {name} is missing"
        if done and name not in known:
            yield f"file {name} is done but has no vector"


def check_indexes(folder: pathlib.Path, vectors: sqlite3.Connection) -> Iterator[str]:
    top = vectors.execute("SELECT coalesce(max(number), 0) FROM embeddings").fetchone()[0]
    for place, upto in vectors.execute("SELECT place, number FROM written WHERE number > 0"):
        data = (folder / "vector_db" / place / "data_level0.bin").read_bytes()
        have = {struct.unpack_from("<Q", data, at)[0] for at in range(0, len(data) - 7, RECORD_BYTES)}
        rows = vectors.execute("SELECT number FROM embeddings WHERE place = ? AND number <= ?", (place, upto))
        if len(data) % RECORD_BYTES:
            yield f"index {place} ends in half a record"
        if lost := {row[0] for row in rows} - have:
            yield f"index {place} lost {len(lost)} vectors"
        if ahead := [number for number in have if number > top]:
            yield f"index {place} has {len(ahead)} vectors that the database does not know"


def ask(path: str) -> bytes:
    """An answer of the application that runs in the same container."""
    answer = urllib.request.urlopen(f"http://127.0.0.1:{os.environ.get('PORT', '8080')}{path}", timeout=10)
    return bytes(answer.read())


def main() -> None:
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["fill", megabytes]:
            fill(int(megabytes))
        case ["check", folder]:
            broken = list(check(pathlib.Path(folder)))
            print("\n".join(broken))
            sys.exit(bool(broken))
        case ["health"]:
            ask("/health")
        case ["stats"]:
            print(ask("/stats?reset").decode())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
