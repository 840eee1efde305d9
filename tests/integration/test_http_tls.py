"""TLS of our own at the three services that speak HTTP: what they serve, and what a connection costs before it shook hands."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect as connect_websocket

from archive import Archive
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.tls import http_door
from dicomrelay.runtime.health import Health
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import HttpTlsSettings, Settings
from dicomrelay.web import endpoint
from streamer.bounds import Bounds
from tests.support.archive import pydicom_file, request_for
from tests.support.certificates import Authority, Pair
from tests.support.monitor import running_monitor
from tests.support.streamer import free_port, serving

BOUNDS = Bounds(head_s=3, connections=6)


class Place:
    """A home with one instance, an authority, and a certificate that can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.pair: Pair = self.authority.issue("http")
        self.tls = HttpTlsSettings(certificate=self.pair.certificate, key=self.pair.key)
        self.trusts = ssl.create_default_context(cafile=str(self.authority.path))
        self.file = pydicom_file("CT_small.dcm")
        self.request = request_for(self.file)
        self.settings = Settings(
            home=folder,
            streamer={"port": free_port(), "tls": self.tls},
            monitor={"tls": self.tls},
            metrics={"port": free_ports(1)[0], "tls": self.tls},
        )
        with closing(Archive.open(folder / "archive")) as archive:
            archive.store([self.request])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def client(place: Place) -> Iterator[httpx.Client]:
    with serving(place.settings, bounds=BOUNDS, verify=place.trusts) as client:
        yield client


def plain(client: httpx.Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=10)


def closes_within(sock: socket.socket, seconds: float) -> bool:
    sock.settimeout(seconds)
    with suppress(ConnectionError):
        try:
            while sock.recv(4096):
                pass
        except TimeoutError:
            return False
    return True


def test_frames_and_files_come_under_tls(client: httpx.Client, place: Place) -> None:
    """The same bytes as without; addresses in answers are https."""
    request = place.request
    where = f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}/instances/{request.sop_instance_uid}"
    frame = client.get(f"{where}/frames/1", headers={"accept": "application/octet-stream"})
    assert (frame.status_code, len(frame.content)) == (200, 128 * 128 * 2)
    whole = client.get(where, headers={"accept": "application/dicom"})
    assert whole.content[128:132] == b"DICM"
    found = client.get("/studies").json()
    assert found[0]["00081190"]["Value"][0].startswith("https://127.0.0.1:")


def test_a_websocket_comes_under_tls(client: httpx.Client, place: Place) -> None:
    """The upgrade is behind the handshake."""
    url = f"wss://127.0.0.1:{client.base_url.port}/streams"
    with connect_websocket(url, ssl=place.trusts, open_timeout=10) as opened:
        opened.send("{}")
        assert opened.recv(timeout=10)


def test_who_speaks_no_tls_gets_no_answer(client: httpx.Client) -> None:
    """Nor a page, nor words."""
    with plain(client) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not b"".join(iter(lambda: sock.recv(4096), b"")).startswith(b"HTTP")


def test_connections_that_never_shake_hands_are_few_and_short(client: httpx.Client) -> None:
    """They have places and a time as those have that do; afterwards all is as before."""
    with ExitStack() as stack:
        silent = [stack.enter_context(plain(client)) for _ in range(BOUNDS.connections + 3)]
        for sock in silent[::2]:
            sock.sendall(b"\x16\x03\x01")
        began = time.monotonic()
        assert all(closes_within(sock, 0.8) for sock in silent[-3:])
        assert all(closes_within(sock, 20) for sock in silent)
        assert time.monotonic() - began < 20
    assert client.get("/health", headers={"connection": "close"}).status_code == 200


def test_a_renewed_certificate_is_taken_by_the_next_connection(client: httpx.Client, place: Place) -> None:
    """And one that does not fit its key is not: the one before stays."""

    def serial() -> str:
        with plain(client) as sock, place.trusts.wrap_socket(sock, server_hostname="127.0.0.1") as secured:
            return str((secured.getpeercert() or {})["serialNumber"])

    before = serial()
    place.authority.issue("http")
    assert (renewed := serial()) != before
    certificate = place.pair.certificate.read_bytes()
    place.pair.certificate.write_bytes(place.authority.issue("other").certificate.read_bytes())
    assert serial() == renewed
    place.pair.certificate.write_bytes(certificate)


def test_flower_comes_under_tls_and_its_cookie_with_it(place: Place) -> None:
    """A cookie that TLS has set goes nowhere else."""
    with (
        running_monitor(place.settings) as address,
        httpx.Client(verify=place.trusts, trust_env=False) as client,
    ):
        assert address.startswith("https://")
        assert client.get(f"{address}/healthcheck").text == "OK"
        assert "; Secure" in client.get(f"{address}/nowhere").headers["set-cookie"]
        with pytest.raises(httpx.HTTPError):
            client.get(address.replace("https", "http") + "/healthcheck")


def test_figures_come_under_tls_and_nobody_holds_a_place_for_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte at a time is over with the time of the whole; meanwhile and afterwards others are answered."""
    monkeypatch.setattr(endpoint, "_LONGEST_S", 2.5)
    base = f"https://127.0.0.1:{place.settings.metrics.port}"
    with (
        endpoint.serving(place.settings, Health({})),
        httpx.Client(verify=place.trusts, trust_env=False, headers={"connection": "close"}) as client,
        ExitStack() as stack,
    ):
        assert client.get(f"{base}/healthz").text == "ok\n"
        slow = []
        for number in range(8):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", place.settings.metrics.port)))
            if number % 2:
                sock = stack.enter_context(place.trusts.wrap_socket(sock, server_hostname="127.0.0.1"))
                sock.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
            slow.append(sock)
        assert all(closes_within(sock, 20) for sock in slow)
        assert client.get(f"{base}/healthz").text == "ok\n"


def test_a_key_of_another_certificate_is_told_at_the_start(tmp_path: Path, place: Place) -> None:
    """With the setting's name, and without waiting for a client."""
    other = Authority(tmp_path).issue("other")
    with pytest.raises(ConfigurationError, match=r"streamer\.tls\.certificate"):
        http_door(HttpTlsSettings(certificate=place.pair.certificate, key=other.key), "streamer.tls")


def test_no_settings_of_the_environment_let_a_field_say_who_asks(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X-Forwarded-For counts from `streamer.proxies` alone: whoever is on this machine could else guess without end."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    closed = {"user": "zoe", "password": "right-and-long", "max_failures": 2}
    for proxies, expected in (([], 429), (["127.0.0.1"], 401)):
        settings = Settings(
            home=place.settings.home,
            streamer={"port": free_port(), "access": closed, "proxies": proxies},
        )
        with serving(settings) as client:
            statuses = [
                client.get(
                    "/studies",
                    auth=("zoe", f"wrong {number}"),
                    headers={"X-Forwarded-For": f"10.0.0.{number}"},
                ).status_code
                for number in range(4)
            ]
        assert statuses[-1] == expected, (proxies, statuses)
    assert os.environ["FORWARDED_ALLOW_IPS"] == "*"
