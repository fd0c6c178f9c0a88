"""restic repositories on real servers: HTTP with and without append-only, S3, SFTP, rclone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha1
from pathlib import Path

import pytest
from owui_vault import Limits, Repository, RetentionPolicy, Vault
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.errors import (
    DeadlineExceededError,
    EngineError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
)
from owui_vault.model import Outcome, Progress, RepositoryInfo, Secret
from owui_vault.ports import SecretSource
from owui_vault.repositories.selectors import once_each
from owui_vault.testing.children import arguments_and_environment, descendants, left_after
from owui_vault.testing.engines.bench import PASSPHRASE, Bench, make_label
from owui_vault.testing.trees import assert_same
from tests.ports import free_port
from tests.restic_keys import cheapen
from tests.sshd import QUICK_SSHD

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

USER, PASSWORD = "alice", "Pa55/w@rd"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A repository on a server."""

    location: str
    missing: str
    environment: dict[str, SecretSource | str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def engine(self, program: Path, *, missing: bool = False, **changes: SecretSource | str) -> ResticEngine:
        return ResticEngine(
            self.missing if missing else self.location,
            Secret(PASSPHRASE),
            environment=self.environment | changes,
            program=str(program),
            options=self.options,
        )


def initialize(bench: Bench) -> RepositoryInfo:
    """Make the repository, and give it a key that is derived at once: all servers keep it below the test's folder."""
    info = bench.engine.initialize(bench.call())
    (config,) = bench.folder.rglob("repository/config")
    cheapen(config.parent, PASSPHRASE)
    return info


@contextmanager
def serving(argv: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while True:
            assert server.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < until
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        yield server
    finally:
        server.kill()
        server.wait()


@contextmanager
def rest(folder: Path, program: Path, *options: str) -> Iterator[Place]:
    (folder / "htpasswd").write_text(f"{USER}:{{SHA}}{b64encode(sha1(PASSWORD.encode()).digest()).decode()}\n")
    (folder / "served").mkdir(exist_ok=True)
    port = free_port()
    argv = [str(program), "--path", str(folder / "served"), "--listen", f"127.0.0.1:{port}"]
    argv += ["--htpasswd-file", str(folder / "htpasswd"), "--private-repos", *options]
    with serving(argv, port, folder):
        url = f"rest:http://127.0.0.1:{port}/{USER}"
        credentials: dict[str, SecretSource | str] = {
            "RESTIC_REST_USERNAME": USER,
            "RESTIC_REST_PASSWORD": Secret(PASSWORD),
        }
        yield Place(location=f"{url}/repository/", missing=f"{url}/nothing/", environment=credentials)


@contextmanager
def s3(folder: Path) -> Iterator[Place]:
    (folder / "served/bucket").mkdir(parents=True)
    port = free_port()
    script = Path(__file__).with_name("s3_server.py")
    argv = [sys.executable, str(script), str(port), str(folder / "served"), "AKID", PASSWORD]
    with serving(argv, port, folder):
        url = f"s3:http://127.0.0.1:{port}/bucket"
        credentials: dict[str, SecretSource | str] = {
            "AWS_ACCESS_KEY_ID": "AKID",
            "AWS_SECRET_ACCESS_KEY": Secret(PASSWORD),
        }
        region: dict[str, SecretSource | str] = {"AWS_DEFAULT_REGION": "us-east-1"}
        yield Place(location=f"{url}/repository", missing=f"{url}/nothing", environment=credentials | region)


@contextmanager
def sftp(folder: Path, program: Path, *options: str) -> Iterator[Place]:
    """`options` are those of sftp-server: `-R` for one that only reads."""
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f"Subsystem sftp {' '.join(('internal-sftp', *options))}\n"
        f"PidFile {folder}/pid\n{QUICK_SSHD}"
    )
    user = os.environ.get("USER") or "root"
    with serving([str(program), "-D", "-e", "-f", str(folder / "sshd_config")], port, folder):
        where = f"sftp://{user}@127.0.0.1:{port}/{folder}"
        path = {"PATH": f"{configured_ssh(folder)}:{os.environ['PATH']}"}
        yield Place(location=f"{where}/repository", missing=f"{where}/no", environment=dict(path))


def configured_ssh(folder: Path) -> Path:
    """Where an ssh lies that knows key and host of this server, as a user's own would from its configuration."""
    ssh = folder / "bin/ssh"
    ssh.parent.mkdir()
    known = f"-o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=accept-new"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -i {folder}/user -o IdentitiesOnly=yes {known} "$@"\n')
    ssh.chmod(0o755)
    return ssh.parent


@contextmanager
def through_rclone(folder: Path, program: Path) -> Iterator[Place]:
    environment = {"RCLONE_CONFIG_BE_TYPE": "local", "RCLONE_CONFIG": "/dev/null"}
    where = f"rclone:be:{folder}"
    yield Place(
        location=f"{where}/repository",
        missing=f"{where}/nothing",
        environment=dict(environment),
        options=(f"rclone.program={program}",),
    )


@pytest.fixture(params=["rest", "s3", "sftp", "rclone"])
def place(request: pytest.FixtureRequest, tmp_path: Path, program: Callable[[str, str], Path]) -> Iterator[Place]:
    folder = tmp_path / "server"
    folder.mkdir()
    match request.param:
        case "rest":
            opened = rest(folder, request.getfixturevalue("rest_server"))
        case "s3":
            opened = s3(folder)
        case "sftp":
            opened = sftp(folder, program("/usr/sbin/sshd", "repositories over SFTP"))
        case _:
            opened = through_rclone(folder, request.getfixturevalue("rclone"))
    with opened as found:
        yield found


@pytest.mark.doubled
def test_a_repository_on_a_server_does_everything(place: Place, restic_program: Path, tmp_path: Path) -> None:
    bench = Bench(engine=place.engine(restic_program), folder=tmp_path)
    with pytest.raises(RepositoryMissingError):
        bench.engine.inspect(bench.call())
    info = initialize(bench)
    assert PASSWORD not in info.location
    first, second = bench.store(1), bench.store(2)
    assert second.added_bytes < first.added_bytes / 10
    assert first.snapshot.label is not None
    assert_same(bench.tree, bench.fetch(second.snapshot))
    bench.engine.relabel(first.snapshot.engine_id, make_label(1, outcome=Outcome.INCOMPLETE), bench.call())
    assert [each.outcome.value for each in bench.engine.snapshots(bench.call())] == ["incomplete", "complete"]
    bench.engine.remove([bench.listed()[first.snapshot.id].engine_id], bench.call())
    assert set(bench.listed()) == {second.snapshot.id}
    bench.engine.compact(bench.call())
    assert bench.engine.verify(bench.call(), read_data=1.0) == ()
    with pytest.raises(RepositoryMissingError):
        place.engine(restic_program, missing=True).snapshots(bench.call())


@pytest.fixture
def rest_place(tmp_path: Path, rest_server: Path) -> Iterator[Place]:
    (tmp_path / "server").mkdir()
    with rest(tmp_path / "server", rest_server) as found:
        yield found


def test_a_wrong_password_of_the_server_is_told_from_a_wrong_passphrase(
    rest_place: Place, restic_program: Path, tmp_path: Path
) -> None:
    bench = Bench(engine=rest_place.engine(restic_program, RESTIC_REST_PASSWORD=Secret("not this")), folder=tmp_path)
    with pytest.raises(RepositoryUnreachableError) as caught:
        bench.engine.snapshots(bench.call())
    assert "not this" not in f"{caught.value} {caught.value.stderr_tail} {caught.value.argv}"


def test_the_password_of_the_server_is_in_no_argument_and_no_environment(
    rest_place: Place, restic_program: Path, tmp_path: Path
) -> None:
    bench = Bench(engine=rest_place.engine(restic_program), folder=tmp_path)
    initialize(bench)
    seen: set[bytes] = set()

    def look(event: Progress) -> None:
        for pid in descendants(os.getpid()):
            seen.update(arguments_and_environment(pid))

    bench.big(20_000_000)
    bench.engine.store(bench.tree, make_label(), bench.call(progress=look))
    assert any(b"backup" in text for text in seen)
    assert not [text for text in seen if PASSWORD.encode() in text or b"Pa55%2Fw%40rd" in text]


def test_a_server_that_goes_away_is_given_up(rest_server: Path, restic_program: Path, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with rest(tmp_path / "server", rest_server) as place:
        bench = Bench(engine=place.engine(restic_program), folder=tmp_path)
        initialize(bench)
        bench.build()
    started = time.monotonic()
    for ask in (
        lambda: bench.engine.snapshots(bench.call(timeout=3)),
        bench.store,
        lambda: bench.engine.compact(bench.call(timeout=3)),
    ):
        with pytest.raises((RepositoryUnreachableError, DeadlineExceededError)):
            ask()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("scheme", ["rest:http", "s3:http", "sftp"])
def test_a_host_that_takes_the_connection_and_is_silent_is_given_up(
    restic_program: Path, tmp_path: Path, scheme: str
) -> None:
    """restic's ssh would wait for ever, and 0.19 left it behind at every run."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        location = f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}/bucket/repository"
        keys: dict[str, SecretSource | str] = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": Secret(PASSWORD)}
        engine = ResticEngine(location, Secret(PASSPHRASE), program=str(restic_program), environment=keys)
        bench = Bench(engine=engine, folder=tmp_path)
        bench.build()
        call = replace(bench.call(timeout=2), idle_seconds=2)
        for ask in (
            lambda: engine.inspect(call),
            lambda: engine.store(bench.tree, make_label(), call),
            lambda: engine.verify(call),
        ):
            started = time.monotonic()
            with pytest.raises((RepositoryUnreachableError, DeadlineExceededError)) as caught:
                ask()
            assert time.monotonic() - started < 15
            assert re.search("host .*(answer|responds)", f"{caught.value.message} {caught.value.hint}")
        assert left_after(bench.left_running) == set()


def test_a_silent_host_is_given_up_also_by_the_ssh_of_a_run_that_was_killed(
    restic_program: Path, tmp_path: Path
) -> None:
    """It would hold the record of that run, which then never counts as dead, and its lock stays."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        location = f"sftp://127.0.0.1:{deaf.getsockname()[1]}//repository"
        bench = Bench(engine=ResticEngine(location, Secret(PASSPHRASE), program=str(restic_program)), folder=tmp_path)
        bench.build()
        child = os.fork()
        if child == 0:
            try:
                bench.engine.store(bench.tree, make_label(), bench.call(timeout=2))
            finally:
                os._exit(1)
        connection, _ = deaf.accept()
        left = descendants(child)
        assert [pid for pid in left if b"ssh" in arguments_and_environment(pid)[0]]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with connection:
            assert left_after(lambda: set(left) & set(descendants(1)), 20) == set()


@pytest.mark.doubled
def test_a_server_that_dies_in_mid_store_is_given_up(rest_server: Path, restic_program: Path, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    server_folder = tmp_path / "server"
    with rest(server_folder, rest_server) as place:
        bench = Bench(engine=place.engine(restic_program), folder=tmp_path)
        initialize(bench)
        bench.big(150_000_000)
        servers = [pid for pid in descendants(os.getpid()) if b"htpasswd" in b"".join(arguments_and_environment(pid))]

        def kill(event: Progress) -> None:
            if event.done_bytes:
                for pid in servers:
                    os.kill(pid, signal.SIGKILL)

        started = time.monotonic()
        with pytest.raises((EngineError, DeadlineExceededError)):
            bench.engine.store(bench.tree, make_label(), bench.call(progress=kill, timeout=5))
        assert time.monotonic() - started < 120
    assert left_after(lambda: set(descendants(os.getpid())).difference(servers)) == set()


@pytest.mark.doubled
def test_an_append_only_server_refuses_and_we_notice(rest_server: Path, restic_program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with rest(folder, rest_server, "--append-only") as place:
        bench = Bench(engine=place.engine(restic_program), folder=tmp_path)
        initialize(bench)
        stored = bench.store(1).snapshot
        bench.store(2)
        slow = bench.engine.inspect(bench.call()).engine_version.startswith("0.14")  # tries for 44 s
        timeout = 4 if slow else 60
        with pytest.raises(EngineError) as caught:
            bench.engine.remove([stored.engine_id], bench.call(timeout=timeout))
        assert "append-only" in caught.value.hint
        assert stored.id in bench.listed()
        with pytest.raises((DeadlineExceededError, EngineError) if slow else EngineError) as refused:
            bench.engine.relabel(
                stored.engine_id, make_label(1, outcome=Outcome.INCOMPLETE), bench.call(timeout=timeout)
            )
        assert slow or "append-only" in refused.value.hint
        both = [each for each in bench.engine.snapshots(bench.call()) if each.id == stored.id]
        assert {each.outcome for each in both} == {Outcome.COMPLETE, Outcome.INCOMPLETE}  # there are two of it now
        assert [each.outcome for each in once_each(both)] == [Outcome.INCOMPLETE]
        assert bench.engine.verify(bench.call()) == ()
        assert_same(bench.tree, bench.fetch(bench.listed()["00000002"]))


@pytest.mark.doubled
def test_a_vault_pins_on_an_append_only_server_and_prunes_from_where_deleting_is_allowed(
    rest_server: Path, restic_program: Path, tmp_path: Path
) -> None:
    """The pin is a second entry, and counts once; prune leaves the server alone, and says so."""
    folder = tmp_path / "server"
    folder.mkdir()
    with rest(folder, rest_server, "--append-only") as place:
        bench = Bench(engine=place.engine(restic_program), folder=tmp_path)
        initialize(bench)
        first, second, third = (bench.store(number).snapshot.id for number in (1, 2, 3))
        keep = RetentionPolicy(last=1)
        limits = Limits(call_seconds=8)  # restic 0.14 tries for 44 s to remove the first entry
        here = Vault(
            None, [Repository("far", bench.engine, keep, append_only=True)], state_dir=tmp_path / "s", limits=limits
        )
        (result,) = here.pin(first).repositories
        assert (result.error, result.changed) == (None, True)
        assert "the two count as one" in result.warnings[0]
        assert [(each.id, each.pinned) for each in here.snapshots()] == [(third, False), (second, False), (first, True)]
        plan = here.plan_prune()
        assert (plan.append_only, plan.repositories) == (("far",), ())
        assert here.prune(plan).repositories == ()
        (refused,) = here.unpin(first).repositories
        assert refused.error is not None
        assert [each.pinned for each in here.snapshots()] == [False, False, True], "nothing pretends to be unpinned"
    local = ResticEngine(str(folder / "served" / USER / "repository"), Secret(PASSPHRASE), program=str(restic_program))
    trusted = Vault(None, [Repository("here", local, keep)], state_dir=tmp_path / "trusted")
    (pruned,) = trusted.prune(trusted.plan_prune()).repositories
    assert (pruned.error, [each.id for each in pruned.removed]) == (None, [second])
    (unpinned,) = trusted.unpin(first).repositories
    assert unpinned.error is None
    trusted.prune(trusted.plan_prune())
    assert [each.id for each in trusted.snapshots()] == [third]


def killed_both(bench: Bench) -> None:
    child = os.fork()
    if child == 0:

        def kill(event: Progress) -> None:
            if event.done_bytes:
                for pid in descendants(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)  # restic takes the lock of a zombie for a living one's
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            bench.engine.store(bench.tree, make_label(99), bench.call(progress=kill))
        finally:
            os._exit(1)
    os.waitpid(child, 0)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.doubled
def test_a_stale_lock_of_ours_on_a_server_is_removed_unless_others_would_go_with_it(
    rest_place: Place, restic_program: Path, tmp_path: Path, others: bool
) -> None:
    bench = Bench(engine=rest_place.engine(restic_program), folder=tmp_path)
    initialize(bench)
    first = bench.store(1).snapshot
    shutil.rmtree(bench.tree)
    bench.big(100_000_000)
    killed_both(bench)
    locks = tmp_path / "server/served" / USER / "repository/locks"
    if others:  # dead, too, but not proven ours: its record is lost
        shutil.rmtree(bench.folder / "state/runs")
        killed_both(bench)
        with pytest.raises(RepositoryLockedError):
            bench.engine.remove([first.engine_id], bench.call())
        assert len(list(locks.iterdir())) == 2
    else:
        assert len(list(locks.iterdir())) == 1
        bench.engine.remove([first.engine_id], bench.call())
        assert list(locks.iterdir()) == []
