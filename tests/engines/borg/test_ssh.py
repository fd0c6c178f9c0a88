"""borg over ssh, on a server of our own: full access, append-only, a wrong key, an unknown host."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from owui_vault import Repository, RetentionPolicy, Vault
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.errors import (
    EngineError,
    RepositoryAppendOnlyError,
    RepositoryMissingError,
    RepositoryUnreachableError,
)
from owui_vault.model import Outcome, Secret
from owui_vault.testing.children import descendants
from owui_vault.testing.engines.bench import PASSPHRASE, Bench, make_label
from owui_vault.testing.trees import assert_same
from tests.borg_templates import WITHOUT_SELFTEST
from tests.faulty_link import Link, tcp_link
from tests.ports import free_port
from tests.sshd import QUICK_SSHD

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.thorough]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An sshd with keys: `full` may do everything, `append` only add, `stranger` nothing."""

    folder: Path
    port: int
    program: str

    def rsh(self, key: str) -> str:
        options = "-o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10"
        return f"ssh -F none -i {self.folder / key} -o UserKnownHostsFile={self.folder / 'known'} {options}"

    def engine(self, path: Path, key: str = "full", *, port: int = 0, rsh: str = "") -> BorgEngine:
        return BorgEngine(
            f"ssh://root@127.0.0.1:{port or self.port}{path}",
            Secret(PASSPHRASE),
            environment={"BORG_RSH": rsh or self.rsh(key), **WITHOUT_SELFTEST},
            program=self.program,
            remote_path=self.program,
        )


def keygen(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, borg_program: Path) -> Iterator[Server]:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None or os.geteuid() != 0:
        pytest.skip("no sshd, or not root: borg over ssh")
    folder = tmp_path_factory.mktemp("ssh")
    port, host = free_port(), keygen(folder / "host")
    keygen(folder / "stranger")
    limited = f'command="{borg_program} serve --append-only --restrict-to-path {folder}",restrict'
    (folder / "authorized").write_text(keygen(folder / "full") + f"{limited} {keygen(folder / 'append')}")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}")
    (folder / "banner").write_text("Authorized use only. Permission denied to everybody else.\n")
    (folder / "config").write_text(
        f"Banner {folder / 'banner'}\n"
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile {folder / 'pid'}\nStrictModes no\nPermitRootLogin yes\nUsePAM no\nPasswordAuthentication no\n"
        f"{QUICK_SSHD}"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL) as process:
        wait_for(port)
        yield Server(folder=folder, port=port, program=str(borg_program))
        process.terminate()


def kill_below(sshd: int) -> None:
    """Whoever serves a connection of this sshd."""
    for pid in descendants(sshd):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "sshd did not start"
            time.sleep(0.05)
        else:
            return


@pytest.mark.doubled
def test_everything_works_over_ssh(server: Server, tmp_path: Path) -> None:
    path = server.folder / "everything"
    bench = Bench(engine=server.engine(path), folder=tmp_path)
    created = bench.engine.initialize(bench.call())
    assert bench.engine.inspect(bench.call()) == created
    first, second = bench.store(1).snapshot, bench.store(2).snapshot
    assert_same(bench.tree, bench.fetch(first))
    assert (bench.fetch(second, "data/uploads") / "data/uploads/a.pdf").stat().st_size == 70_000
    assert sum(1 for _ in bench.engine.contents(first.engine_id, bench.call())) > 20
    assert first.label is not None
    changed = bench.engine.relabel(first.engine_id, replace(first.label, tags=("kept",)), bench.call())
    (bench.tree / "big").write_bytes(os.urandom(5_000_000))
    third = bench.store(3).snapshot
    bench.engine.remove([second.engine_id, third.engine_id], bench.call())
    assert (bench.engine.compact(bench.call()) or 0) > 4_000_000
    for read_data in (0.0, 0.3, 1.0):
        assert bench.engine.verify(bench.call(), read_data=read_data) == ()
    assert [each.engine_id for each in bench.engine.snapshots(bench.call())] == [changed.engine_id]


