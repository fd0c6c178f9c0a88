"""What copies keep besides their bytes: access lists, extended attributes, owners, holes, and a time that tells."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from owui_vault.model import Captured, Quiesce
from owui_vault.system.attributes import read_extended

MIB = 1 << 20


def set_list(path: Path, *entries: str) -> None:
    subprocess.run(["setfacl", *(word for each in entries for word in ("-m", each)), path], check=True)


def granted(tree: Path) -> dict[str, dict[str, bytes]]:
    """Access lists and extended attributes of everything in a tree that has any."""
    paths = [tree, *sorted(tree.rglob("*"))]
    found = {str(path.relative_to(tree)): read_extended(str(path)) for path in paths if not path.is_symlink()}
    return {name: extended for name, extended in found.items() if extended}


@pytest.fixture
def granting(site: Any) -> Any:
    """An instance whose operator gave others access to most of it."""
    site.build()
    (site.data / "plugin.py").write_text("print()")
    for name in (".", "uploads", "uploads/0.txt", "webui.db", "vector_db/chroma.sqlite3", "plugin.py", "cache"):
        set_list(site.data / name, "u:1234:rwX")
    set_list(site.data, "d:u:4321:rX")
    set_list(site.data / "uploads", "d:u:1234:rwX", "d:g:77:rX")
    os.setxattr(site.data / "webui.db", "user.comment", b"ours")
    os.setxattr(site.data / "cache", "user.comment", b"\0\xff")
    os.setxattr(
        site.data / "plugin.py", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000")
    )
    return site


def test_access_lists_and_extended_attributes_are_in_the_stage(granting: Any) -> None:
    """Of linked, copied and pinned files and of directories, the data directory itself among them."""
    granting.run(rest_seconds=-1)
    before = granted(granting.data)
    captured: Captured = granting.take()
    assert captured.proof.pinned == ("webui.db",)
    assert captured.proof.linked_files == 2
    in_stage = granted(captured.stage / "data")
    live = {name for name in before if not name.endswith(("-wal", "-shm"))}
    assert {name: before[name] for name in live} == in_stage
    assert {"", ".", "uploads", "webui.db"} & in_stage.keys()
    assert captured.warnings == ()
    modes = {name: (granting.data / name).lstat().st_mode for name in live}
    assert modes == {name: (captured.stage / "data" / name).lstat().st_mode for name in live}
    assert granted(granting.data) == before


def test_a_default_access_list_around_the_stage_gives_nobody_anything(site: Any) -> None:
    """A stage in the data directory would inherit what that gives by default: to copies, and to who may look in."""
    site.build()
    site.work = site.data / ".owui-vault"
    set_list(site.data, "d:u:4321:rwX")
    captured: Captured = site.take(Quiesce.STOP, quiet=site.quiet())
    assert granted(captured.stage / "data") == {".": granted(site.data)["."]}
    assert granted(captured.stage) == {"data": granted(site.data)["."]}


PROGRAM = """
import sys
from pathlib import Path
from owui_vault.capture import take_instant
from owui_vault.model import CaptureLimits, CapturePlan, Findings, Quiesce
from owui_vault.system.clock import SystemClock
plan = CapturePlan(data_dir=Path(sys.argv[1]), work_dir=Path(sys.argv[2]), databases=("webui.db",))
captured = take_instant(plan, mode=Quiesce.LIVE, quiet=None, examine=lambda _: Findings(), unproven=False,
                        limits=CaptureLimits(reserve_bytes=0), clock=SystemClock())
print(*captured.problems, *captured.warnings, sep="\\n")
"""


def capture_by(site: Any, *command: str) -> list[str]:
    """Problems and warnings of a capture by another kind of root."""
    done = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, site.data, site.work], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


@pytest.mark.root
@pytest.mark.parametrize(
    "command",
    [
        ("setpriv", "--bounding-set=-chown"),
        ("unshare", "--user", "--map-root-user"),
    ],
    ids=["root-without-the-right", "namespace-without-the-owner"],
)
def test_owners_that_cannot_be_given_are_one_warning(site: Any, command: tuple[str, ...]) -> None:
    """The first is refused with EPERM, the second with EINVAL: neither is the disk's fault."""
    site.build()
    (site.data / "vector_db" / "link").symlink_to("segment")
    for path in [site.data, *site.data.rglob("*")]:
        os.lchown(path, 1000, 1000)
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    told = capture_by(site, *command)
    assert len(told) == 1, told
    assert told[0].startswith("the owner of the data directory, cache, cache/functions and ")
    assert "could not be kept in the snapshot" in told[0]
    assert (site.work / "stage" / "data" / "vector_db" / "link").readlink() == Path("segment")


