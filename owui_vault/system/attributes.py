"""Mode, owner, access lists and extended attributes: read, set, and reported if one of them could not be set.

Whether something can be set never depends on who we are: a root without the right, a user namespace that does not know
the owner and a file system without access lists all refuse in their own ways. So it is tried, and the result checked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeAlias

Place: TypeAlias = str | int  # a path, of which no link is followed, or an open descriptor

OWNER = "owner"
_ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default")
# What the system gives by the place (labels), by the content (signatures) or for its own use.
_OF_THE_SYSTEM = (
    "security.selinux",
    "security.SMACK64",
    "security.ima",
    "security.evm",
    "security.apparmor",
    "trusted.overlay.",
    "user.overlay.",
    "system.nfs4_acl",
    "system.ntfs",
    "system.cifs",
    "system.smb3",
)
_TAKEN_BY_A_NEW_OWNER = "security.capability"
_REFUSED = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EOVERFLOW}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a file or directory has besides its content and times."""

    mode: int
    user: int
    group: int
    extended: Mapping[str, bytes] = field(default_factory=dict)


def read_extended(place: Place) -> dict[str, bytes]:
    """Access lists and extended attributes by name; what the system gives by itself is left out."""
    found: dict[str, bytes] = {}
    for name in _listed(place):
        if not name.startswith(_OF_THE_SYSTEM):
            with suppress(OSError):  # taken away meanwhile, or not for us
                value = os.getxattr(place, name, follow_symlinks=isinstance(place, int))
                found[name] = value
    return found


def summed_up(path: str, extended: Mapping[str, bytes]) -> dict[str, int]:
    """Each attribute of a path as one number, which can be added up over many paths in any order."""
    name = os.fsencode(path)
    return {
        key: int.from_bytes(blake2b(name + b"\0" + key.encode() + b"\0" + value, digest_size=16).digest(), "big")
        for key, value in extended.items()
    }


def _listed(place: Place) -> list[str]:
    try:
        return os.listxattr(place, follow_symlinks=isinstance(place, int))
    except OSError:  # a file system without any
        return []


def give(descriptor: int, wanted: Attributes) -> tuple[str, ...]:
    """Make an open file or directory of ours have exactly these; returns what could not be given.

    What it inherited from the default access list of a folder above goes. The owner comes last: it may be out of our
    reach then.
    """
    mode = stat.S_IMODE(wanted.mode)
    drop_access_lists(descriptor, wanted.extended)
    os.fchmod(descriptor, mode)
    lost = [name for name, value in wanted.extended.items() if not _set(descriptor, name, value)]
    if not _is_owned(descriptor, wanted):
        _change_owner(descriptor, wanted.user, wanted.group)
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)  # a new owner takes the set-user-ID bit away, and capabilities
        capability = wanted.extended.get(_TAKEN_BY_A_NEW_OWNER)
        if capability is not None and _TAKEN_BY_A_NEW_OWNER not in lost:
            lost += [] if _set(descriptor, _TAKEN_BY_A_NEW_OWNER, capability) else [_TAKEN_BY_A_NEW_OWNER]
        lost += [] if _is_owned(descriptor, wanted) else [OWNER]
    return tuple(lost)


def give_owner(path: str, user: int, group: int) -> tuple[str, ...]:
    """Give whatever stands there, a symbolic link too, its owner; returns what could not be given."""
    status = os.lstat(path)
    if (status.st_uid, status.st_gid) == (user, group):
        return ()
    capability = read_extended(path).get(_TAKEN_BY_A_NEW_OWNER)
    for owner in ((user, group), (-1, group)):
        try:
            os.lchown(path, *owner)
            break
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
    lost = [] if capability is None or _set(path, _TAKEN_BY_A_NEW_OWNER, capability) else [_TAKEN_BY_A_NEW_OWNER]
    status = os.lstat(path)
    return tuple(lost) if (status.st_uid, status.st_gid) == (user, group) else (OWNER, *lost)


def drop_access_lists(place: Place, but: Mapping[str, bytes] | None = None) -> None:
    """Take away the access lists that a file or folder of ours inherited, `but` those it is to have."""
    for name in set(_listed(place)).intersection(_ACCESS_LISTS).difference(but or ()):
        with suppress(OSError):
            os.removexattr(place, name, follow_symlinks=isinstance(place, int))


def _set(place: Place, name: str, value: bytes) -> bool:
    try:
        os.setxattr(place, name, value, follow_symlinks=isinstance(place, int))
    except OSError:
        return False
    return True


def _is_owned(descriptor: int, wanted: Attributes) -> bool:
    status = os.fstat(descriptor)
    return (status.st_uid, status.st_gid) == (wanted.user, wanted.group)


def _change_owner(descriptor: int, user: int, group: int) -> None:
    """Both, or at least the group, which is enough for whoever gets in by it."""
    for owner in ((user, group), (-1, group)):
        try:
            os.fchown(descriptor, *owner)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
        else:
            return
