"""What is said of a repository that cannot be reached: whose fault it is, and what to do.

The sentences are those that restic 0.14, 0.18 and 0.19 said through `tests/faulty_link.py`, and ssh.
"""

from __future__ import annotations

import pytest
from owui_vault.engines.common.unreachable import cause_of
from owui_vault.engines.restic.errors import error_for
from owui_vault.errors import RepositoryFullError, RepositoryUnreachableError, VaultError

SAID = [
    ("x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs", "certificate"),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "certificate"),
    ("x509: certificate has expired or is not yet valid: current time 2019-01-01T00:00:00Z is before", "clock"),
    ("Stat: The difference between the request time and the current time is too large.", "clock"),
    ("dial tcp: lookup nowhere.invalid on 10.0.0.1:53: no such host", "name of the host"),
    ("ssh: Could not resolve hostname nowhere.invalid: Name or service not known", "name of the host"),
    ("unable to open config file: unexpected HTTP response (401): 401 Unauthorized", "credentials"),
    ("unable to open config file: Stat: 401 Unauthorized", "credentials"),
    ("Stat: The access key ID you provided does not exist in our records.", "credentials"),
    ("Stat: The request signature we calculated does not match the signature you provided.", "credentials"),
    ("root@127.0.0.1: Permission denied (publickey).", "credentials"),
    ("unable to open config file: Stat: b2_download_file_by_name: 401: bad_auth_token", "credentials"),
    ("RESPONSE ERROR CODE: AuthenticationFailed: Server failed to authenticate the request.", "credentials"),
    ('oauth2: "invalid_grant" "Token has been expired or revoked."', "credentials"),
    ("ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]", "credentials"),
    ("write tcp 10.0.0.2:5->10.0.0.3:443: use of closed network connection", "broke off"),
    ("Remove(<lock/14de9095de>) returned error, retrying after 1.3s: client.RemoveObject: Access Denied.", "delete"),
    ('unable to save snapshot: Write: sftp: "Failure" (SSH_FX_FAILURE)', "SFTP server"),
    ("Remove(<lock/71639e81f4>) failed: unexpected HTTP response (403): 403 Forbidden", "delete"),
    ("Save(<data/15eb4c36b8>) failed: unexpected HTTP response (403): 403 Forbidden", "write"),
    ("Save(<data/863e8e4edb>) failed: client.PutObject: Access Denied.", "write"),
    ("unable to open config file: unexpected HTTP response (403): 403 Forbidden", "denies"),
    ("unable to open config file: Stat: Access Denied.", "denies"),
    ("Stat(<config/>) returned error, retrying after 1.4s: Stat: 429 Too Many Requests", "too often"),
    ("Stat(<config/>) returned error, retrying after 1s: unexpected HTTP response (429): 429 Too Many", "too often"),
    (
        "Save(<data/1>) returned error, retrying after 1s: client.PutObject: Please reduce your request rate: SlowDown",
        "too",
    ),
    ("Stat(<config/>) returned error, retrying after 0.8s: Stat: 500 Internal Server Error", "the server of"),
    ("unexpected HTTP response (503): 503 Service Unavailable", "the server of"),
    ("dial tcp 127.0.0.1:1: connect: connection refused", "listens"),
    ("ssh: connect to host 127.0.0.1 port 1: Connection refused", "listens"),
    ("dial tcp 10.9.9.9:443: connect: no route to host", "no way"),
    ("dial tcp 10.9.9.9:443: i/o timeout", "does not answer"),
    ("net/http: TLS handshake timeout", "does not answer"),
    ("read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer", "broke off"),
]


@pytest.mark.parametrize(("said", "told"), SAID)
def test_each_way_to_fail_has_its_own_words(said: str, told: str) -> None:
    error = error_for(1, f"Fatal: {said}", location="rest:https://host/")
    assert isinstance(error, RepositoryUnreachableError)
    assert told in error.message
    assert "rest:https://host/" in error.message
    assert error.hint.endswith(".")


@pytest.mark.parametrize(
    "said",
    [
        "unexpected HTTP response (507): 507 Insufficient Storage",
        "client.PutObject: 507 Insufficient Storage",
        "client.PutObject: The bucket quota exceeded",
        "client.PutObject: Storage backend has reached its minimum free drive threshold: XMinioStorageFull",
    ],
)
def test_a_quota_that_is_used_up_is_no_host_that_is_away(said: str) -> None:
    assert isinstance(error_for(1, f"Fatal: {said}", location="rest:https://host/"), RepositoryFullError)


def test_what_says_nothing_of_a_network_has_no_cause() -> None:
    assert cause_of("Fatal: wrong password or no key found") is None
    unknown: VaultError = error_for(1, "subprocess ssh exited", location="sftp:host:/r")
    assert unknown.message.startswith("the repository sftp:host:/r cannot be reached")
