"""Tricks of Linux file systems: their type, a fence against writes in flight, copies that share blocks.

Standard library only: the capture's child process imports this module too.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_TYPES = {
    0xEF53: "ext4",  # ext2 and ext3 have the same number and, in any kernel of today, the same driver
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlay",
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x01021997: "9p",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x858458F6: "ramfs",
    0x00C36400: "ceph",
    0x47504653: "gpfs",
    0x5346544E: "ntfs",
    0x7366746E: "ntfs3",
}
# Others than this kernel may write there, and nothing here tells of it.
SHARED_FILESYSTEMS = frozenset({"nfs", "cifs", "smb2", "9p", "fuse", "ceph", "gpfs"})
_FICLONE = 0x40049409
# Where a file has holes is only asked where no write on its way to the disk was ever seen to be taken for one, as on
# ZFS (OpenZFS issue 15526); elsewhere holes are copied as zeros.
_TELL_HOLES = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})
_COPY_CHUNK = 64 << 20
_SMALL_CHUNK = 1 << 20
_WAIT, _START = 7, 2  # of sync_file_range(2): begin and wait; begin only
_NO_KERNEL_COPY = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.ETXTBSY, errno.EPERM}
_ESCAPED = re.compile(r"\\([0-7]{3})")  # a space, for example, in a path of /proc/self/mountinfo
_libc = ctypes.CDLL(None, use_errno=True)


def filesystem_type(path: str | Path) -> str:
    """The kind of file system that holds `path`, as the kernel numbers them; `0x…` for one without a name here."""
    buffer = ctypes.create_string_buffer(512)  # larger than any struct statfs; its first word is the type
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    magic = ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF
    return _TYPES.get(magic, hex(magic))


def sync_filesystem(path: Path) -> None:
    """Bring everything that was written to the file system of `path` to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def mount_points() -> tuple[Path, ...]:
    """Where this process has file systems mounted."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return tuple(Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), line.split()[4])) for line in lines)


def fence(descriptor: int) -> None:
    """Wait until every write() that was running on this file has ended.

    Both calls take the lock that a write holds for as long as it copies: ext4, btrfs and tmpfs take it for SEEK_HOLE,
    XFS takes it for a read. Where neither does, nothing is waited for: the tests say which file systems are trusted.
    """
    with suppress(OSError):  # ENXIO: nothing behind offset 0
        os.lseek(descriptor, 0, os.SEEK_HOLE)
    os.pread(descriptor, 1, 0)


def open_to_read(path: str) -> int:
    """A descriptor for reading that follows no link, waits for nobody and, where allowed, leaves the access time."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(path, flags)  # O_NOATIME is for the owner and for root


def is_full(error: OSError) -> bool:
    """Whether a file system has no room left for us."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def reflink(source: int, target: int) -> bool:
    """Let `target` share all blocks of `source`, if the file system can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if is_full(error) or error.errno == errno.EIO:
            raise
        return False
    return True


def copy_bytes(source: int, target: int, size_bytes: int) -> int:
    """Copy `size_bytes` from the start, in the kernel where it can, holes as holes; returns how many there were."""
    end = 0
    for start, stop in _written_ranges(source, size_bytes):
        end = start + _copy_range(source, target, start, stop)
        if end < stop:
            return end
    length = min(size_bytes, os.fstat(source).st_size)
    if end < length:  # a hole at the end
        os.ftruncate(target, length)
    return max(end, length)


