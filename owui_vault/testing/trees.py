"""Sample trees with everything a data directory may hold, and a comparison that overlooks nothing."""

from __future__ import annotations

import os
import random
import stat
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from owui_vault.system.attributes import read_extended

MANY_BYTES = 3_000_000
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20  # of the kernel's access lists
_NOBODY_ELSE = 0xFFFFFFFF

AWKWARD_NAMES = (
    b"we*ird[1]?.txt",
    b"comma,brace{x}.txt",
    b"new\nline",
    b"blank and \"quote\" and 'quote'",
    b"-o dash",
    b"back\\slash",
    "snow☃man".encode(),
    b"not-\xff\xfe-utf8",
    b"long-" + b"x" * 250,
)


def build_tree(folder: Path, *, seed: int = 1) -> Path:
    """Fill a new directory: kinds, modes, times, links and names of every sort, some 4 MB."""
    folder.mkdir(parents=True)
    source = random.Random(seed)
    _file(folder / "manifest.json", b'{"format": 1}', 0o600)
    _file(folder / "data/webui.db", source.randbytes(MANY_BYTES), 0o640)
    _file(folder / "data/empty", b"", 0o644)
    _file(folder / "data/uploads/a.pdf", source.randbytes(70_000), 0o644)
    _file(folder / "data/uploads/deep/er/still/b.txt", b"deep", 0o755)
    for number, name in enumerate(AWKWARD_NAMES):
        _file(Path(os.fsdecode(os.fsencode(folder / "data/names") + b"/" + name)), b"%d" % number, 0o644)
    (folder / "data/hard").hardlink_to(folder / "data/uploads/a.pdf")
    (folder / "data/nothing-in-it").mkdir(mode=0o700)
    (folder / "data/closed").mkdir(mode=0o700)
    _file(folder / "data/closed/inside", b"closed", 0o400)
    (folder / "data/link").symlink_to("uploads/a.pdf")
    (folder / "data/dangling").symlink_to("no/such/thing")
    (folder / "data/outward").symlink_to("/etc")
    if os.geteuid() == 0:
        os.chown(folder / "data/webui.db", 1234, 2345)
        os.chown(folder / "data/closed", 1234, 2345)
    _settle(folder)
    return folder


def _file(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _settle(folder: Path) -> None:
    """Give everything an mtime of its own, long ago, with nanoseconds."""
    moment = 1_600_000_000_123_456_789
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        if not path.is_symlink():
            os.utime(path, ns=(moment, moment + number * 1_000_000_007))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is compared of one path."""

    kind: str
    mode: int
    mtime_ns: int
    owner: tuple[int, int]
    digest: str
    twins: tuple[str, ...] = ()  # the other names of the same file


def look(folder: Path) -> dict[str, Seen]:
    """Every path below `folder` with everything that must come back."""
    inodes: dict[int, list[str]] = {}
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    for name, path in paths.items():
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode):
            inodes.setdefault(facts.st_ino, []).append(name)
    return {name: _see(path, inodes) for name, path in sorted(paths.items())}


def _see(path: Path, inodes: dict[int, list[str]]) -> Seen:
    facts = path.lstat()
    owner = (facts.st_uid, facts.st_gid) if os.geteuid() == 0 else (0, 0)
    if stat.S_ISLNK(facts.st_mode):  # its mode and times mean nothing
        return Seen(kind="symlink", mode=0, mtime_ns=0, owner=owner, digest=str(path.readlink()))
    regular = stat.S_ISREG(facts.st_mode)
    return Seen(
        kind="file" if regular else "dir",
        mode=stat.S_IMODE(facts.st_mode),
        mtime_ns=facts.st_mtime_ns,
        owner=owner,
        digest=sha256(path.read_bytes()).hexdigest() if regular else "",
        twins=tuple(sorted(inodes.get(facts.st_ino, ()))) if regular else (),
    )


def give_attributes(path: Path) -> None:
    """An access list that lets another user in, an extended attribute, and on a directory a default access list."""
    entries = [(_USER_OBJ, 7, _NOBODY_ELSE), (_USER, 5, 1234), (_GROUP_OBJ, 5, _NOBODY_ELSE), (_MASK, 5, _NOBODY_ELSE)]
    entries.append((_OTHERS, 0, _NOBODY_ELSE))
    access_list = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)
    os.setxattr(path, "system.posix_acl_access", access_list)
    os.setxattr(path, "user.comment", b"\0\xff" + os.fsencode(path.name))
    if path.is_dir():
        os.setxattr(path, "system.posix_acl_default", access_list)


def extended_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """Access lists and extended attributes of whatever has any."""
    found = {str(path.relative_to(folder)): read_extended(str(path)) for path in sorted(folder.rglob("*"))}
    return {name: extended for name, extended in found.items() if extended}


def assert_same(there: Path, here: Path) -> None:
    """The two trees are equal, path by path."""
    expected, found = look(there), look(here)
    assert set(found) == set(expected)
    for name, seen in expected.items():
        assert found[name] == seen, name


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
