"""Everything that may be wrong with a machine that backs itself up: how the run ends, and what is heard of it.

None is silent. Each is planted, the plan runs, a timer ticks once more, it is taken away again, and the next run says
that all is well: told once, with what to do, by a real webhook; and the heartbeat, whoever waits for it, hears of no
success that was none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from owui_vault.testing.children import mounted
from tests.cli.test_telling import TOKEN, Ears, nothing_is_given_away
from tests.cli.test_telling import ears as ears  # noqa: PLC0414  a fixture
from tests.cli.test_unattended import ledger, slow_engine, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.root]

FAILED, WELL = "open-webui: plan nightly FAILED", "open-webui: plan nightly is well again"
NO_START, STARTS = "open-webui: backups cannot be started", "open-webui: owui-vault is well again"
WARNED = "open-webui: owui-vault needs a look"
DONE = "open-webui: plan nightly succeeded"
#: Who owns a file and may not use it all the same: root is no such user otherwise.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@contextmanager
def instead(ears: Ears, before: str, after: str) -> Iterator[None]:
    """Other words in the configuration."""
    assert before in ears.text
    ears.vault.configure(ears.text.replace(before, after))
    yield
    ears.vault.configure(ears.text)


@contextmanager
def away(path: Path, in_its_place: str | None = None) -> Iterator[None]:
    kept = path.rename(path.with_name(f"{path.name}-kept"))
    if in_its_place is not None:
        path.write_text(in_its_place)
        path.chmod(0o600)
    yield
    path.unlink(missing_ok=True)
    kept.rename(path)


def unset_secret(ears: Ears) -> AbstractContextManager[None]:
    return instead(ears, "{file: pass}", "{env: NOT_SET}")


def wrong_passphrase(ears: Ears) -> AbstractContextManager[None]:
    return away(ears.vault.folder / "pass", "another one\n")


def missing_engine(ears: Ears) -> AbstractContextManager[None]:
    return instead(ears, ears.text.partition("program: ")[2].partition(",")[0], "/nowhere/restic")


def missing_data(ears: Ears) -> AbstractContextManager[None]:
    return away(ears.vault.folder / "data")


def missing_repository(ears: Ears) -> AbstractContextManager[None]:
    return away(ears.vault.folder / "nas")


def unset_variable(ears: Ears) -> AbstractContextManager[None]:
    return instead(ears, "location: nas", "location: '${NOT_SET}'")


def misspelt_key(ears: Ears) -> AbstractContextManager[None]:
    return instead(ears, "prune: false", "prnue: false")


def unparsable_configuration(ears: Ears) -> AbstractContextManager[None]:
    return instead(ears, "plans:", "a: [\nplans:")


@contextmanager
def other_mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode & 0o777
    path.chmod(bits)
    yield
    path.chmod(before)


def configuration_open_to_others(ears: Ears) -> AbstractContextManager[None]:
    return other_mode(ears.vault.folder / "vault.yaml", 0o666)


def configuration_unreadable(ears: Ears) -> AbstractContextManager[None]:
    return other_mode(ears.vault.folder / "vault.yaml", 0)


def configuration_gone(ears: Ears) -> AbstractContextManager[None]:
    return away(ears.vault.folder / "vault.yaml")


@contextmanager
def stale_locks(ears: Ears) -> Iterator[None]:
    """What a run leaves whose machine lost its power: restic's lock, and our lock files."""
    waiting = slow_engine(ears.vault, "backup")
    child = ears.vault.start("snapshot")
    wait_for(waiting, child)
    child.kill()
    child.communicate()
    (ears.vault.folder / "nas/locks").mkdir(exist_ok=True)
    ears.vault.configure(ears.text)
    yield


