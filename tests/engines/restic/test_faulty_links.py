"""restic through a link that fails: each failure ends in bounded time, is told by its cause, and heals.

Nothing is listed that is not there, and what had been sent counts.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from owui_vault.errors import DeadlineExceededError, RepositoryFullError, RepositoryUnreachableError, VaultError
from owui_vault.ports import SecretSource
from owui_vault.testing.engines.bench import Bench, make_label
from owui_vault.testing.trees import assert_same
from tests.engines.restic.test_servers import Place, initialize, rest, s3, sftp
from tests.faulty_link import Link, http_link, tcp_link

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

SECONDS = 3.0  # that a link may fail before it is given up


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """A repository behind a link, with one snapshot in it."""

    bench: Bench
    place: Place
    link: Link
    program: Path
    server_port: int

    def ask(self, *, store: int | None = None) -> None:
        call = self.bench.call(timeout=SECONDS)
        if store is None:
            self.bench.engine.snapshots(call)
        else:
            self.bench.engine.store(self.bench.tree, make_label(store), replace(call, idle_seconds=SECONDS))

    def failure(self, *, store: int | None = None) -> VaultError:
        with pytest.raises((RepositoryUnreachableError, RepositoryFullError, DeadlineExceededError)) as caught:
            self.ask(store=store)
        return caught.value

    def through(self, link: Link, scheme: str = "http", *, authority: str = "") -> Bench:
        location = re.sub(r"https?(://[^:/]+):\d+", rf"{scheme}\1:{link.port}", self.place.location)
        trusted: dict[str, SecretSource | str] = {"SSL_CERT_FILE": authority} if authority else {}
        engine = replace(self.place, location=location, environment=self.place.environment | trusted).engine(
            self.program
        )
        return Bench(engine=engine, folder=self.bench.folder)


@pytest.fixture(params=["rest", pytest.param("s3", marks=pytest.mark.rare)])
def faulty(request: pytest.FixtureRequest, tmp_path: Path, rest_server: Path, newest_restic: Path) -> Iterator[Faulty]:
    folder = tmp_path / "server"
    folder.mkdir()
    with rest(folder, rest_server) if request.param == "rest" else s3(folder) as place:
        found = re.search(r":(\d+)/", place.location)
        assert found
        port = int(found[1])
        with http_link(port) as link:
            bench = Bench(engine=place.engine(newest_restic), folder=tmp_path)
            made = Faulty(bench=bench, place=place, link=link, program=newest_restic, server_port=port)
            faulty = replace(made, bench=made.through(link))
            initialize(faulty.bench)
            faulty.bench.store(1)
            yield faulty


def test_each_answer_of_a_server_is_told_by_its_cause_and_heals(faulty: Faulty) -> None:
    link = faulty.link
    for status, told in (
        (401, "does not accept the credentials"),
        (403, "denies this account"),
        (429, "too often"),
        (500, "the server of"),
        (503, "the server of"),
    ):
        link.status = status
        error = faulty.failure()
        # the S3 client tries again a few times before it says a word
        assert told in error.message or isinstance(error, DeadlineExceededError), (status, error.message)
        link.heal()
    assert set(faulty.bench.listed()) == {"00000001"}


@pytest.mark.parametrize(("status", "told"), [(403, "may not write"), (507, "no space left")])
def test_what_cannot_be_written_is_told_and_not_listed(faulty: Faulty, status: int, told: str) -> None:
    link = faulty.link
    (faulty.bench.tree / "more").write_bytes(b"m" * 100_000)
    link.status, link.methods, link.paths = status, "POST|PUT", "/data/"
    error = faulty.failure(store=2)
    assert told in error.message or isinstance(error, DeadlineExceededError)
    link.heal()
    assert set(faulty.bench.listed()) == {"00000001"}
    stored = faulty.bench.store(2).snapshot
    assert_same(faulty.bench.tree, faulty.bench.fetch(stored))


def test_a_certificate_that_is_not_trusted_is_not_waited_for(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("owui_vault.engines.restic.program.HOPELESS_SECONDS", 0.5)
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=here"
    made += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(made.split(), check=True, capture_output=True)
    with http_link(faulty.server_port, (certificate, key)) as link:
        bench = faulty.through(link, "https")
        with pytest.raises(RepositoryUnreachableError, match="certificate") as caught:
            bench.engine.snapshots(bench.call(timeout=60))
        assert "SSL_CERT_FILE" in caught.value.hint
        trusting = faulty.through(link, "https", authority=certificate)
        assert [each.id for each in trusting.engine.snapshots(bench.call())] == ["00000001"]


@pytest.mark.parametrize("share", [0.05, pytest.param(0.95, marks=pytest.mark.rare)])
def test_a_link_that_hangs_is_given_up(faulty: Faulty, share: float) -> None:
    faulty.bench.tree.joinpath("big").write_bytes(os.urandom(20_000_000))
    faulty.link.hang_after = faulty.link.sent_bytes + int(20_000_000 * share)
    faulty.failure(store=2)
    faulty.link.heal()
    assert set(faulty.bench.listed()) == {"00000001"}
    faulty.bench.store(3)


def test_an_upload_that_was_cut_off_goes_on(faulty: Faulty) -> None:
    """Cut at 60 %, the next one sends at most half of it."""
    size = 60_000_000
    for number in range(4):
        faulty.bench.tree.joinpath(f"big-{number}").write_bytes(os.urandom(size // 4))
    link = faulty.link
    before = link.sent_bytes
    link.cut_after = before + int(size * 0.6)
    faulty.failure(store=2)
    link.heal()
    assert set(faulty.bench.listed()) == {"00000001"}
    cut = link.sent_bytes
    stored = faulty.bench.store(3).snapshot
    assert link.sent_bytes - cut <= size / 2
    assert_same(faulty.bench.tree, faulty.bench.fetch(stored))
    assert faulty.bench.engine.verify(faulty.bench.call(), read_data=1.0) == ()


def test_what_was_never_sent_is_not_looked_for(faulty: Faulty) -> None:
    """A store that did not begin leaves nothing to find, and the next one does not pay for it."""
    faulty.link.status = 401
    faulty.failure(store=2)
    faulty.link.heal()
    assert not (faulty.bench.call().folder / "unfinished").exists()
    faulty.bench.engine.store(faulty.bench.tree, make_label(2), faulty.bench.call())
    assert not (faulty.bench.call().folder / "unfinished").exists()


def test_a_lock_that_could_not_be_removed_is_in_nobodys_way(
    tmp_path: Path, own_restic: Path, program: Callable[[str, str], Path]
) -> None:
    """restic ends by itself then, and says so; the next run removes the lock, and not restic, half an hour later."""
    folder = tmp_path / "server"
    folder.mkdir()
    with sftp(folder, program("/usr/sbin/sshd", "repositories over SFTP")) as place:
        port = int(place.location.split(":")[2].split("/")[0])
        with tcp_link(port) as link:
            through = replace(place, location=place.location.replace(f":{port}/", f":{link.port}/"))
            bench = Bench(engine=through.engine(own_restic), folder=tmp_path)
            initialize(bench)
            bench.big(2_000_000)
            link.cut_after = link.sent_bytes + 1_000_000
            with pytest.raises((RepositoryUnreachableError, DeadlineExceededError)):
                bench.store(1)
            link.heal()
            assert list((folder / "repository/locks").iterdir())
            assert bench.engine.verify(bench.call(timeout=20)) == ()
            assert not list((folder / "repository/locks").iterdir())