def _written_ranges(source: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Where an open file has bytes of its own, by offset; all of it where that is not known for certain."""
    status = os.fstat(source)
    if room_of_copy(f"/proc/self/fd/{source}", status) >= min(status.st_size, size_bytes):
        yield 0, size_bytes
        return
    end = min(status.st_size, size_bytes)
    position = 0
    while position < end:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            raise
        if start >= end:
            return
        position = min(os.lseek(source, start, os.SEEK_HOLE), end)
        yield start, position


def hole_bytes(path: str, status: os.stat_result) -> int:
    """How much of a file is holes, as far as its file system tells."""
    if room_of_copy(path, status) >= status.st_size:
        return 0
    descriptor = open_to_read(path)
    try:
        return status.st_size - sum(end - start for start, end in _written_ranges(descriptor, status.st_size))
    finally:
        os.close(descriptor)


def room_of_copy(path: str, status: os.stat_result) -> int:
    """How many bytes a copy of this file takes: fewer than it is long where it has holes that stay holes."""
    taken = status.st_blocks * 512
    return taken if taken < status.st_size and filesystem_type(path) in _TELL_HOLES else status.st_size


def _copy_range(source: int, target: int, start: int, end: int) -> int:
    """Copy from one offset to another; returns how many bytes there were."""
    done = start
    while done < end:
        chunk = min(_COPY_CHUNK, end - done)
        try:
            count = os.copy_file_range(source, target, chunk, offset_src=done, offset_dst=done)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            return done - start + _copy_by_hand(source, target, done, end)
        if count == 0:
            # Some file systems answer 0 for files they could copy by read and write.
            return done - start + _copy_by_hand(source, target, done, end)
        done += count
    return done - start


def _copy_by_hand(source: int, target: int, start: int, end: int) -> int:
    offset = start
    while offset < end:
        data = os.pread(source, min(1 << 20, end - offset), offset)
        if not data:
            break
        view = memoryview(data)
        while view:
            written = os.pwrite(target, view, offset)
            view = view[written:]
            offset += written
    return offset - start


def copy_beside_others(source: int, target: int, size_bytes: int, between: Callable[[int], None]) -> int:
    """Copy up to `size_bytes` from the start, so that other programs on the same disk hardly notice.

    Their fsync() waits for what we wrote as well, so no more than two small chunks are ever on their way to the disk;
    and no blocks become shared, which would slow down whoever writes to the source. `between` is told how much is
    done. Returns how much there was.
    """
    buffer = mmap.mmap(-1, _SMALL_CHUNK)
    done = 0
    while done < size_bytes:
        count = os.preadv(source, [memoryview(buffer)[: size_bytes - done]], done)
        if count == 0:
            break
        os.pwrite(target, memoryview(buffer)[:count], done)
        start_writing(target, done, count)
        if done >= _SMALL_CHUNK:
            _libc.sync_file_range(target, ctypes.c_int64(done - _SMALL_CHUNK), ctypes.c_int64(_SMALL_CHUNK), _WAIT)
        done += count
        between(done)
    return done


def start_writing(descriptor: int, offset: int = 0, size_bytes: int = 0) -> None:
    """Have the kernel begin to write to the disk what of a file is only in memory yet; 0 bytes: to its end.

    It changes nothing in the file, and nobody waits for it; where it is not possible it is not done.
    """
    _libc.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size_bytes), _START)


def free_and_whole_bytes(path: str | Path) -> tuple[int, int]:
    """What is free for us on the file system of `path`, and how large it is."""
    answer = os.statvfs(path)
    return answer.f_bavail * answer.f_frsize, answer.f_blocks * answer.f_frsize


def on_one_mount(one: Path, other: Path) -> bool:
    """Whether files of one existing directory can get a second name in the other.

    The same device is not enough: the kernel refuses links from one mount to another, bind mounts and a container's
    volumes included.
    """
    return one.stat().st_dev == other.stat().st_dev and _mount_id(one) == _mount_id(other)


def _mount_id(path: Path) -> str:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        told = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    finally:
        os.close(descriptor)
    return next((line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("mnt_id:")), "")


def overlay_layers(mountinfo: str) -> tuple[str, ...]:
    """The directories that the kernel's overlay mounts are made of, out of the text of `/proc/self/mountinfo`."""
    layers: list[str] = []
    for line in mountinfo.splitlines():
        _, separator, after = line.partition(" - ")
        fields = after.split(" ", 2)
        if not separator or len(fields) != 3 or fields[0] != "overlay":
            continue
        for option in fields[2].split(","):  # a comma in a name is written as its octal number
            key, _, value = option.partition("=")
            value = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), value)
            if key in ("upperdir", "workdir", "lowerdir", "lowerdir+"):
                names = re.split(r"(?<!\\):", value) if key == "lowerdir" else [value]
                # The backslashes of whoever mounted it are shown as well; without them, unless they are in the name.
                layers.extend(form for name in names for form in (name, re.sub(r"\\(.)", r"\1", name)) if name)
    return tuple(dict.fromkeys(layers))