@pytest.mark.root
def test_an_owner_is_kept_where_that_is_possible(site: Any) -> None:
    site.build()
    (site.data / "link").symlink_to("nowhere")
    for path in [site.data, *site.data.rglob("*")]:
        os.lchown(path, 1000, 1001)
    (site.data / "cache").chmod(0o6755)
    captured: Captured = site.take()
    staged = [captured.stage / "data", *(captured.stage / "data").rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in staged} == {(1000, 1001)}
    assert stat.S_IMODE((captured.stage / "data" / "cache").stat().st_mode) == 0o6755
    assert captured.warnings == ()


@pytest.mark.root
def test_what_the_stage_cannot_keep_is_one_warning(
    mounted: Callable[[str], Path], make_site: Callable[[Path], Any], tmp_path: Path
) -> None:
    """XFS keeps attributes of 64 kB, ext4 of 4 kB."""
    place = make_site(mounted("xfs") / tmp_path.name).build()
    (place.data / "plugin.py").write_text("print()")
    for name in ("plugin.py", "cache", "webui.db"):
        os.setxattr(place.data / name, "user.large", bytes(20_000))
        os.setxattr(place.data / name, "user.small", b"ours")
    place.work = tmp_path / "work"
    captured: Captured = place.take(Quiesce.STOP, quiet=place.quiet())
    assert captured.warnings == ("user.large of cache, plugin.py, webui.db could not be kept in the snapshot",)
    assert os.getxattr(captured.stage / "data" / "webui.db", "user.small") == b"ours"


@pytest.mark.root
def test_holes_stay_holes(any_filesystem: Path, make_site: Callable[[Path], Any]) -> None:
    """A file that is long and nearly empty must not fill the disk, of the stage and later of the restore."""
    place = make_site(any_filesystem)
    place.build()
    sparse = place.data / "sparse.bin"
    with sparse.open("wb") as file:
        file.write(b"begin")
        file.seek(256 * MIB)
        file.write(b"middle")
        file.truncate(900 * MIB)
    (place.data / "hole.bin").touch()
    os.truncate(place.data / "hole.bin", 800 * MIB)
    captured: Captured = place.take(Quiesce.STOP, quiet=place.quiet())
    assert captured.problems == ()
    for name in ("sparse.bin", "hole.bin"):
        copy = captured.stage / "data" / name
        assert copy.stat().st_size == (place.data / name).stat().st_size
        assert copy.stat().st_blocks * 512 < 2 * MIB
    with (captured.stage / "data" / "sparse.bin").open("rb") as file:
        assert file.read(10) == b"begin\0\0\0\0\0"
        file.seek(256 * MIB - 2)
        assert file.read(10) == b"\0\0middle\0\0"


def test_a_copy_has_a_time_that_tells_its_bytes(site: Any) -> None:
    """Engines pass over what has the size and time they know; a tool may put both back."""
    site.build()
    plugin = site.data / "plugin.py"
    plugin.write_text("one")
    os.utime(plugin, ns=(1, 1_600_000_000_000_000_007))
    times: list[int] = []
    for content in ("one", "two", "two", "one"):
        if plugin.read_text() != content:
            plugin.write_text(content)
            os.utime(plugin, ns=(1, 1_600_000_000_000_000_007))
        captured: Captured = site.take(Quiesce.STOP, quiet=site.quiet())
        times.append((captured.stage / "data" / "plugin.py").stat().st_mtime_ns)
    assert times[0] == times[3] != times[1] == times[2]
    assert {each // 1_000_000_000 for each in times} == {1_600_000_000}
    assert plugin.stat().st_mtime_ns == 1_600_000_000_000_000_007
