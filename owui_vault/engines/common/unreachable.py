"""Why a repository cannot be reached: whose fault it is and what to do, by what programs and servers say about it.

One table for both engines. The words are those of Go's and C's network libraries, of ssh, and of what servers answer;
`tests/engines/restic/test_faulty_links.py` hears them from every supported restic, through a link that fails so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: How long what is hopeless is tried all the same: a network that a laptop has just joined answers for others at first.
HOPELESS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cause:
    """`{location}` is filled into the message. What is `hopeless` stays so however often it is tried again.

    A `vague` one explains why a repository was not reached; such words alone do not say that it was not.
    """

    pattern: re.Pattern[str]
    message: str
    hint: str
    hopeless: bool = False
    vague: bool = False


def _cause(pattern: str, message: str, hint: str, *, hopeless: bool = False, vague: bool = False) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), message, hint, hopeless, vague)


# In this order: a certificate is also refused because the clock is wrong, and a wrong key is also answered with 403.
_CAUSES = (
    _cause(
        r"RequestTimeTooSkewed|difference between the request time|certificate has expired or is not yet valid",
        "the clock of this machine and that of {location} do not agree, or its certificate has expired",
        "Compare `date` with the time elsewhere and set this machine's clock; if it is right, its operator has to renew"
        " the certificate.",
        hopeless=True,
    ),
    _cause(
        r"x509: |failed to verify certificate|certificate verify failed|tls: (?!handshake timeout)",
        "the certificate of {location} is not one that this machine trusts",
        "Is the host's name in the location spelled as in its certificate? For a certificate authority of your own,"
        " name its file: `environment: {SSL_CERT_FILE: FILE}`.",
        hopeless=True,
    ),
    _cause(
        r"no such host|could not resolve|name or service not known|server misbehaving"
        r"|temporary failure in name resolution",
        "the name of the host of {location} is not known here",
        "Correct the name in the location. If it is right, this machine has no network or no name server.",
    ),
    _cause(
        r"host key verification failed|host identification has changed",
        "the host key of {location} is not known or has changed",
        "Connect once with ssh as this user and check the fingerprint.",
        hopeless=True,
    ),
    _cause(
        r"\b407\b",
        "the proxy on the way to {location} wants a login",
        "Name it with its login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT.",
        hopeless=True,
        vague=True,
    ),
    _cause(
        r"InvalidAccessKeyId|SignatureDoesNotMatch|access key id you provided does not exist|signature we calculated"
        r"|no credentials found|invalid credentials|\b401 unauthorized|\(401\)|permission denied \("
        r"|unable to authenticate|AuthenticationFailed|bad_auth_token|invalid_grant",
        "{location} does not accept the credentials",
        "They are what `environment` gives for this repository, or this user's own key: a changed, expired or mistyped"
        " one is the usual reason. It is not the passphrase.",
        hopeless=True,
    ),
    _cause(
        r"remove\(.*(403|access denied|forbidden)|removeobject: ",
        "these credentials may not delete anything in {location}",
        "Where that is meant so, set `append_only: true` and prune from a machine that may delete; else give the key"
        " the right to.",
        vague=True,
    ),
    _cause(
        r"save\(.*(403|access denied|forbidden)|putobject: access denied",
        "these credentials may not write to {location}",
        "They can read it. Give the key the right to write, or use one that has it.",
        vague=True,
    ),
    _cause(
        r"SSH_FX_FAILURE",  # of SFTP's nine answers the one for all that has none: OpenSSH's to ENOSPC, EDQUOT and EIO
        "the SFTP server of {location} could not do it, and that protocol has no way to say why",
        "A full disk or quota there is the usual reason: look with `df` on that host.",
    ),
    _cause(
        r"\b403 forbidden|\(403\)|access ?denied|permission denied",
        "{location} denies this account what was asked for",
        "Compare path or bucket with those of this account, and what its key may do there.",
        vague=True,
    ),
    _cause(
        r"\b429\b|too ?many requests|slow ?down\b",
        "{location} is asked too often and wants us to wait",
        "The limit is its operator's: run at another time, or raise it there. What was sent counts the next time.",
        vague=True,
    ),
    _cause(
        r"\b5\d\d (internal|bad gateway|service|gateway|network|http)|\((500|50[2-9])\)|InternalError"
        r"|ServiceUnavailable",
        "the server of {location} fails",
        "The fault is there: look at its log or its operator's status page. The next run tries again.",
    ),
    _cause(
        r"connection refused",
        "the host of {location} is there, but nobody listens at that port",
        "Is the server running, and is the port right? A firewall can say the same.",
    ),
    _cause(
        r"(network|host) is unreachable|no route to host|network is down",
        "there is no way from here to the host of {location}",
        "Look whether this machine's network is up, and the VPN or tunnel that leads there.",
    ),
    _cause(
        r"i/o timeout|timed out|tls handshake timeout|context deadline exceeded|timeout awaiting",
        "the host of {location} does not answer",
        "It is off, hangs, or a firewall swallows what is sent there.",
    ),
    _cause(
        r"connection reset|broken pipe|connection closed by (?!remote host)|use of closed network connection"
        r"|remote end closed|server closed",
        "the connection to {location} broke off",
        "What was sent counts the next time. If it happens each night, look at the line, or lower `upload_limit`.",
    ),
)


def cause_of(text: str) -> Cause | None:
    """The cause that a text tells, the most telling first."""
    return next((each for each in _CAUSES if each.pattern.search(text)), None)


#: What will not get better by trying again, in one pattern without regard to case, for a program that has no more.
HOPELESS = "|".join(each.pattern.pattern for each in _CAUSES if each.hopeless)
#: What says that it was not reached, whatever the cause.
UNREACHABLE = "|".join(each.pattern.pattern for each in _CAUSES if not each.vague)
