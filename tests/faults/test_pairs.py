"""Each fault of a link or a server, in each step, wherever the repository stands among others.

It ends in bounded time and is told by its cause; the other repositories are served; nothing is listed that cannot be
restored; once the link is well, the next run makes everything well, and the newest snapshot comes back whole.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from owui_vault import (
    BorgEngine,
    DataDirectory,
    EngineError,
    Limits,
    Repository,
    ResticEngine,
    RetentionPolicy,
    Secret,
    SnapshotReport,
    Vault,
    VaultError,
)
from owui_vault.errors import DeadlineExceededError, RepositoryDamagedError
from owui_vault.ports import Engine, SecretSource
from owui_vault.testing.children import mounted
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance
from tests.borg_templates import WITHOUT_SELFTEST
from tests.conftest import SEED, SOAK
from tests.engines.restic.test_servers import Place, rest, s3, sftp
from tests.faults.pairs import STATUSES, Combination, pairwise
from tests.faulty_link import Link, http_link, tcp_link
from tests.restic_keys import cheapen

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.root]

PASSPHRASE = "correct horse battery staple"
SECONDS = 4.0  # that nothing may move before it is given up
PATIENCE = {"slow": 30.0, "full": 15.0}  # where it goes on after all, or is said after some tries only
BOUND = 60.0  # of any step: several of such waits, one after the other
UPLOADED_BYTES = 3_000_000
#: MinIO's; a REST server says it with the status alone.
STORAGE_FULL = (
    b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold."
    b" Please delete a few objects to proceed.</Message></Error>"
)
#: What has to be said of some; of all others anything but that a repository is damaged, or something unforeseen.
TOLD = {
    "full": r"no space left|full|quota",
    "wrong certificate": r"certificate",
    "403": r"denies|may not",
    "429": r"too often|no progress|did not|not end|does not answer",
    "no delete": r"delete|append-only|may not|denies",
}


KEEP = RetentionPolicy(last=1)
NEAR = {"only one": (), "first of two": ("second",), "second of three": ("first", "third")}


@dataclass(frozen=True, kw_only=True)
class Site:
    """An instance, and repositories: the one at the end of the link is called `far`."""

    folder: Path
    link: Link
    far: Engine
    faulty: Engine  # the same, as it is met while the fault lasts
    served: Path  # where it lies on the server
    near: tuple[str, ...]
    patience: float

    def vault(self, *, faulty: bool = False) -> Vault:
        engines = {name: DirectoryEngine(self.folder / name, Secret(PASSPHRASE)) for name in self.near}
        repositories = [Repository(name, engine, KEEP) for name, engine in engines.items()]
        repositories.insert(len(self.near) // 2, Repository("far", self.faulty if faulty else self.far, KEEP))
        limits = Limits(lock_wait_seconds=1, idle_seconds=self.patience, call_seconds=self.patience)
        return Vault(DataDirectory(self.folder / "data"), repositories, state_dir=self.folder / "state", limits=limits)

    def upload(self, text: str) -> None:
        use_small_instance(self.folder / "data", text)
        (self.folder / f"data/{text}.bin").write_bytes(os.urandom(UPLOADED_BYTES))


@contextmanager
def site_of(one: Combination, folder: Path, programs: Programs) -> Iterator[Site]:
    """With one snapshot in each repository, and a new upload."""
    server = folder / "server"
    server.mkdir()
    with ExitStack() as stack:
        served = server / {"REST server": "served/alice/repository", "S3": "served/bucket/repository"}.get(
            one.destination, "repository"
        )
        if one.fault == "full" and served == server / "repository":
            served.mkdir()
            stack.enter_context(mounted("tmpfs", Path("tmpfs"), served, "size=24m"))
        place = stack.enter_context(programs.serve(one.destination, server))
        port = int(re.findall(r":(\d+)/", place.location)[0])
        certificate = a_certificate(folder) if one.fault == "wrong certificate" else None
        speaks_http = one.destination in ("REST server", "S3")
        link = stack.enter_context(http_link(port, certificate) if speaks_http else tcp_link(port))
        location = place.location.replace(f":{port}/", f":{link.port}/")
        known = dict(place.environment)
        trusting = known
        if certificate:
            location = location.replace("http://", "https://")
            trusting = known | {"SSL_CERT_FILE": certificate[0]}
        far, faulty = (programs.engine(one.destination, location, each, place) for each in (trusting, known))
        make_small_instance(folder / "data")
        site = Site(
            folder=folder,
            link=link,
            far=far,
            faulty=faulty,
            served=served,
            near=NEAR[one.place],
            patience=PATIENCE.get(one.fault, SECONDS),
        )
        site.vault().initialize()
        if (served / "config").exists() and one.destination != "borg over SSH":
            cheapen(served, PASSPHRASE)
        site.upload("first")
        site.vault().snapshot()
        site.upload("second")
        yield site


def a_certificate(folder: Path) -> tuple[str, str]:
    key, certificate = str(folder / "key"), str(folder / "certificate")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=here"
    subprocess.run(f"{made} -addext subjectAltName=IP:127.0.0.1".split(), check=True, capture_output=True)
    return certificate, key


@dataclass(frozen=True, kw_only=True)
class Programs:
    """What serves, and what asks."""

    restic: Path
    borg: Path
    rest_server: Path
    sshd: Path

    def serve(self, destination: str, folder: Path) -> AbstractContextManager[Place]:
        if destination == "REST server":
            return rest(folder, self.rest_server)
        return s3(folder) if destination == "S3" else sftp(folder, self.sshd)

    def engine(
        self, destination: str, location: str, environment: Mapping[str, SecretSource | str], place: Place
    ) -> Engine:
        if destination != "borg over SSH":
            return ResticEngine(location, Secret(PASSPHRASE), environment=environment, program=str(self.restic))
        path = str(environment["PATH"]).partition(":")[0]
        return BorgEngine(
            location.replace("sftp://", "ssh://").replace("//", "//", 1),
            Secret(PASSPHRASE),
            environment={"BORG_RSH": f"{path}/ssh -o BatchMode=yes", **WITHOUT_SELFTEST},
            program=str(self.borg),
            remote_path=str(self.borg),
        )


@pytest.fixture
def programs(own_restic: Path, own_borg: Path, rest_server: Path, program: Callable[[str, str], Path]) -> Programs:
    sshd = program("/usr/sbin/sshd", "repositories over SFTP and SSH")
    return Programs(restic=own_restic, borg=own_borg, rest_server=rest_server, sshd=sshd)


@contextmanager
def fault(one: Combination, site: Site, chance: random.Random) -> Iterator[None]:
    link = site.link
    # Who only reads sends some hundred bytes over SSH, and over HTTP nothing that the link counts.
    most = UPLOADED_BYTES * 3 // 4 if one.step in ("store", "replicate") else 300
    somewhere = link.sent_bytes + (0 if most == 300 and "S" in one.destination[:5] else chance.randrange(1, most))
    match one.fault:
        case "reset":
            link.cut_after = 0
        case "hangs":
            link.hang_after = somewhere
        case "cut":
            link.cut_after = somewhere
        case "slow":
            link.pause_seconds = 0.01
        case "full" if os.path.ismount(site.served):
            with suppress(OSError), (site.served / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(1 << 16)):
                    pass
            os.truncate(site.served / "filler", (site.served / "filler").stat().st_size - (1 << 18))
        case "full":
            link.status, link.methods, link.paths, link.said = 507, "POST|PUT", "/data/", STORAGE_FULL
        case "no delete":
            link.status, link.methods, link.paths = 403, "DELETE|POST", "/(data|snapshots|index)/|delete"
        case status if status in STATUSES:
            link.status = int(status)
    yield
    link.heal()
    link.methods, link.paths = "GET|HEAD|POST|PUT|DELETE", ""
    (site.served / "filler").unlink(missing_ok=True)


def errors_of(step: str, vault: Vault) -> dict[str, VaultError]:
    """Carry out the step; what failed in which repository."""
    try:
        return {name: error for name, error in STEPS[step](vault) if error}
    except VaultError as error:
        if isinstance(error.report, SnapshotReport):  # nothing was stored anywhere
            return {each.repository: each.error for each in error.report.repositories if each.error}
        return {"far": error}


Results = Iterator[tuple[str, VaultError | None]]


def asked(vault: Vault) -> Results:
    yield from ((each.repository, each.error) for each in vault.snapshots().unanswered)


def stored(vault: Vault) -> Results:
    yield from ((each.repository, each.error) for each in vault.snapshot().repositories)


def pruned(vault: Vault) -> Results:
    plan = vault.plan_prune()
    yield from ((each.repository, each.error) for each in plan.unanswered)
    yield from ((each.repository, each.error) for each in vault.prune(plan).repositories)


def verified(vault: Vault) -> Results:
    report = vault.verify("latest", repository="far")
    assert report.ok, report.problems
    yield "far", None


def replicated(vault: Vault) -> Results:
    source = next(each.name for each in vault.repositories if each.name != "far")
    yield from (
        (each.repository, each.error) for each in vault.replicate(vault.plan_replication(source, ["far"])).repositories
    )


STEPS: dict[str, Callable[[Vault], Results]] = {
    "list": asked, "store": stored, "prune": pruned, "verify": verified, "replicate": replicated,
}  # fmt: skip


def combinations() -> list[Combination]:
    """All in `make soak`; otherwise eight of them."""
    chance = random.Random(SEED)
    every = list(pairwise(chance))
    return every if SOAK >= 1 else chance.sample(every, 8)


@pytest.mark.parametrize("one", combinations(), ids=str)
def test_it_is_told_harms_nothing_and_heals(
    one: Combination, tmp_path: Path, programs: Programs, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(f"{SEED} {one}")
    with site_of(one, tmp_path, programs) as site:
        if one.step in ("replicate", "prune"):
            site.vault().snapshot(site.near if one.step == "replicate" else None)
        with fault(one, site, chance):
            began = time.monotonic()
            errors = errors_of(one.step, site.vault(faulty=True))
            took = time.monotonic() - began
        record_property("fault", f"{one.fault} | {one.destination} | {one.step} | {one.place} | {took:.0f} s")
        record_property("told", said(errors.get("far")))
        assert took < BOUND
        assert set(errors) <= {"far"}, errors
        assert bool(errors) is (one.fault != "slow"), errors
        is_told_by_its_cause(one, errors.get("far"))
        listed = site.vault().snapshots()
        assert not listed.unanswered
        held = {name: {each.id for each in listed if each.repository == name} for name in (*site.near, "far")}
        for id_ in held["far"]:
            assert site.vault().verify(id_, "far", read_data=1.0).ok
        all_is_well_again(site)


def is_told_by_its_cause(one: Combination, error: VaultError | None) -> None:
    if error is None:
        return
    assert isinstance(error, EngineError | DeadlineExceededError), repr(error)
    assert not isinstance(error, RepositoryDamagedError), error.message
    if one.fault in TOLD:
        assert re.search(TOLD[one.fault], f"{error.message} {error.hint}"), error


def said(error: VaultError | None) -> str:
    return "goes well" if error is None else error.message.replace("|", "\\|")


def all_is_well_again(site: Site) -> None:
    site.upload("third")
    vault = site.vault()
    assert errors_of("store", vault) == errors_of("prune", vault) == {}
    listed = vault.snapshots()
    newest = listed[0].id
    there = {each.repository: each.id for each in reversed(listed)}  # what was verified before may be kept beside it
    assert there == dict.fromkeys((*site.near, "far"), newest)
    vault.restore(newest, site.folder / "restored", repository="far")
    assert state_of_small_instance(site.folder / "restored/data") == state_of_small_instance(site.folder / "data")
    shutil.rmtree(site.folder / "restored")