@contextmanager
def lock_of_another_machine(ears: Ears) -> Iterator[None]:
    """Of a restic that was killed there: nobody here can know that it is dead, and what prunes or verifies waits."""
    engine = ears.text.partition("program: ")[2].partition(",")[0]
    folder = ears.vault.folder
    begin = f"hostname elsewhere && exec {engine} --repo nas --password-file pass backup --stdin"
    child = subprocess.Popen(
        ["unshare", "--uts", "sh", "-c", begin], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    while not [each for each in (folder / "nas/locks").iterdir() if "-tmp-" not in each.name]:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.communicate()
    with instead(ears, "prune: false", "verify: true"):
        yield
        for each in (folder / "nas/locks").iterdir():
            each.unlink()
        ears.text = ears.text.replace("prune: false", "verify: true")


@contextmanager
def full_disk(ears: Ears) -> Iterator[None]:
    """The repository's."""
    repository = ears.vault.folder / "nas"
    kept = repository.rename(ears.vault.folder / "nas-kept")
    repository.mkdir()
    with mounted("tmpfs", Path("tmpfs"), repository, "size=12m"):
        shutil.copytree(kept, repository, dirs_exist_ok=True)
        (ears.vault.folder / "data/uploads/new.bin").write_bytes(os.urandom(14_000_000))
        yield
    (ears.vault.folder / "data/uploads/new.bin").unlink()
    repository.rmdir()
    kept.rename(repository)


@contextmanager
def full_state(ears: Ears) -> Iterator[None]:
    state = ears.vault.folder / "state"
    kept = state.rename(ears.vault.folder / "state-kept")
    state.mkdir()
    with mounted("tmpfs", Path("tmpfs"), state, "size=4m"):
        shutil.copytree(kept, state, dirs_exist_ok=True)
        with suppress(OSError):
            (state / "filler").write_bytes(bytes(8_000_000))
        yield
    state.rmdir()
    kept.rename(state)


@contextmanager
def read_only_state(ears: Ears) -> Iterator[None]:
    state = ears.vault.folder / "state"
    with mounted("none", state, state, "bind"):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(state)], check=True)
        yield


def state_of_somebody_else(ears: Ears) -> AbstractContextManager[None]:
    return other_mode(ledger(ears.vault).parent, 0o500)


def file_in_place_of_the_state(ears: Ears) -> AbstractContextManager[None]:
    return away(ears.vault.folder / "state", "")


def corrupt_memory(ears: Ears) -> AbstractContextManager[None]:
    """Of what was told to whom."""
    ledger(ears.vault).with_name("told.json").write_text("{")
    return nullcontext()


@contextmanager
def corrupt_ledger(ears: Ears) -> Iterator[None]:
    ledger(ears.vault).write_bytes(b"\x00\xff damage\n" + ledger(ears.vault).read_bytes())
    yield


@contextmanager
def lost_state(ears: Ears) -> Iterator[None]:
    shutil.rmtree(ears.vault.folder / "state")
    yield


@contextmanager
def clock_set_back(ears: Ears) -> Iterator[None]:
    """All that the ledger knows is said to have happened in three days from now."""
    known = [json.loads(each) for each in ledger(ears.vault).read_text().splitlines()]
    ahead = (datetime.now(UTC) + timedelta(days=3)).isoformat().replace("+00:00", "Z")
    moved = [{**each, **{key: ahead for key in ("at", "since") if key in each}} for each in known]
    ledger(ears.vault).write_text("".join(json.dumps(each) + "\n" for each in moved))
    yield


@contextmanager
def dead_notifier(ears: Ears) -> Iterator[None]:
    ears.web.status = 500
    yield
    ears.web.status = 200


def notifier_without_address(ears: Ears) -> AbstractContextManager[None]:
    return away(ears.vault.folder / "hook")


@contextmanager
def hanging_notifier(ears: Ears) -> Iterator[None]:
    ears.web.hangs, ears.web.hangs_at = threading.Event(), TOKEN
    yield
    ears.web.hangs.set()
    ears.web.hangs = None


def killed(step: str) -> Callable[[Ears], AbstractContextManager[None]]:
    """The plan's run, by 9, while the engine does this; as long as it lives, another one is told who runs."""

    @contextmanager
    def plant(ears: Ears) -> Iterator[None]:
        ears.text = ears.text.replace("prune: false", "verify: true")
        ears.vault.configure(ears.text)
        waiting = slow_engine(ears.vault, step)
        child = ears.vault.start("run", "nightly")
        wait_for(waiting, child)
        assert ears.vault.json("history")["runs"][0]["outcome"] == "running"
        assert f"process {child.pid} " in ears.vault.json("run", "nightly", code=11)["error"]["message"]
        child.kill()
        child.communicate()
        ears.vault.configure(ears.text)
        assert ears.vault.json("history")["runs"][0]["outcome"] == "killed"
        yield

    plant.__name__ = f"killed_in_{step}"
    return plant


