"""`/metrics`, `/healthz` and `/readyz`: who may ask what, and how much of it at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from dicomrelay import metrics
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.metrics import catalogue, exposition, recorder
from dicomrelay.runtime.health import Health, Started, room_for
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings
from dicomrelay.web import endpoint
from dicomrelay.web.endpoint import serving, token_of

TOKEN = "0123456789abcdef-0123"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Of a process that counts."""
    made = Settings(home=tmp_path, metrics={"port": free_ports(1)[0], "token": TOKEN})
    made.path("run").mkdir()
    metrics.begin(made.path("run", "metrics"), "gateway")
    yield made
    recorder.end()


def get(settings: Settings, path: str, **fields: str) -> httpx.Response:
    with httpx.Client(verify=False, trust_env=False, timeout=20) as client:
        return client.get(f"http://127.0.0.1:{settings.metrics.port}{path}", headers=fields)


def test_figures_are_for_those_with_the_token(settings: Settings) -> None:
    """Liveness and readiness are for everybody, and name nobody."""
    metrics.add(catalogue.RECEIVED, "CT_1", "dimse")
    with serving(settings, Health({})):
        shown = get(settings, "/metrics", Authorization=f"Bearer {TOKEN}")
        assert shown.status_code == 200
        assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'dicomrelay_received_instances_total{source="CT_1",protocol="dimse"} 1\n' in shown.text
        for field in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            refused = get(settings, "/metrics", Authorization=field)
            assert refused.status_code == 401
            assert "CT_1" not in refused.text
        assert get(settings, "/healthz").text == "ok\n"
        assert get(settings, "/readyz").status_code == 200
        assert get(settings, "/other").status_code == 404


def test_it_is_ready_when_everything_is(settings: Settings) -> None:
    """And says what is not, without an address; what was found holds for two seconds."""
    asked, now = [], [100.0]

    def broker() -> str:
        asked.append(1)
        if len(asked) == 1:
            raise ServiceUnavailable("redis://secret.example does not answer")
        return ""

    started = Started()
    health = Health({"gateway": started.check, "broker": broker}, clock=lambda: now[0])
    with serving(settings, health):
        first = get(settings, "/readyz")
        started()
        assert (get(settings, "/readyz").text, len(asked)) == (first.text, 1)
        now[0] += 2
        second = get(settings, "/readyz")

    assert (first.status_code, first.text) == (
        503,
        "gateway: starts\nbroker: does not answer (ServiceUnavailable)\n",
    )
    assert (second.status_code, second.text) == (200, "gateway: ok\nbroker: ok\n")


def test_who_holds_places_and_says_nothing_shuts_nobody_out(settings: Settings) -> None:
    """The oldest is cut for the next; that the process lives is said all the while, or somebody would restart it."""
    address = ("127.0.0.1", settings.metrics.port)
    with serving(settings, Health({})), ExitStack() as silent:
        first = silent.enter_context(socket.create_connection(address, timeout=20))
        for _ in range(80):
            silent.enter_context(socket.create_connection(address)).sendall(b"GET /healthz HTTP/1.1\r\nX:")
        assert {get(settings, "/healthz").status_code for _ in range(5)} == {200}
        assert first.recv(1) == b""


def test_what_costs_is_answered_to_a_few_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to ask again; health is not asked to wait for it."""
    busy, go_on = threading.Event(), threading.Event()

    def slow(_figures: object) -> str:
        busy.set()
        go_on.wait(20)
        return ""

    monkeypatch.setattr(endpoint, "_AT_ONCE", 1)
    monkeypatch.setattr(exposition, "render", slow)
    field = f"Bearer {TOKEN}"
    with serving(settings, Health({})), ThreadPoolExecutor(1) as other:
        first = other.submit(get, settings, "/metrics", Authorization=field)
        assert busy.wait(20)
        assert get(settings, "/metrics", Authorization=field).status_code == 503
        assert get(settings, "/healthz").status_code == 200
        go_on.set()
        assert first.result(20).status_code == 200


def test_a_gateway_under_its_low_water_mark_is_not_ready(tmp_path: Path) -> None:
    """It would answer A700; a balancer turns to another."""
    (tmp_path / "spool").mkdir()
    assert room_for(Settings(home=tmp_path, gateway={"min_free_bytes": 0}))() == ""
    assert "low-water" in room_for(Settings(home=tmp_path, gateway={"min_free_bytes": 2**62}))()


@pytest.mark.parametrize(
    "section", [{"host": "0.0.0.0"}, {"token": "short"}, {"token": TOKEN, "token_file": "/x"}, {"port": 8080}]
)
def test_settings_that_are_not_safe_are_refused(section: dict[str, object]) -> None:
    """Open on another address, a token that can be guessed, two of them, a port that is the streamer's."""
    with pytest.raises(ValidationError):
        Settings(metrics=section)


@pytest.mark.parametrize(
    ("content", "works"), [(f"{TOKEN}\nmore\n", True), ("", False), ("short\n", False), ("ä" * 20, False)]
)
def test_a_token_may_stand_in_a_file(tmp_path: Path, content: str, works: bool) -> None:
    """One that is none is named, and not quoted."""
    path = tmp_path / "token"
    path.write_text(content, "utf-8")
    settings = Settings(metrics={"token_file": path})
    if works:
        assert token_of(settings) == TOKEN
        return
    with pytest.raises(ConfigurationError, match=r"metrics\.token_file: .*token: ") as said:
        token_of(settings)
    assert not content or content.strip() not in str(said.value)


def test_without_a_port_nothing_listens(tmp_path: Path) -> None:
    """By default Flower's port answers alone."""
    with serving(Settings(home=tmp_path), Health({})) as port:
        assert port is None
