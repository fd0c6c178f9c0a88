"""Notifications by Apprise, to a real webhook receiver and a real mail server."""

from __future__ import annotations

import json
import threading
import time

import pytest
from owui_vault import AppriseNotifier, Event, EventKind, NotifyError, Secret
from owui_vault.notify import apprise_notifier
from owui_vault.notify.addresses import without_addresses
from tests.notify.endpoints import mail_server, receiver

EVENT = Event(
    instance="open-webui",
    operation="run",
    kind=EventKind.FAILURE,
    detail="snapshot, nas: it is locked",
    plan="nightly",
    title="open-webui: plan nightly FAILED",
    text="What happened:\n- snapshot, nas: it is locked <b>&amp;\n",
)


def test_a_webhook_gets_title_text_and_kind() -> None:
    with receiver() as there:
        AppriseNotifier(Secret(f"json://{there.address}/hook")).notify(EVENT)
    ((method, path, body),) = there.requests
    said = json.loads(body)
    assert (method, path) == ("POST", "/hook")
    assert (said["title"], said["message"], said["type"]) == (EVENT.title, EVENT.text.rstrip(), "failure")


def test_a_mail_arrives_whole() -> None:
    with mail_server() as box:
        AppriseNotifier(Secret(f"mailto://127.0.0.1:{box.port}?from=vault@example.org&to=admin@example.org")).notify(
            EVENT
        )
    (mail,) = box.mails
    assert "Subject: open-webui: plan nightly FAILED" in mail
    assert "admin@example.org" in mail


@pytest.mark.parametrize("status", [403, 500])
def test_a_service_that_refuses_is_told_without_address_or_password(status: int) -> None:
    with receiver() as there:
        there.status = status
        with pytest.raises(NotifyError) as raised:
            AppriseNotifier(Secret(f"json://admin:s3cr3t@{there.address}/hook/t0ken")).notify(EVENT)
    said = f"{raised.value.message} {raised.value.hint}"
    assert said.startswith("json: ")
    assert str(status) in said
    assert not any(each in said for each in ("s3cr3t", "t0ken", there.address))


def test_what_is_no_address_of_apprises_is_told_without_it() -> None:
    with pytest.raises(NotifyError, match="no address that Apprise knows") as raised:
        AppriseNotifier(Secret("nonsense://s3cr3t")).notify(EVENT)
    assert "s3cr3t" not in raised.value.message


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise_notifier, "_SECONDS", 2.5)
    with receiver() as there:
        there.hangs = threading.Event()
        started = time.monotonic()
        with pytest.raises(NotifyError, match="no answer within"):
            AppriseNotifier(Secret(f"json://{there.address}/hook?rto=60")).notify(EVENT)
        assert time.monotonic() - started < 8


def test_nothing_of_an_address_is_repeated() -> None:
    said = without_addresses(
        "could not POST to https://u:pw@host.example/a at\nhost.example, user adm1n, key k3y-1",
        "ntfys://adm1n:hunter2@host.example/k3y-1",
    )
    assert said == "could not POST to … at …, user …, key …"
