"""Other bytes under the same size and modification time: stored all the same, and at the next snapshot already."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import (
    DataDirectory,
    Engine,
    Outcome,
    Repository,
    RepositoryUnreachableError,
    RetentionPolicy,
    Secret,
    SnapshotReport,
    Vault,
)
from owui_vault.capture.child.known_uploads import KnownUpload, identity_of, key_of, read_known, shape_of, to_bytes
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.engines.faulty import FaultyEngine, no_fault
from owui_vault.testing.instances.small import make_small_instance

MakeEngine = Callable[[Path], Engine]
PLUGIN = "cache/functions/plugin.py"
UPLOAD = "uploads/kept.bin"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An instance at rest with a plugin's file and an upload of its own."""
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    for name in (PLUGIN, UPLOAD):
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / name).write_bytes(b"A" * 100_000)
    return data_dir


def rewrite(path: Path, byte: bytes) -> None:
    """As encrypted containers, some editors and `touch -r` do it."""
    status = path.stat()
    path.write_bytes(byte * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def a_vault(folder: Path, *engines: Engine) -> Vault:
    keep = RetentionPolicy(last=9)
    repositories = [Repository(f"nas{number}", engine, keep) for number, engine in enumerate(engines, 1)]
    return Vault(DataDirectory(folder / "data"), repositories, state_dir=folder / "state")


def linked(report: SnapshotReport) -> int:
    return report.proof.linked_files


def restored(vault: Vault, folder: Path, *names: str, repository: str | None = None) -> list[bytes]:
    """The first byte of each of these."""
    target = folder / f"out-{os.urandom(4).hex()}"
    report = vault.restore("latest", target, repository=repository)
    assert report.warnings == ()
    return [(target / "data" / name).read_bytes()[:1] for name in names]


def test_other_bytes_of_equal_size_and_time_are_stored(tmp_path: Path, data_dir: Path, make_engine: MakeEngine) -> None:
    """Of a file that is copied anyhow, and of an upload, whose link has the time of the live file."""
    vault = a_vault(tmp_path, make_engine(tmp_path / "repository"))
    vault.initialize()
    uploads = linked(vault.snapshot())
    times = {name: (data_dir / name).stat().st_mtime_ns for name in (PLUGIN, UPLOAD)}
    for name in (PLUGIN, UPLOAD):
        rewrite(data_dir / name, b"B")
    report = vault.snapshot()
    assert (report.outcome, linked(report)) == (Outcome.COMPLETE, uploads - 1)
    assert restored(vault, tmp_path, PLUGIN, UPLOAD) == [b"B", b"B"]
    assert linked(vault.snapshot()) == uploads, "what stayed as it was is linked again"
    assert times == {name: (data_dir / name).stat().st_mtime_ns for name in (PLUGIN, UPLOAD)}


@pytest.mark.slow
def test_other_bytes_are_stored_night_after_night(tmp_path: Path, data_dir: Path) -> None:
    """The engine knows a copy by another time than the live file's: the link of the night after is read anyway."""
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault.initialize()
    uploads = linked(vault.snapshot())
    for byte, copied in ((b"B", 1), (b"C", 0), (b"D", 1), (b"", 0), (b"E", 1), (b"A", 0)):
        for name in (PLUGIN, UPLOAD) if byte else ():
            rewrite(data_dir / name, byte)
        assert linked(vault.snapshot()) == uploads - copied
        assert restored(vault, tmp_path, PLUGIN, UPLOAD) == [byte or b"D"] * 2


def test_an_upload_that_is_put_back_under_its_name_is_stored(tmp_path: Path, data_dir: Path) -> None:
    """Another inode, as after `mv` or an untarred copy."""
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault.initialize()
    vault.snapshot()
    upload = data_dir / UPLOAD
    status = upload.stat()
    (tmp_path / "new").write_bytes(b"N" * status.st_size)
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "new").replace(upload)
    vault.snapshot()
    assert restored(vault, tmp_path, UPLOAD) == [b"N"]


def test_each_repository_gets_what_it_does_not_have(tmp_path: Path, data_dir: Path) -> None:
    """One that was away the night an upload was rewritten still has the old bytes the night after."""
    away = FaultyEngine(DirectoryEngine(tmp_path / "two", Secret("x")))
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "one", Secret("x")), away)
    vault.initialize()
    uploads = linked(vault.snapshot())
    rewrite(data_dir / UPLOAD, b"B")
    vault.snapshot(to="nas1")
    report = vault.snapshot()
    assert linked(report) == uploads - 1
    assert restored(vault, tmp_path, UPLOAD, repository="nas1") == [b"B"]
    assert restored(vault, tmp_path, UPLOAD, repository="nas2") == [b"B"]
    assert linked(vault.snapshot()) == uploads