@pytest.mark.doubled
def test_an_append_only_key_can_add_and_read(server: Server, tmp_path: Path) -> None:
    """Removing looks as if it worked, and frees nothing: the host keeps the data."""
    path = server.folder / "append-only"
    bench = Bench(engine=server.engine(path, "append"), folder=tmp_path)
    bench.engine.initialize(bench.call())
    stored = bench.store(1).snapshot
    assert stored.outcome is Outcome.COMPLETE
    assert_same(bench.tree, bench.fetch(stored))
    bench.engine.remove([stored.engine_id], bench.call())
    with pytest.raises(RepositoryAppendOnlyError):
        bench.engine.compact(bench.call())
    assert bench.engine.snapshots(bench.call()) == ()
    assert max(each.stat().st_size for each in (path / "data").rglob("*")) > 1_000_000
    outside = server.engine(tmp_path / "elsewhere", "append")
    with pytest.raises(RepositoryUnreachableError, match="not allow") as caught:
        outside.snapshots(bench.call())
    assert "restrict-to-path" in caught.value.hint


@pytest.mark.doubled
def test_a_vault_pins_with_an_append_only_key_and_prunes_with_another(server: Server, tmp_path: Path) -> None:
    path = server.folder / "append-only-pinned"
    bench = Bench(engine=server.engine(path, "append"), folder=tmp_path)
    bench.engine.initialize(bench.call())
    first, second, third = (bench.store(number).snapshot.id for number in (1, 2, 3))
    keep = RetentionPolicy(last=1)
    here = Vault(None, [Repository("far", bench.engine, keep, append_only=True)], state_dir=tmp_path / "here")
    (result,) = here.pin(first).repositories
    assert (result.error, result.changed) == (None, True)
    plan = here.plan_prune()
    assert (plan.append_only, here.prune(plan).repositories) == (("far",), ())
    assert [(each.id, each.pinned) for each in here.snapshots()] == [(third, False), (second, False), (first, True)]
    trusted = Vault(None, [Repository("far", server.engine(path), keep)], state_dir=tmp_path / "trusted")
    (pruned,) = trusted.prune(trusted.plan_prune()).repositories
    assert (pruned.error, pruned.warnings, [each.id for each in pruned.removed]) == (None, (), [second])
    (unpinned,) = trusted.unpin(first).repositories
    assert unpinned.error is None
    trusted.prune(trusted.plan_prune())
    assert [each.id for each in trusted.snapshots()] == [third]


def test_what_is_wrong_with_a_host_is_told_apart(server: Server, tmp_path: Path) -> None:
    bench = Bench(engine=server.engine(server.folder / "everything"), folder=tmp_path)
    path = server.folder / "missing"
    with pytest.raises(RepositoryMissingError):
        server.engine(path).snapshots(bench.call())
    causes = {
        "ssh key": server.engine(path, "stranger"),
        "host key": server.engine(path, rsh=server.rsh("full").replace("known", "unknown")),
        "nobody listens": server.engine(path, port=free_port()),
    }
    for word, engine in causes.items():
        # borg does not always wait for what ssh says before it ends; then the hint names all of it.
        with pytest.raises(RepositoryUnreachableError, match=f"{word}|does not answer") as caught:
            engine.snapshots(bench.call())
        assert word in caught.value.message or "without a prompt" in caught.value.hint
    no_borg = BorgEngine(
        f"ssh://root@127.0.0.1:{server.port}{path}",
        Secret(PASSPHRASE),
        environment={"BORG_RSH": server.rsh("full")},
        program=server.program,
        remote_path="/no/such/borg",
    )
    with pytest.raises(EngineError, match=r"no borg|does not answer"):
        no_borg.snapshots(bench.call())


