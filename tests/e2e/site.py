"""One run's folder: the living instance, its provider, its clients, two repositories and the configurations."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.e2e import upstream
from tests.e2e.api import Client
from tests.e2e.deeds import Deed, Record, deeds
from tests.e2e.finding import Finder, Findings, Person
from tests.e2e.installation import ROOT
from tests.e2e.server import OpenWebUI

ENGINES = ("restic", "borg")
PEOPLE = (
    Person(email="admin@example.org", password="the first of all"),
    Person(email="nora@example.org", password="a word of Nora"),
    Person(email="tomas@example.org", password="a word of Tomás"),
)
BIG_LINES = 15_000  # of a document that has more than the thousand pieces from which on HNSW files are written
CONFIGURATION = """\
instance:
{instance}
repositories:
  restic: {{engine: restic, location: {folder}/restic, passphrase: {{file: {folder}/passphrase}}}}
  borg: {{engine: borg, location: {folder}/borg, passphrase: {{file: {folder}/passphrase}}}}
state_dir: {folder}/state
"""


class Server(Protocol):
    """A running or stopped Open WebUI."""

    @property
    def url(self) -> str: ...

    def start(self) -> float:
        """Start it; the seconds until it answered."""

    def stop(self) -> None: ...


@dataclass
class Site(ABC):
    """Everything of one run. `live` is the instance that is backed up."""

    folder: Path
    provider: str
    live: Server
    people: tuple[Person, ...] = PEOPLE
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    @property
    def record(self) -> Path:
        return self.folder / "deeds.jsonl"

    @property
    def requests(self) -> Path:
        return self.folder / "requests.jsonl"

    def deeds(self) -> list[Deed]:
        return list(deeds(self.record))

    def configuration(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def configure(self, name: str, *instance: str) -> None:
        """Write a configuration with these lines about the instance."""
        passphrase = self.folder / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text("a passphrase for tests")
        lines = "".join(f"  {line}\n" for line in instance)
        self.configuration(name).write_text(CONFIGURATION.format(instance=lines, folder=self.folder))

    @abstractmethod
    def configure_all(self) -> None:
        """Write the configurations: at least one called `live`."""

    @abstractmethod
    def copy(self, data_dir: Path, secret_key: str) -> AbstractContextManager[Server]:
        """A second server on a restored directory, for the length of a block."""

    @abstractmethod
    def live_is_gone(self) -> AbstractContextManager[None]:
        """Nothing can come from the old place, for the length of a block. Called while it is stopped."""

    @abstractmethod
    def move_paths(self, data_dir: Path) -> None:
        """What the documentation tells to do with a directory that the engine alone brought back."""

    def ours(self, configuration: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """Our program, as a user runs it."""
        argv = [sys.executable, "-m", "owui_vault", "--config", str(self.configuration(configuration)), "--json"]
        done = subprocess.run([*argv, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        (self.folder / "log-of-ours").open("a").write(f"$ {arguments}\n{done.stderr}\n")
        if done.returncode not in allowed:
            raise AssertionError(f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer | {"exit_code": done.returncode}

    def settle_in(self) -> None:
        """The first start: an administrator, two more people, and a document big enough for an index on disk."""
        admin, *others = self.people
        body = {"name": "Admin", "email": admin.email, "password": admin.password}
        told = Client(self.live.url).call("POST", "/api/v1/auths/signup", body)
        tokens = {admin.email: str(told["token"])}
        client = Client(self.live.url, tokens[admin.email])
        for person in others:
            body = {"name": person.email, "email": person.email, "password": person.password, "role": "user"}
            tokens[person.email] = str(client.call("POST", "/api/v1/auths/add", body)["token"])
        self.people = tuple(Person(email=p.email, password=p.password, token=tokens[p.email]) for p in self.people)
        self._big_document(client)

    def _big_document(self, client: Client) -> None:
        from tests.e2e.load import Librarian  # noqa: PLC0415  it is a program of its own otherwise

        witness = Record(self.requests)
        admin = self.people[0]
        librarian = Librarian(self.live.url, (admin.email, admin.token), Record(self.record), witness, "big")
        librarian.lines = BIG_LINES
        librarian.step()

    @contextmanager
    def traffic(self, profile: str) -> Iterator[None]:
        """Clients at work for the length of a block."""
        order = {
            "url": self.live.url,
            "people": {person.email: person.token for person in self.people},
            "record": str(self.record),
            "requests": str(self.requests),
            "profile": profile,
            "seed": f"{time.time()}",
        }
        path = self.folder / "order.json"
        path.write_text(json.dumps(order))
        with (self.folder / "log-of-load").open("a") as log:
            argv = [sys.executable, "-m", "tests.e2e.load", str(path)]
            child = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)
        try:
            yield
            if child.poll() is not None:
                raise AssertionError(f"the clients ended with {child.returncode}: see {log.name}")
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(timeout=150)

    def look(self, server: Server, moment: float) -> Findings:
        return Finder(server.url, self.people, moment).look(self.deeds())


@dataclass
class ProcessSite(Site):
    """Open WebUI as pip installs it."""

    @property
    def server(self) -> OpenWebUI:
        assert isinstance(self.live, OpenWebUI)
        return self.live

    def configure_all(self) -> None:
        """`live` knows the directory only, `process` the pid file as well."""
        directory = f"data_dir: {self.server.data_dir}"
        self.configure("live", directory)
        self.configure("process", directory, f"pid_file: {self.server.pid_file}")

    @contextmanager
    def copy(self, data_dir: Path, secret_key: str) -> Iterator[Server]:
        folder = self.folder / f"server-{next(self.numbers)}"
        server = OpenWebUI.prepare(folder, data_dir, self.provider, secret_key)
        server.start()
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def live_is_gone(self) -> Iterator[None]:
        data_dir = self.server.data_dir
        away = data_dir.with_name("data-moved-away")
        data_dir.rename(away)
        try:
            yield
            assert not data_dir.exists(), "something was written where the live data had been"
        finally:
            away.rename(data_dir)

    def move_paths(self, data_dir: Path) -> None:
        with closing(sqlite3.connect(data_dir / "webui.db")) as connection, connection:
            old, new = f"{self.server.data_dir}/uploads/", f"{data_dir}/uploads/"
            connection.execute("UPDATE file SET path = replace(path, ?, ?)", (old, new))


@contextmanager
def process_site(folder: Path) -> Iterator[Site]:
    """A new one, with a started instance; everything is stopped at the end, the folder stays."""
    with provided(folder, "127.0.0.1") as url:
        live = OpenWebUI.prepare(folder / "live", folder / "live" / "data", url)
        made = ProcessSite(folder=folder, provider=url, live=live)
        try:
            made.configure_all()
            live.start()
            made.settle_in()
            yield made
        finally:
            for server in folder.glob("*/service.json"):
                argv = [sys.executable, str(Path(__file__).with_name("service.py")), "stop", str(server.parent)]
                subprocess.run(argv, check=False)


@contextmanager
def provided(folder: Path, host: str) -> Iterator[str]:
    """The stand-in for a provider, at an address of this machine."""
    ready = folder / "provider-port"
    provider = subprocess.Popen([sys.executable, upstream.__file__, str(ready), host])
    try:
        while not ready.exists():
            assert provider.poll() is None
            time.sleep(0.05)
        yield f"http://{host}:{ready.read_text()}/v1"
    finally:
        provider.terminate()
        provider.wait()


def environment_of_engines(folder: Path) -> dict[str, str]:
    """For the engines alone, with nothing of ours."""
    return os.environ | {
        "RESTIC_PASSWORD_FILE": str(folder / "passphrase"),
        "BORG_PASSCOMMAND": f"cat {folder / 'passphrase'}",
        "BORG_BASE_DIR": str(folder / "borg-home"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "no",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