@dataclass(frozen=True)
class Case:
    """One way of it: how `run` ends, the words of its message, and what is heard of the run and of a tick after it."""

    plant: Callable[[Ears], AbstractContextManager[None]]
    code: int
    said: str
    heard: list[str]
    tick: list[str]
    mended: list[str]
    words: tuple[str, ...] = ("run", "nightly")
    rights: bool = True

    def run(self, ears: Ears) -> subprocess.CompletedProcess[str]:
        """As a scheduler calls it."""
        words = ("-q", *self.words)
        if self.rights:
            done: subprocess.CompletedProcess[str] = ears.vault.run(*words)
            return done
        return subprocess.run(
            [*WITHOUT_RIGHTS, sys.executable, "-m", "owui_vault", *words],
            cwd=ears.vault.folder,
            env=ears.vault.environ(None),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def __str__(self) -> str:
        return self.plant.__name__.replace("_", " ")


Heard = tuple[list[str], list[str], list[str]]  # of the run, of a tick after it, of the run once it is mended
FAILS: Heard = (["start", FAILED, "fail"], [], ["start", WELL, "success"])
CANNOT_START: Heard = ([NO_START, "fail"], ["fail"], ["start", STARTS, DONE, "success"])
#: Nobody can be told where nobody knows whom: whoever waits for the heartbeat hears that there is none.
NO_BEAT: Heard = ([], [], ["start", DONE, "success"])
GOES_WELL: Heard = (["start", DONE, "success"], [], ["start", DONE, "success"])

CASES = [
    Case(unset_secret, 1, "NOT_SET is not set", *FAILS),
    Case(wrong_passphrase, 1, "passphrase", *FAILS),
    Case(missing_engine, 1, "/nowhere/restic", *FAILS),
    Case(missing_data, 1, "data", *FAILS),
    Case(missing_repository, 1, "repository", *FAILS),
    Case(full_disk, 1, "full", *FAILS),
    Case(lock_of_another_machine, 1, "remove its lock with `restic unlock`", *FAILS),
    Case(unset_variable, 2, "needs the environment variable NOT_SET", *CANNOT_START),
    Case(misspelt_key, 2, "did you mean 'prune'?", *CANNOT_START),
    Case(read_only_state, 2, "state", *CANNOT_START),
    Case(state_of_somebody_else, 1, "Permission denied", *FAILS, rights=False),
    Case(file_in_place_of_the_state, 2, "state", *CANNOT_START),
    Case(full_state, 1, "state", *FAILS),
    Case(unparsable_configuration, 2, "vault.yaml", *NO_BEAT),
    Case(configuration_open_to_others, 2, "vault.yaml", *NO_BEAT),
    Case(configuration_unreadable, 2, "vault.yaml: Permission denied", *NO_BEAT, rights=False),
    Case(configuration_gone, 2, "vault.yaml", *NO_BEAT),
    Case(stale_locks, 0, "", *GOES_WELL),
    Case(lost_state, 0, "", *GOES_WELL),
    Case(clock_set_back, 0, "", *GOES_WELL),
    Case(corrupt_ledger, 0, "run ledger could not be read", ["start", WARNED, DONE, "success"], [], GOES_WELL[2]),
    Case(corrupt_memory, 0, "what was told cannot be read", *GOES_WELL),
    Case(notifier_without_address, 0, "notifications[1] could not be told", ["start", "success"], [], GOES_WELL[2]),
    Case(dead_notifier, 0, "could not be told", GOES_WELL[0], [DONE], GOES_WELL[2]),
    Case(hanging_notifier, 0, "could not be told", GOES_WELL[0], [DONE], GOES_WELL[2]),
    *(
        Case(killed(step), 1, "did not end", ["start", FAILED, "fail"], [], ["start", WELL, "success"], words=("run",))
        for step in ("backup", "forget", "check")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_none_is_silent(ears: Ears, case: Case) -> None:
    assert ears.vault.run("run", "nightly").returncode == 0
    ears.heard()
    with case.plant(ears):
        done = case.run(ears)
        assert done.returncode == case.code, done.stdout + done.stderr
        bodies = [json.loads(body) for _, path, body in ears.web.requests if TOKEN in path]
        said = " ".join((done.stdout + done.stderr).split())
        assert case.said in said
        if case.code:
            assert all(case.said in each["message"] and "What to do:" in each["message"] for each in bodies)
        nothing_is_given_away(ears)
        assert len(ears.box.mails) == len({FAILED, NO_START} & set(case.heard))
        assert ears.heard() == case.heard
        ears.vault.run("-q", "run")
        assert ears.heard() == case.tick
    done = ears.vault.run("-q", "run", "nightly")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ears.heard() == case.mended
    assert ears.vault.run("-q", "status").returncode == 0
    place = hashlib.sha256(os.fsencode(ledger(ears.vault).parent)).hexdigest()[:8]
    spare = Path(f"/dev/shm/owui-vault-{os.geteuid()}/told-{place}.json")
    assert not spare.exists(), "what was remembered there is in the state again"