def test_the_password_in_an_address_is_not_shown() -> None:
    assert BorgEngine("ssh://me:secret@nas/r", Secret("x")).location == "ssh://me@nas/r"


@pytest.mark.doubled
def test_a_connection_that_breaks_while_storing_leaves_nothing_complete(server: Server, tmp_path: Path) -> None:
    path = server.folder / "breaks"
    bench = Bench(engine=server.engine(path), folder=tmp_path)
    bench.engine.initialize(bench.call())
    bench.big(50_000_000)
    cut: list[bool] = []

    def break_it(event: object) -> None:
        if getattr(event, "done_bytes", 0) and not cut:
            cut.append(True)
            kill_below(int((server.folder / "pid").read_text()))

    with pytest.raises(RepositoryUnreachableError):
        bench.engine.store(bench.tree, make_label(), bench.call(progress=break_it))
    assert [each for each in bench.engine.snapshots(bench.call()) if each.is_restore_point] == []
    assert bench.engine.store(bench.tree, make_label(2), bench.call()).snapshot.outcome is Outcome.COMPLETE


@pytest.mark.doubled
def test_a_connection_that_breaks_off_in_the_middle_is_made_again(server: Server, tmp_path: Path) -> None:
    """borg gives up at once; the store goes on where its last checkpoint is."""
    with tcp_link(server.port) as link:
        bench = Bench(
            engine=server.engine(server.folder / "again", port=link.port, rsh=unbound(server)), folder=tmp_path
        )
        bench.engine.initialize(bench.call())
        bench.big(16_000_000)
        link.pause_seconds = 0.003  # borg says how far it is a few times a second
        link.cut_after = link.sent_bytes + 8_000_000
        threading.Thread(target=heal_once_cut, args=(link,), daemon=True).start()
        stored = bench.engine.store(bench.tree, make_label(1), bench.call()).snapshot
        assert [each.outcome for each in bench.engine.snapshots(bench.call())] == [Outcome.COMPLETE]
        assert_same(bench.tree, bench.fetch(stored))
        assert bench.engine.verify(bench.call()) == ()


@pytest.mark.doubled
def test_an_upload_that_was_cut_off_goes_on(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last checkpoint holds is not sent again. It comes each second here, and each 5 minutes else; a hundred
    pieces are under way besides, so that a small upload is cut late here.
    """
    monkeypatch.setattr("owui_vault.engines.borg.store._CHECKPOINT_SECONDS", 1)
    monkeypatch.setattr("owui_vault.engines.borg.store._PAUSES_SECONDS", (0.1,))
    size = 24_000_000
    with tcp_link(server.port) as link:
        bench = Bench(engine=server.engine(server.folder / "on", port=link.port, rsh=unbound(server)), folder=tmp_path)
        bench.engine.initialize(bench.call())
        bench.tree.mkdir()
        for number in range(24):  # a checkpoint comes between two files
            (bench.tree / f"random-{number}").write_bytes(os.urandom(size // 24))
        link.pause_seconds = 0.008
        link.cut_after = link.sent_bytes + int(size * 0.8)
        with pytest.raises(RepositoryUnreachableError, match=r"broke off|does not answer|listens"):
            bench.engine.store(bench.tree, make_label(1), bench.call())
        cut = link.sent_bytes
        link.heal()
        assert bench.engine.snapshots(bench.call()) == ()
        stored = bench.engine.store(bench.tree, make_label(2), bench.call()).snapshot
        assert link.sent_bytes - cut <= size / 2
        assert_same(bench.tree, bench.fetch(stored))


def unbound(server: Server) -> str:
    """The host key is known for the server's own port, and the link has another."""
    return server.rsh("full").replace("BatchMode=yes", "BatchMode=yes -o StrictHostKeyChecking=no")


def heal_once_cut(link: Link) -> None:
    until = time.monotonic() + 60
    while not link.is_cut and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)
    link.heal()
