"""The pages of HTTP and of events say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from archive import Archive
from dicomrelay.audit.values import Kind
from dicomrelay.ledger.events import EventKind
from dicomrelay.ledger.values_alerts import AlertKind
from dicomrelay.settings import Settings
from monitor import metrics_pages
from streamer import app, frames, worklist
from streamer.stow import road as stow
from streamer.streams import http as streams
from tests.support import events_page, http_page, log_calls
from tests.support.http_page import EVERYWHERE, FLOWER, STREAMER
from tests.support.markdown import ROOT

# How a path of the page reads where the code has an expression.
_EXAMPLES = {
    "{study}": "1.2.3",
    "{series}": "1.2.3.4",
    "{instance}": "1.2.3.4.5",
    "{numbers}": "1,2",
    "{id}": "0123456789abcdef0123456789abcdef",
    "{name}": "a-name",
}


def example(path: str) -> str:
    for name, value in _EXAMPLES.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize("page", [http_page, events_page], ids=["http", "events"])
def test_the_page_is_what_its_program_gives(page: object) -> None:
    """`python -m tests.support.… --write` writes it anew."""
    assert page.render() == page.PAGE.read_text("utf-8")  # type: ignore[attr-defined]


def test_every_route_of_the_streamer_is_on_the_page_and_every_one_of_the_page_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starlette's routes word for word; those of the quick roads by their expressions."""
    made: list[Route] = []
    really = app.Starlette

    def noting(*, routes: list[Route], **others: object) -> object:
        made.extend(routes)
        return really(routes=routes, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(app, "Starlette", noting)
    archive = Archive.open(tmp_path)
    app.create_app(archive)
    archive.close()
    registered = {re.sub(r":path\}", "}", route.path) for route in made}
    quick = (frames.PATH, stow.PATH, worklist.PATH, streams.PATH)

    listed = {road.path for road in STREAMER if road.method == "GET"}
    elsewhere = {road for road in STREAMER if road.path not in registered or road.method != "GET"}

    assert registered
    assert {re.sub(r"\{\w+\}", "{}", path) for path in registered} <= {
        re.sub(r"\{\w+\}", "{}", path) for path in listed
    }
    unknown = [
        road
        for road in elsewhere
        if not any(pattern.fullmatch(example(road.path)) for pattern in quick)
        and re.sub(r"\{\w+\}", "{}", road.path) not in {re.sub(r"\{\w+\}", "{}", path) for path in registered}
    ]
    assert not unknown
    for pattern in quick:
        assert any(pattern.fullmatch(example(road.path)) for road in elsewhere), pattern.pattern


def test_every_page_of_flower_that_is_ours_is_on_the_page() -> None:
    """By the expressions that its composition root installs."""
    text = (ROOT / "monitor" / "serving.py").read_text("utf-8")
    installed = re.findall(r'URLSpec\(r"([^"]+)"', text)

    assert len(installed) >= 7
    for pattern in installed:
        assert any(re.fullmatch(pattern, example(road.path).replace("{file}", "x.css")) for road in FLOWER), (
            pattern
        )
    for road in FLOWER:
        assert any(re.fullmatch(each, example(road.path).replace("{file}", "x.css")) for each in installed), (
            road.path
        )


def test_metrics_and_health_are_the_three_of_the_page() -> None:
    """In Flower, and in the endpoint that each process has."""
    flower = Path(metrics_pages.__file__).read_text("utf-8")
    endpoint = (ROOT / "dicomrelay" / "web" / "endpoint.py").read_text("utf-8")

    for road in EVERYWHERE:
        assert f'r"{road.path}"' in flower
        assert f'"{road.path}"' in endpoint
    assert set(re.findall(r'\(r"(/\w+)", _', flower)) == {road.path for road in EVERYWHERE}


def test_the_addresses_of_the_page_are_the_defaults() -> None:
    """Host and port of the settings."""
    page = http_page.render()

    for section in ("streamer", "monitor"):
        default = Settings.model_fields[section].default
        assert f"{default.host}:{default.port}" in page


def test_every_kind_is_told() -> None:
    """A new kind needs its sentence."""
    assert set(events_page.EVENTS) == set(EventKind)
    assert set(events_page.AUDIT) == set(Kind)
    assert set(events_page.ALERTS) == set(AlertKind)
    assert len(events_page.log_lines()) > 50


def test_every_line_of_the_log_is_on_the_page() -> None:
    """Also those whose action is chosen when they are written, and those that have none."""
    assert log_calls.calls()[1] == ()
    assert {
        "spool.bound-reached", "spool.bound-left", "task.failed", "request.answered", "query.abandoned", "worklist.answered",
        "commitment.refused", "gateway.process-died", "audit.login", "mpps.forwarded", "worklist.removed",
    } <= set(events_page.log_lines())  # fmt: skip
    assert "destination is back" in events_page.other_lines()
    assert "archived" in events_page.other_lines()
    files = {path for path, _ in log_calls.ELSEWHERE}
    assert all((ROOT / path).is_file() for path in files)
