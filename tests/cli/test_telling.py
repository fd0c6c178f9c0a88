"""What an operator hears of the program itself: by a real webhook, mail server and heartbeat endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.notify.endpoints import Mailbox, Receiver, mail_server, receiver

pytestmark = pytest.mark.slow
Program = Any  # the class of that name in conftest.py

TOKEN = "h00k-t0ken"
HEART = "h3art-t0ken"


@dataclass
class Ears:
    """Who listens, and the program that is to tell them."""

    vault: Program
    web: Receiver
    box: Mailbox
    text: str

    def heard(self) -> list[str]:
        """The titles that the webhook got, and what the heartbeat was told, in their order; forgotten afterwards."""
        found = []
        for _, path, body in self.web.requests:
            last = urlsplit(path).path.rpartition("/")[2]
            found.append(json.loads(body)["title"] if TOKEN in path else {HEART: "success"}.get(last, last))
        self.web.requests.clear()
        return found


@pytest.fixture
def ears(vault: Program) -> Iterator[Ears]:
    with receiver() as web, mail_server() as box:
        text = (vault.folder / "vault.yaml").read_text() + (
            "plans:\n  nightly: {schedule: '0 3 * * *', prune: false, timezone: UTC}\n"
            "notifications:\n"
            "  - {url: {file: hook}, when: [failure, incomplete, overdue, warning, recovery, success]}\n"
            f"  - {{url: 'mailto://127.0.0.1:{box.port}?from=v@example.org&to=admin@example.org', when: [failure]}}\n"
            f"heartbeat: http://{web.address}/ping/{HEART}\n"
        )
        (vault.folder / "hook").write_text(f"json://{web.address}/{TOKEN}\n")
        (vault.folder / "hook").chmod(0o600)
        vault.configure(text)
        yield Ears(vault=vault, web=web, box=box, text=text)


def nothing_is_given_away(ears: Ears) -> None:
    """No address in the state, and no passphrase in what was sent."""
    passphrase = (ears.vault.folder / "pass").read_text().strip()
    sent = [body for _, _, body in ears.web.requests] + ears.box.mails
    assert not any(passphrase in each or TOKEN in each or HEART in each for each in sent)
    for path in (ears.vault.folder / "state").rglob("*"):
        # a killed run's stage holds the configuration, as the snapshot would have, until the next run removes it
        if path.is_file() and not path.is_symlink() and "stage" not in path.parts:
            content = path.read_bytes()
            assert not any(word.encode() in content for word in (TOKEN, HEART, "admin@example.org")), path


def test_success_failure_and_recovery_reach_everybody_and_the_exit_code_is_that_of_the_run(ears: Ears) -> None:
    done = ears.vault.run("run", "nightly")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ears.heard() == ["start", "open-webui: plan nightly succeeded", "success"]
    (ears.vault.folder / "nas").rename(ears.vault.folder / "away")
    assert ears.vault.run("-q", "run", "nightly").returncode == 1
    nothing_is_given_away(ears)
    assert ears.heard() == ["start", "open-webui: plan nightly FAILED", "fail"]
    (mail,) = ears.box.mails
    assert "Subject: open-webui: plan nightly FAILED" in mail
    assert "is it mounted" in mail or "repository" in mail
    assert ears.vault.run("-q", "run", "nightly").returncode == 1
    assert ears.heard() == ["start", "fail"], "no message for each retry"
    (ears.vault.folder / "away").rename(ears.vault.folder / "nas")
    assert ears.vault.run("run", "nightly").returncode == 0
    assert ears.heard() == ["start", "open-webui: plan nightly is well again", "success"]
    assert len(ears.box.mails) == 1
    nothing_is_given_away(ears)


def test_a_mistake_in_the_file_tells_nobody_where_somebody_looks(ears: Ears) -> None:
    ears.vault.configure(ears.text.replace("prune: false", "prnue: false"))
    assert ears.vault.run("snapshots").returncode == 2
    assert ears.heard() == []
    assert ears.box.mails == []


def test_a_dead_end_makes_no_good_backup_bad_and_is_seen_in_history_and_status(ears: Ears) -> None:
    ears.web.status = 500
    done = ears.vault.run("run", "nightly")
    assert done.returncode == 0
    assert "notifications[1] could not be told: json: " in done.stdout
    assert "heartbeat could not be told: the heartbeat was answered with status 500" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert HEART not in done.stdout + done.stderr
    assert "not told: notifications[1]" in " ".join(ears.vault.run("history").stdout.split())
    status = ears.vault.json("status", "--offline")
    assert any(each.startswith("notifications[1] cannot be told since") for each in status["warnings"])
    quiet = ears.vault.run("run")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", ""), "said once; cron would mail it each time"
    ears.web.status = 200
    ears.heard()
    assert ears.vault.run("run").returncode == 0
    assert ears.heard() == ["open-webui: plan nightly succeeded"], "late, and not never"
