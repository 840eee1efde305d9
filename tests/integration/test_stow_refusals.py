"""STOW-RS: who may not store, what is no request, and what is left when something ends in the middle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from dicomrelay.runtime.ports import free_ports
from dicomrelay.spool import Spool
from scp_gateway.web_intake import WebIntake
from streamer.stow.road import Stow
from tests.support.processes import environment, listens, until
from tests.support.stow import (
    BOUNDARY,
    MULTIPART,
    OTHERS,
    begun,
    body_of,
    names,
    part10,
    reasons,
    settings_of,
    spooled,
)
from tests.support.streamer import serving

HEAD = (
    "POST /studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/related; "
    f'type="application/dicom"; boundary="{BOUNDARY}"\r\n'
).encode()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    small = {"max_request_bytes": 200_000, "max_requests": 2}
    with serving(settings_of(tmp_path, streamer={"stow": small}), stores=True) as client:
        yield client


NO_REQUESTS = (
    (None, b"", 400),
    ("nonsense", b"", 400),
    ("multipart/related", b"", 400),
    ("multipart/related; boundary=" + "x" * 300, b"", 400),
    ("text/plain", b"x", 415),
    ("application/dicom+xml", b"<x/>", 415),
    ('multipart/related; type="application/dicom+xml"; boundary=x', b"", 415),
    ("multipart/form-data; boundary=x", b"", 415),
    ("application/dicom", b"", 400),
    ("application/dicom", b"\0" * 1000, 400),
    ("multipart/related; boundary=x", b"", 400),
    ("multipart/related; boundary=x", b"--x--", 400),
    ("multipart/related; boundary=x", b"--y\r\n\r\nabc\r\n--y--", 400),
    ("multipart/related; boundary=x", b"--x\r\nno field\r\n\r\n", 400),
    ("multipart/related; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\nx\r\n--x--", 400),
    ("multipart/related; boundary=x", b"--x\r\nContent-Type: application/dicom\r\n\r\nabc", 400),
)


def test_a_body_that_is_none_is_refused(client: httpx.Client) -> None:
    """400 or 415, in words, and the next request on the connection is answered."""
    for kind, body, status in NO_REQUESTS:
        answer = client.post("/studies", headers={"content-type": kind} if kind else {}, content=body)
        assert answer.status_code == status, (kind, body)
        told = answer.json()
        assert told.get("detail") or told[OTHERS]["Value"][0]["00000902"]["Value"][0]
        assert client.get("/health").status_code == 200


def test_what_came_before_the_fault_stays(tmp_path: Path, client: httpx.Client) -> None:
    """A body that is cut short: 202, the whole parts by name and the rest as another failure."""
    whole = body_of([part10("1.3.1"), part10("1.3.2")])
    answer = client.post("/studies", headers=MULTIPART, content=whole[: -len(BOUNDARY) - 60])

    told = answer.json()
    assert answer.status_code == 202
    assert (names(told), reasons(told, OTHERS)) == (["1.3.1"], [0xC000])
    assert "1.3.1" in spooled(tmp_path)
    assert "1.3.2" not in spooled(tmp_path)
    assert not begun(tmp_path)


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_request_that_is_too_long_is_refused(
    tmp_path: Path, client: httpx.Client, is_announced: bool
) -> None:
    """413 in words, announced or counted; the client gets to read it though it is still sending."""
    body = body_of([part10("1.4.1") + bytes(500_000)])
    pieces = body if is_announced else iter([body[:100_000], body[100_000:]])
    answer = client.post("/studies", headers=MULTIPART, content=pieces)

    assert answer.status_code == 413
    assert "max_request_bytes" in answer.json()["detail"]
    assert "1.4.1" not in spooled(tmp_path)


def test_only_two_addresses_take_a_body(client: httpx.Client) -> None:
    """Elsewhere a small one is passed over, and a long one is not even read."""
    for path, status in (("/series", 405), ("/studies/1.2/series", 405), ("/studies/1.2/x", 404), ("/", 405)):
        assert client.post(path, headers=MULTIPART, content=b"x").status_code == status
        assert client.post(path, headers=MULTIPART, content=bytes(100_000)).status_code == 413
    for path, allowed in (
        ("/series", "GET, HEAD"),
        ("/studies", "GET, HEAD, POST"),
        ("/studies/1.2", "GET, HEAD, POST"),
    ):
        for method in ("PUT", "OPTIONS"):
            refused = client.request(method, path)
            assert {*refused.headers["allow"].split(", ")} == {*allowed.split(", ")}
            assert refused.json()["detail"].startswith(f"{method} is not for {path}, which takes ")


def test_nothing_is_stored_that_cannot_be_answered_or_comes_from_elsewhere(
    tmp_path: Path, client: httpx.Client
) -> None:
    """406 where JSON is not taken, 403 for pages of other sites."""
    for field, status in (
        ({"accept": "application/dicom+xml"}, 406),
        ({"x-forwarded-proto": "https"}, 403),
        ({"origin": "https://evil.example"}, 403),
    ):
        answer = client.post("/studies", headers=MULTIPART | field, content=body_of([part10()]))
        assert answer.status_code == status
    assert not spooled(tmp_path)


def test_more_requests_at_once_than_may_be_are_told_so(tmp_path: Path, client: httpx.Client) -> None:
    """503 with Retry-After; a client that goes away in the middle leaves nothing and makes room."""
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address) as one, socket.create_connection(address) as two:
        for number, each in enumerate((one, two)):
            begin = body_of([], end=b"") + b"\r\n\r\n" + part10(f"1.6.{number}") + bytes(70_000)
            each.sendall(HEAD + b"Content-Length: 150000\r\n\r\n" + begin)
        until(lambda: post(client).status_code == 503, seconds=5, what="both places are taken")
        assert int(post(client).headers["retry-after"]) > 0
    until(lambda: post(client).status_code == 200, seconds=5, what="there is room again")

    until(lambda: not begun(tmp_path), seconds=5, what="what was begun is gone")
    assert not {"1.6.0", "1.6.1"} & set(spooled(tmp_path))


def post(client: httpx.Client) -> httpx.Response:
    return client.post("/studies", headers=MULTIPART, content=body_of([part10("1.6.9")]))


def test_under_the_low_water_mark_nothing_is_read(tmp_path: Path) -> None:
    """503 with Retry-After and words without a path."""
    with serving(settings_of(tmp_path, gateway={"min_free_bytes": 2**60}), stores=True) as client:
        answer = client.post("/studies", headers=MULTIPART, content=body_of([part10()]))

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert str(tmp_path) not in answer.text
    assert not spooled(tmp_path)


def test_a_full_spool_takes_no_more(tmp_path: Path) -> None:
    """`max_spool_bytes` holds here too: what does not fit any more has A700."""
    settings = settings_of(tmp_path, gateway={"min_free_bytes": 0, "max_spool_bytes": 10_000})
    with serving(settings, stores=True) as client:
        content = body_of(part10(f"1.2.{number}") for number in range(40))
        answer = client.post("/studies", headers=MULTIPART, content=content)
        again = client.post("/studies", headers=MULTIPART, content=content)

    told = answer.json()
    assert answer.status_code == 202
    assert set(reasons(told, "00081198")) == {0xA700}
    assert set(spooled(tmp_path)) == set(names(told))
    assert again.status_code == 503


def test_a_spool_that_cannot_be_opened_stops_nothing_else(tmp_path: Path) -> None:
    """503 for what is to be stored, and everything else goes on."""
    (tmp_path / "spool").write_bytes(b"no folder")
    with serving(settings_of(tmp_path), stores=True) as client:
        answer = client.post("/studies", headers=MULTIPART, content=body_of([part10()]))
        assert (answer.status_code, client.get("/studies").status_code) == (503, 200)


def test_nothing_is_opened_before_the_first_instance(tmp_path: Path) -> None:
    """A streamer that stores nothing is no writer of the spool."""
    with serving(settings_of(tmp_path), stores=True) as client:
        assert client.get("/studies").status_code == 200
    assert not (tmp_path / "spool").exists()


LOOPBACK = {"host": "127.0.0.1"}
TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("peers", "streamer", "why"),
    [
        ([], {}, ""),
        ([{**LOOPBACK, "ae_title": "STOW-RS"}], {}, ""),
        ([{**LOOPBACK, "ae_title": "STOW-RS", "rights": ["query"]}, LOOPBACK], {}, "no right to store"),
        ([{"host": "10.0.0.0/8"}], {}, "no [[peers]] entry"),
        ([{**LOOPBACK, "ae_title": "CT*"}], {}, "no [[peers]] entry"),
        ([{**LOOPBACK, "ae_title": "CT*"}], {"stow": {"ae_title": "CT-WEB"}}, ""),
        ([], {"stow": {"enabled": False}}, "streamer.stow.enabled"),
        ([], {"host": "0.0.0.0"}, "[streamer.access]"),
        ([], {"host": "0.0.0.0", "access": {"token": TOKEN}}, ""),
        ([{"host": "10.0.0.0/8"}], {"access": {"token": TOKEN}}, "no [[peers]] entry"),
    ],
)
def test_who_may_store(tmp_path: Path, peers: list[object], streamer: dict[str, object], why: str) -> None:
    """As [[peers]] say of the AE title that stands for STOW-RS; elsewhere than on loopback only those who show who they are."""
    settings = settings_of(tmp_path, peers=peers, streamer=streamer)
    with closing(WebIntake(settings, wake=lambda: None)) as intake:
        title = settings.streamer.stow.ae_title
        found = Stow(settings, intake).closed or intake.refusal(
            title, "127.0.0.1", is_identified=settings.streamer.access is not None
        )
        elsewhere = intake.refusal(title, "192.0.2.1", is_identified=False)

    assert why in found
    assert bool(why) == bool(found)
    assert elsewhere, "a stranger from elsewhere may never store"


def test_who_may_not_is_told_so(tmp_path: Path) -> None:
    """401 without a token, 403 without the right; neither reads what is sent."""
    settings = settings_of(
        tmp_path, peers=[{**LOOPBACK, "rights": ["query"]}], streamer={"access": {"token": TOKEN}}
    )
    with serving(settings, stores=True) as client:
        for fields, status in (({}, 401), ({"authorization": f"Bearer {TOKEN}"}, 403)):
            answer = client.post(
                "/studies", headers=MULTIPART | fields, content=body_of([part10() + bytes(10**6)])
            )
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
    assert not (tmp_path / "spool").exists()


def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    """The command itself, killed with one instance answered and another half there: the first is whole, the other swept."""
    port = free_ports(1)[0]
    variables = environment({"DICOMRELAY_GATEWAY__MIN_FREE_BYTES": "0"})
    command = [sys.executable, "-m", "dicomrelay", "streamer", "--home", str(tmp_path), "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        until(lambda: listens(port), seconds=30, what="the streamer listens")
        with socket.create_connection(("127.0.0.1", port)) as half:
            begin = body_of([], end=b"") + b"\r\n\r\n" + part10("1.7.2") + bytes(700_000)
            half.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n" + begin)
            url = f"http://127.0.0.1:{port}/studies"
            answer = httpx.post(url, headers=MULTIPART, content=body_of([part10("1.7.1")]), timeout=30)
            until(lambda: bool(begun(tmp_path)), seconds=10, what="the other one is begun")
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
    finally:
        process.kill()
        process.wait(10)

    assert answer.status_code == 200, (tmp_path / "log").read_text()
    with Spool(tmp_path / "spool") as spool:
        recovery = spool.recover()
    assert (recovery.swept, recovery.waiting) == (1, 1)
    assert set(spooled(tmp_path)) == {"1.7.1"}
    assert not begun(tmp_path)
