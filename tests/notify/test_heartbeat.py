"""Signs of life, to a real HTTP server."""

from __future__ import annotations

import socket
from urllib.parse import parse_qs, urlsplit

import pytest
from owui_vault import Beat, BeatKind, NotifyError, Secret, UrlHeartbeat
from tests.notify.endpoints import receiver

START = Beat(kind=BeatKind.START, summary="nightly")
GOOD = Beat(kind=BeatKind.SUCCESS, summary="nightly: success", log="snapshot, nas: success", took_seconds=2.5)
BAD = Beat(kind=BeatKind.FAILURE, summary="nightly: failed", log="x" * 20_000 + "the end")


def test_a_healthchecks_url_is_called_at_start_success_and_failure() -> None:
    with receiver() as there:
        heart = UrlHeartbeat(Secret(f"http://{there.address}/ping/token?create=1"))
        for each in (START, GOOD, BAD):
            heart.beat(each)
    assert there.requests == [
        ("GET", "/ping/token/start?create=1", ""),
        ("GET", "/ping/token?create=1", ""),
        ("GET", "/ping/token/fail?create=1", ""),
    ], "and nothing of the log goes to a third party that was not asked for"


@pytest.mark.parametrize("excepted", [False, True])
def test_the_proxies_are_those_of_the_environment_it_was_given(
    monkeypatch: pytest.MonkeyPatch, *, excepted: bool
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with receiver() as there, receiver() as proxy:
        given = {"http_proxy": f"http://{proxy.address}", "no_proxy": "127.0.0.1" if excepted else "elsewhere"}
        UrlHeartbeat(Secret(f"http://{there.address}/ping/token"), environ=given).beat(GOOD)
    assert proxy.paths == ([] if excepted else [f"http://{there.address}/ping/token"])
    assert there.paths == (["/ping/token"] if excepted else [])


def test_the_log_goes_along_only_where_asked_and_its_end_counts() -> None:
    with receiver() as there:
        UrlHeartbeat(Secret(f"http://{there.address}/ping/token"), log=True).beat(BAD)
    ((method, path, body),) = there.requests
    assert (method, path, len(body)) == ("POST", "/ping/token/fail", 10_000)
    assert body.endswith("the end")


def test_a_push_url_of_uptime_kuma_says_up_and_down_and_nothing_at_the_start() -> None:
    with receiver() as there:
        heart = UrlHeartbeat(Secret(f"http://{there.address}/api/push/token?status=up&msg=OK&ping="))
        for each in (START, GOOD, BAD):
            heart.beat(each)
    assert [urlsplit(each).path for each in there.paths] == ["/api/push/token", "/api/push/token"]
    said = [parse_qs(urlsplit(each).query) for each in there.paths]
    assert said[0] == {"status": ["up"], "msg": ["nightly: success"], "ping": ["2500"]}
    assert said[1] == {"status": ["down"], "msg": ["nightly: failed"]}


def test_a_service_without_a_place_for_the_start_is_no_failure_and_any_other_answer_is() -> None:
    with receiver() as there:
        there.status = 404
        heart = UrlHeartbeat(Secret(f"http://{there.address}/ping/token"))
        heart.beat(START)
        with pytest.raises(NotifyError, match="status 404"):
            heart.beat(GOOD)


def test_what_cannot_be_reached_is_told_without_the_address() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(NotifyError) as raised:
            UrlHeartbeat(Secret(f"http://127.0.0.1:{port}/ping/s3cr3t-token")).beat(GOOD)
    said = f"{raised.value.message} {raised.value.hint}"
    assert "refused" in said
    assert "s3cr3t" not in said


def test_an_address_that_is_none_is_never_called_nor_repeated() -> None:
    for address in ("file:///etc/passwd", "s3cr3t", "http://[bad/s3cr3t"):
        with pytest.raises((NotifyError, ValueError)) as raised:
            UrlHeartbeat(Secret(address)).beat(GOOD)
        assert "s3cr3t" not in str(raised.value)
