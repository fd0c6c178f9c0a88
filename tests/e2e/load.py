"""Clients at work: `python -m tests.e2e.load ORDER.json` until SIGTERM.

ORDER.json: url, people ({email: token}; the first is the administrator), record, requests, profile, seed. `people`
chats, uploads and now and then a document, with the pauses people make; `ingestion` adds documents without a pause.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.api import Client, RefusedError, SilentError
from tests.e2e.deeds import Deed, Record

WORDS = [
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "glade",
    "heron",
    "inlet",
    "jetty",
    "knoll",
    "lagoon",
    "marsh",
    "north",
    "oasis",
    "prairie",
]
LINES = ("Çok güzel bir gün", "Τι ώρα είναι;", "今天天气很好", "שלום לכולם", "🦊🌲 été à Besançon")
ENOUGH = 40  # of a kind per client: above that, something is deleted first


class Worker:
    """One person with one connection. `step` does one thing; an unanswered request is recorded as such."""

    def __init__(self, url: str, who: tuple[str, str], record: Record, witness: Record, seed: str) -> None:
        self.email, token = who

        def seen(name: str, begun: float, took: float, status: int) -> None:
            witness.line([name, round(begun, 4), round(took, 4), status])

        self.client = Client(url, token, seen)
        self.record = record
        self.dice = random.Random(seed)
        self.own: list[dict[str, Any]] = []

    def step(self) -> None:
        raise NotImplementedError

    def pause(self) -> float:
        raise NotImplementedError

    def words(self, count: int) -> str:
        return " ".join(self.dice.choices(WORDS, k=count))

    def do(self, what: str, kind: str, identity: str, act: Callable[[], Any], **detail: Any) -> Any:
        """One deed. A `make` takes its id from the answer."""
        begun = time.time()
        try:
            answer = act()
        except SilentError:
            self.record.add(
                Deed(what=what, kind=kind, id=identity, by=self.email, begun=begun, done=None, detail=detail)
            )
            raise
        done = time.time()
        identity = identity or answer["id"]
        self.record.add(Deed(what=what, kind=kind, id=identity, by=self.email, begun=begun, done=done, detail=detail))
        return answer

    def run(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                self.step()
            except SilentError:
                ended.wait(0.2)
            except RefusedError as error:
                print(f"{type(self).__name__} {self.email}: {error}", flush=True)
                ended.wait(0.5)
            ended.wait(self.pause())


class Chatter(Worker):
    """Begins chats, goes on with them, deletes some."""

    def pause(self) -> float:
        return self.dice.uniform(0.05, 0.4)

    def step(self) -> None:
        luck = self.dice.random()
        if luck < 0.35 and self.own:
            self._change(self.dice.choice(self.own))
        elif (luck < 0.5 and len(self.own) > 5) or len(self.own) > ENOUGH:
            chat = self.own.pop(self.dice.randrange(len(self.own)))
            identity = chat["id"]
            self.do("delete", "chat", identity, lambda: self.client.call("DELETE", f"/api/v1/chats/{identity}"))
        else:
            self._make()

    def _make(self) -> None:
        chat = {"version": 1, "messages": [], "title": f"{self.words(3)} {self.dice.choice(LINES)}"}
        self._say(chat)
        title = chat["title"]
        made = self.do(
            "make", "chat", "", lambda: self.client.call("POST", "/api/v1/chats/new", self._body(chat), "save a chat"),
            title=title,
        )  # fmt: skip
        self.own.append({**chat, "id": made["id"]})

    def _change(self, chat: dict[str, Any]) -> None:
        self._say(chat)
        chat["version"] += 1
        path = f"/api/v1/chats/{chat['id']}"
        act = lambda: self.client.call("POST", path, self._body(chat), "save a chat")  # noqa: E731  one call
        self.do("change", "chat", chat["id"], act, version=chat["version"])

    def _say(self, chat: dict[str, Any]) -> None:
        for role in ("user", "assistant"):
            said = {"id": str(uuid.uuid4()), "role": role, "content": self.words(40), "timestamp": int(time.time())}
            chat["messages"].append(said)

    def _body(self, chat: dict[str, Any]) -> dict[str, Any]:
        messages: dict[str, Any] = {}
        parent = None
        for said in chat["messages"]:
            messages[said["id"]] = {**said, "parentId": parent, "childrenIds": [], "models": ["parrot"]}
            if parent:
                messages[parent]["childrenIds"] = [said["id"]]
            parent = said["id"]
        history = {"messages": messages, "currentId": parent}
        return {"chat": {"title": chat["title"], "models": ["parrot"], "history": history, "messages": []}}


class Uploader(Worker):
    """Uploads bytes that are stored as they are, and deletes some."""

    def pause(self) -> float:
        return self.dice.uniform(0.2, 0.7)

    def step(self) -> None:
        if len(self.own) > ENOUGH or (len(self.own) > 5 and self.dice.random() < 0.2):
            identity = self.own.pop(self.dice.randrange(len(self.own)))["id"]
            self.do("delete", "file", identity, lambda: self.client.call("DELETE", f"/api/v1/files/{identity}"))
            return
        content = self.dice.randbytes(self.dice.randrange(5_000, 250_000))
        name = f"{self.words(2)} {self.dice.choice(('übersicht', '報告', 'plain'))}.bin"
        digest = hashlib.sha256(content).hexdigest()
        made = self.do(
            "make", "file", "", lambda: self.client.upload(name, content, process=False),
            sha256=digest, size=len(content),
        )  # fmt: skip
        self.own.append({"id": made["id"]})


class Librarian(Worker):
    """Makes knowledge bases and fills them; deletes documents and, at last, a whole base."""

    lines = 60
    per_base = 8
    kept = 4

    def pause(self) -> float:
        return self.dice.uniform(1.0, 4.0)

    def step(self) -> None:
        if not self.own or len(self.own[-1]["documents"]) >= self.per_base:
            self._base()
        base = self.own[-1]
        if len(base["documents"]) > 2 and self.dice.random() < 0.15:
            self._remove(base)
        else:
            self._add(base)
        if len(self.own) > self.kept:
            old = self.own.pop(0)["id"]
            self.do("delete", "base", old, lambda: self.client.call("DELETE", f"/api/v1/knowledge/{old}/delete"))

    def _base(self) -> None:
        wanted = {"name": f"base {self.words(2)}", "description": self.words(5)}
        made = self.do("make", "base", "", lambda: self.client.call("POST", "/api/v1/knowledge/create", wanted))
        self.own.append({"id": made["id"], "documents": []})

    def _add(self, base: dict[str, Any]) -> None:
        mark = f"mark{uuid.UUID(int=self.dice.getrandbits(128)).hex[:12]}"
        text = "\n".join(f"{mark} {self.words(14)}." for _ in range(self.lines)).encode()
        made = self.do(
            "make", "file", "", lambda: self.client.upload(f"{mark}.txt", text, process=True),
            sha256=hashlib.sha256(text).hexdigest(), size=len(text),
        )  # fmt: skip
        path, asked = f"/api/v1/knowledge/{base['id']}/file/add", {"file_id": made["id"]}
        act = lambda: self.client.call("POST", path, asked, "add a document")  # noqa: E731  one call
        self.do("make", "document", made["id"], act, base=base["id"], mark=mark)
        base["documents"].append(made["id"])

    def _remove(self, base: dict[str, Any]) -> None:
        identity = base["documents"].pop(0)
        path = f"/api/v1/knowledge/{base['id']}/file/remove"
        begun = time.time()
        done = None
        try:
            self.client.call("POST", path, {"file_id": identity})
            done = time.time()
        finally:  # the file goes with its place in the base
            for kind in ("document", "file"):
                self.record.add(Deed(what="delete", kind=kind, id=identity, by=self.email, begun=begun, done=done))


class Ingester(Librarian):
    """A librarian who never rests."""

    lines = 150
    kept = 6

    def pause(self) -> float:
        return 0.0


class Reader(Worker):
    """Only looks, often: what a waiting person would notice."""

    def pause(self) -> float:
        return 0.03

    def step(self) -> None:
        self.client.call("GET", "/api/v1/chats/?page=1", name="list chats")
        self.client.raw("GET", "/health", name="health")


PROFILES: dict[str, tuple[type[Worker], ...]] = {
    "people": (Chatter, Chatter, Uploader, Librarian, Reader),
    "ingestion": (Chatter, Uploader, Ingester, Ingester, Reader),
}


def main() -> int:
    order = json.loads(Path(sys.argv[1]).read_text())
    record, witness = Record(Path(order["record"])), Record(Path(order["requests"]))
    people = list(order["people"].items())
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threads = []
    for number, kind in enumerate(PROFILES[order["profile"]]):
        who = people[0] if issubclass(kind, Librarian) else people[number % len(people)]
        worker = kind(order["url"], who, record, witness, f"{order['seed']}:{number}")
        threads.append(threading.Thread(target=worker.run, args=(ended,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
