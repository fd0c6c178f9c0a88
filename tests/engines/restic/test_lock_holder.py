"""Who holds a repository's lock, as far as restic says."""

from __future__ import annotations

import pytest
from owui_vault.engines.restic.errors import error_for, is_complaint
from owui_vault.errors import RepositoryLockedError

LOCKED = """\
unable to create lock in backend: repository is already locked exclusively by PID 4711 on nas by root (UID 0, GID 0)
lock was created at 2026-11-30 03:15:02 (1m12.3s ago)
storage ID 1a2b3c4d
the `unlock` command can be used to remove stale locks
"""
AS_JSON = (
    '{"message_type":"exit_error","code":11,"message":"unable to create lock in backend: repository is already locked'
    ' by PID 4711 on nas by root (UID 0, GID 0)\\nlock was created at 2026-11-30 03:15:02 (1.2s ago)"}\n'
)


@pytest.mark.parametrize(("status", "text"), [(1, LOCKED), (11, AS_JSON)])
def test_who_holds_the_lock_and_since_when_is_known(status: int, text: str) -> None:
    error = error_for(status, text, location="/r")
    assert isinstance(error, RepositoryLockedError)
    assert error.holder == "PID 4711 on nas by root, since 2026-11-30 03:15:02"


def test_who_it_is_stays_open_where_restic_does_not_say() -> None:
    error = error_for(11, "", location="/r")
    assert isinstance(error, RepositoryLockedError)
    assert error.holder == ""


def test_a_complaint_is_what_no_error_will_tell() -> None:
    assert is_complaint("pack 01ab: does not exist")
    assert is_complaint("Load(<data/01ab>, 0, 0) returned error, retrying after 720ms: open: no such file")
    for line in (*LOCKED.splitlines(), *AS_JSON.splitlines(), "Fatal: repository contains errors", "\tmain.go:12", " "):
        assert not is_complaint(line), line
