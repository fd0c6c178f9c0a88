"""Holds a running instance against what clients had been told by a certain moment. Only its API is asked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.e2e.api import Client, RefusedError, sign_in
from tests.e2e.deeds import Deed, Expected, Thing, things


@dataclass(frozen=True, kw_only=True)
class Person:
    email: str
    password: str
    token: str = ""  # of the live instance: with the same secret key it opens every copy


@dataclass
class Findings:
    """What was looked at, and what was wrong. `late` are things from after the moment, which must not be there."""

    present: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        there = ", ".join(f"{count} {kind}s" for kind, count in sorted(self.present.items()))
        gone = sum(self.absent.values())
        return f"{there} found, {gone} deleted or later ones absent, {len(self.problems)} problems"


class Finder:
    """One look at one instance for one moment."""

    def __init__(self, url: str, people: Sequence[Person], moment: float) -> None:
        self.url, self.people, self.moment = url, people, moment
        self.findings = Findings()
        self.clients: dict[str, Client] = {}

    def look(self, recorded: Iterable[Deed]) -> Findings:
        for person in self.people:
            self._person(person)
        recorded = list(recorded)
        all_things = things(recorded)
        unanswered = Counter(deed.by for deed in recorded if deed.kind == "chat" and not deed.id)
        for person in self.people:
            self._chats(
                [thing for thing in all_things if thing.made.kind == "chat" and thing.made.by == person.email],
                unanswered[person.email],
            )
        admin = self.clients[self.people[0].email]
        bases = {thing.made.id: thing for thing in all_things if thing.made.kind == "base"}
        for thing in all_things:
            match thing.made.kind:
                case "file":
                    self._judge(thing, thing.expected(self.moment), self._download(admin, thing))
                case "base":
                    self._judge(thing, thing.expected(self.moment), self._base(admin, thing))
                case "document":
                    self._document(admin, thing, bases[thing.made.detail["base"]])
        self._whole(admin)
        return self.findings

    def _person(self, person: Person) -> None:
        """The password opens it, and so does a token of the live instance: the secret key came along."""
        self.clients[person.email] = Client(self.url, sign_in(self.url, person.email, person.password))
        try:
            told = Client(self.url, person.token).call("GET", "/api/v1/auths/")
        except RefusedError as error:
            self.findings.problems.append(f"the session of {person.email} is not known: {error}")
        else:
            if told["email"] != person.email:
                self.findings.problems.append(f"the session of {person.email} is {told['email']}'s")
        self.findings.present["person"] += 1

    def _chats(self, chats: Sequence[Thing], strangers: int) -> None:
        if not chats:
            return
        lines = self.clients[chats[0].made.by].raw("GET", "/api/v1/chats/all").splitlines()
        there = {chat["id"]: chat for chat in map(json.loads, filter(None, lines))}
        for thing in chats:
            chat = there.pop(thing.made.id, None)
            self._judge(thing, thing.expected(self.moment), chat is not None)
            if chat is not None:
                self._version(thing, chat)
        if len(there) > strangers:
            self.findings.problems.append(f"{len(there)} chats nobody made: {sorted(there)[:3]}")

    def _version(self, thing: Thing, chat: dict[str, object]) -> None:
        content = chat["chat"]
        assert isinstance(content, dict)
        messages = len(content["history"]["messages"])
        wanted = {2 * version for version in thing.versions(self.moment)}
        if chat["title"] != thing.made.detail["title"] or messages not in wanted:
            self.findings.problems.append(
                f"chat {thing.made.id} has {messages} messages, not one of {sorted(wanted)}, title {chat['title']}"
            )

    def _download(self, client: Client, thing: Thing) -> bool:
        try:
            content = client.download(thing.made.id)
        except RefusedError as error:
            if error.status >= 500:
                self.findings.problems.append(f"file {thing.made.id}: {error}")
            return False
        if hashlib.sha256(content).hexdigest() != thing.made.detail["sha256"]:
            self.findings.problems.append(f"file {thing.made.id} came back with other bytes ({len(content)})")
        return True

    @staticmethod
    def _base(client: Client, thing: Thing) -> bool:
        try:
            return client.call("GET", f"/api/v1/knowledge/{thing.made.id}") is not None
        except RefusedError:
            return False

    def _document(self, client: Client, thing: Thing, base: Thing) -> None:
        """In a base that is there, its mark finds it; before it was added and after it was removed, nothing does."""
        if base.expected(self.moment) is not Expected.PRESENT:
            return
        expected = thing.expected(self.moment)
        if expected is Expected.EITHER:
            return
        try:
            found = thing.made.id in client.found_in(base.made.id, thing.made.detail["mark"])
        except RefusedError as error:
            self.findings.problems.append(f"document {thing.made.id}: {error}")
            return
        self._judge(thing, expected, found)

    def _judge(self, thing: Thing, expected: Expected, there: bool) -> None:
        what = f"{thing.made.kind} {thing.made.id} of {thing.made.begun - self.moment:+.3f} s"
        if expected is Expected.EITHER:
            return
        if expected is Expected.PRESENT:
            self.findings.present[thing.made.kind] += 1
            if not there:
                self.findings.problems.append(f"{what} is missing")
        else:
            self.findings.absent[thing.made.kind] += 1
            if there:
                self.findings.problems.append(f"{what} should not be there")

    def _whole(self, admin: Client) -> None:
        """What the instance itself lists can be had, whoever made it."""
        version = admin.call("GET", "/api/version")
        if not version.get("version"):
            self.findings.problems.append(f"it does not tell its version: {version}")