def test_what_our_own_links_moved_is_no_sign_of_a_writer(tmp_path: Path, data_dir: Path) -> None:
    """Whether the run before was stored, only tried, or failed in the repository."""
    del data_dir
    engine = FaultyEngine(DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault = a_vault(tmp_path, engine)
    vault.initialize()
    uploads = linked(vault.snapshot())
    assert uploads
    vault.snapshot(dry_run=True)
    assert linked(vault.snapshot()) == uploads

    def away(operation: str, when: str) -> None:
        if (operation, when) == ("store", "before"):
            raise RepositoryUnreachableError("away", engine="directory")

    engine.fault = away
    with pytest.raises(RepositoryUnreachableError):
        vault.snapshot()
    engine.fault = no_fault
    assert linked(vault.snapshot()) == uploads


@pytest.mark.thorough
def test_very_many_at_once_are_read_and_not_copied(tmp_path: Path, data_dir: Path) -> None:
    """`chmod -R` moves all of them: copies of all might not even find room."""
    for number in range(1001):
        (data_dir / "uploads" / f"{number}.txt").write_bytes(b"A" * 10)
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault.initialize()
    uploads = linked(vault.snapshot())
    for path in (data_dir / "uploads").iterdir():
        rewrite(path, b"B")
    report = vault.snapshot()
    assert (report.outcome, linked(report)) == (Outcome.COMPLETE, uploads)
    assert restored(vault, tmp_path, "uploads/1000.txt") == [b"B"]
    for path in (data_dir / "uploads").iterdir():
        path.chmod(0o640)
    assert linked(vault.snapshot()) == uploads
    assert linked(vault.snapshot()) == uploads


def test_a_lost_or_broken_memory_costs_nothing_but_knowledge(tmp_path: Path, data_dir: Path) -> None:
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault.initialize()
    uploads = linked(vault.snapshot())
    (memory,) = (tmp_path / "state").rglob("uploads-*")
    assert memory.stat().st_size < 100 + 28 * uploads
    assert memory.stat().st_mode & 0o777 == 0o600
    for content in (b"", b"nonsense", memory.read_bytes()[:-1]):
        memory.write_bytes(content)
        assert read_known(memory) == {}
        assert linked(vault.snapshot()) == uploads
    assert len(read_known(memory)) == uploads
    shutil.rmtree(tmp_path / "state")
    rewrite(data_dir / UPLOAD, b"B")
    assert linked(vault.snapshot()) == uploads


def test_what_is_known_is_written_and_read(tmp_path: Path) -> None:
    known = {key_of(name): KnownUpload(shape_of(5, -7), identity_of(9, 11), 3) for name in ("a", "b", "\udcff")}
    (tmp_path / "known").write_bytes(to_bytes(known))
    assert read_known(tmp_path / "known") == known
    assert len(known) == 3


def test_only_equal_size_and_time_with_something_else_is_doubtful() -> None:
    """What has another size or time is read by every engine; what its newest snapshot lacks, it cannot pass over."""
    shape, identity = shape_of(5, 7), identity_of(9, 11)
    upload = KnownUpload(shape, identity, 3)
    assert not upload.is_doubtful(shape, identity, 3)
    assert not upload.is_doubtful(shape_of(5, 8), identity_of(9, 12), 3)
    assert upload.is_doubtful(shape, identity_of(9, 12), 3)
    assert upload.is_doubtful(shape, identity_of(10, 11), 3)
    assert upload.is_doubtful(shape, identity, 2), "an older state of the repository was put back"


def test_an_upload_with_two_names_is_known_from_run_to_run(tmp_path: Path, data_dir: Path) -> None:
    """Each of our links, and each that we take away again, moves its ctime under both."""
    os.link(data_dir / UPLOAD, data_dir / "uploads" / "another name.bin")
    os.link(data_dir / UPLOAD, data_dir / "uploads" / "a third.bin")
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault.initialize()
    uploads = linked(vault.snapshot())
    assert uploads >= 3
    for _ in range(3):
        assert linked(vault.snapshot()) == uploads
    rewrite(data_dir / UPLOAD, b"B")
    report = vault.snapshot()
    assert (report.outcome, linked(report)) == (Outcome.COMPLETE, uploads - 3)
    assert restored(vault, tmp_path, UPLOAD, "uploads/another name.bin", "uploads/a third.bin") == [b"B"] * 3
    assert linked(vault.snapshot()) == uploads
    assert linked(vault.snapshot()) == uploads


def test_a_second_name_that_comes_or_goes_costs_a_copy_at_most_once(tmp_path: Path, data_dir: Path) -> None:
    vault = a_vault(tmp_path, DirectoryEngine(tmp_path / "repository", Secret("x")))
    vault.initialize()
    uploads = linked(vault.snapshot())
    second = data_dir / "uploads" / "another name.bin"
    for names in (1, 0):
        if names:
            os.link(data_dir / UPLOAD, second)
        else:
            second.unlink()
        assert vault.snapshot().outcome is Outcome.COMPLETE
        for _ in range(2):
            assert linked(vault.snapshot()) == uploads + names
