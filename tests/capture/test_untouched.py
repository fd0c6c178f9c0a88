"""Live data are never written: names, bytes, modes, owners and times are the same before and after."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from owui_vault.model import Captured, Proof, Quiesce
from tests.pages import unpack_safely

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
CHROMA = "vector_db/chroma.sqlite3"
BUSY = ("webui.db", "webui.db-wal", CHROMA, f"{CHROMA}-journal", "vector_db", "uploads")


def portrait(data: Path) -> dict[str, tuple[object, ...]]:
    """Everything there is to see of a tree, but for what every SQLite reader marks and for times of mere access."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [data, *data.rglob("*")]:
        status = path.lstat()
        name = str(path.relative_to(data))
        found[name] = (status.st_mode, status.st_uid, status.st_gid, status.st_size)
        if not name.endswith("-shm"):
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
            found[name] += (status.st_mtime_ns, content)
    return found


def unpack(archive: str, base: Path) -> Path:
    with tarfile.open(EXAMPLES / archive) as packed:
        unpack_safely(packed, base)
    return base / "data"


@pytest.mark.parametrize("archive", ["instance-small.tar.gz", "instance-0.6.tar.gz"])
@pytest.mark.parametrize("mode", [Quiesce.LIVE, Quiesce.STOP])
def test_a_stopped_instance_is_left_as_it_was(
    make_site: Callable[[Path], Any], tmp_path: Path, archive: str, mode: Quiesce
) -> None:
    """Also the cold WAL, which a reader through SQLite would have left companions of."""
    unpack(archive, tmp_path)
    site = make_site(tmp_path)
    before = portrait(site.data)
    captured: Captured = site.take(mode, quiet=site.quiet())
    assert captured.proof.mode.value == mode.value
    assert captured.problems == ()
    assert portrait(site.data) == before


def test_an_idle_instance_is_left_as_it_was(site: Any) -> None:
    """Open, pinned through SQLite, but nobody writes."""
    site.build()
    application = site.run(rest_seconds=-1)
    before = portrait(site.data)
    captured = site.take()
    assert captured.proof.pinned == ("webui.db",)
    assert captured.proof.lock_holder.startswith(f"process {application.child.pid} ")
    assert portrait(site.data) == before


def test_what_a_busy_instance_does_not_touch_is_left_as_it_was(site: Any) -> None:
    site.build()
    application = site.run()
    application.freeze()
    before = portrait(site.data)
    application.thaw()
    for _ in range(3):
        site.take()
    application.freeze()
    after = portrait(site.data)
    application.thaw()
    quiet = [name for name in before if name not in BUSY and not name.startswith(("uploads/", "vector_db/segment"))]
    assert [name for name in quiet if name != "webui.db-shm"]
    assert {name: before[name] for name in quiet} == {name: after[name] for name in quiet}
    added = {name for name in {*after} ^ {*before} if not name.startswith("uploads/")}
    assert added <= {f"{CHROMA}-journal"}


def test_a_stage_inside_the_data_directory_is_never_captured_and_goes_without_a_trace(site: Any) -> None:
    site.build()
    work = site.data / ".owui-vault"
    before = set(portrait(site.data))
    site.work = work
    for _ in range(2):
        captured = site.take(plan=site.plan(work_dir=work))
        assert captured.proof.mode is Proof.LIVE
        assert not (captured.stage / "data" / ".owui-vault").exists()
    site.end()
    assert set(portrait(site.data)) == before


def test_the_real_instance_comes_whole_out_of_its_write_ahead_log(
    make_site: Callable[[Path], Any], tmp_path: Path
) -> None:
    """`webui.db` alone would hold 18 chats and 114 messages, and its check would be ok."""
    unpack("instance-small.tar.gz", tmp_path)
    site = make_site(tmp_path)
    captured = site.take()
    webui, chroma = captured.databases
    assert (webui.path, webui.journal_mode, webui.check) == ("webui.db", "wal", "ok")
    assert (webui.tables["chat"], webui.tables["chat_message"], webui.tables["user"]) == (20, 146, 4)
    assert (chroma.path, chroma.journal_mode, chroma.check) == ("vector_db/chroma.sqlite3", "delete", "ok")
    assert captured.proof.linked_files == 8
    assert len(captured.vector_files) == 48
    for record in captured.vector_files:
        copy = (captured.stage / "data" / record.path).read_bytes()
        assert (len(copy), hashlib.sha256(copy).hexdigest()) == (record.size_bytes, record.sha256)
        assert copy == (site.data / record.path).read_bytes()
    assert (captured.problems, captured.warnings, captured.skipped) == ((), (), ())


def test_modes_owners_and_times_are_those_of_the_source(site: Any) -> None:
    site.build()
    folder = site.data / "cache" / "functions" / "empty"
    other = site.data / "config.json"
    other.write_text("{}")
    other.chmod(0o640)
    os.utime(other, ns=(10**18, 10**18 + 7))
    if os.geteuid() == 0:
        os.chown(other, 1234, 2345)
        os.chown(site.data / "webui.db", 1234, 2345)
    (site.data / "webui.db").chmod(0o600)
    folder.chmod(0o711)
    os.utime(folder, ns=(10**18, 10**18 + 9))
    (site.data / "link").symlink_to("config.json")
    captured = site.take()
    for name in ("config.json", "cache/functions/empty", "uploads/0.txt", "cache", "link", "uploads", "."):
        here, there = ((root / name).lstat() for root in (captured.stage / "data", site.data))
        # Below the second, the time of a copied file says which bytes it holds.
        finest = 1_000_000_000 if name == "config.json" else 1
        assert here.st_mtime_ns // finest == there.st_mtime_ns // finest, name
        for field in ("st_mode", "st_uid", "st_gid"):
            assert getattr(here, field) == getattr(there, field), (name, field)
    copy, live = ((root / "webui.db").stat() for root in (captured.stage / "data", site.data))
    assert (copy.st_mode, copy.st_uid, copy.st_gid) == (live.st_mode, live.st_uid, live.st_gid)
    assert (captured.stage.stat().st_mode & 0o777, site.work.stat().st_mode & 0o777) == (0o700, 0o700)
