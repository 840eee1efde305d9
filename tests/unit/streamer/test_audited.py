"""Which requests become which entries, without a network."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dicomrelay.audit import Audit, Entry, Kind, Outcome, Thing, trail_of
from dicomrelay.settings import Settings
from dicomrelay.spool import Provenance
from streamer.answers import Message, Receive, Scope, Send, send_whole
from streamer.audited import CALLER, Witness, looked_of
from streamer.stow.outcomes import Failed, Stored

STUDY = "1.2.840.113619.2.1"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def seen(home: Path, *requests: tuple[str, str], status: int = 200, caller: str = "user anna") -> list[Entry]:
    """What the requests left in the trail."""
    settings = Settings(home=home)
    witness = Witness(Audit(settings))

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" or scope["path"] == "/streams":
            looked_of(scope)(STUDY)
        await send_whole(send, status, b"text/plain", b"")

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        return None

    async def ask() -> None:
        for method, target in requests:
            path, _, query = target.partition("?")
            scope = {
                "type": "http" if method else "websocket",
                "method": method,
                "path": path,
                "query_string": query.encode(),
                "client": ("10.0.0.1", 7),
                CALLER: caller,
            }
            await witness.around(answer)(scope, receive, send)

    asyncio.run(ask())
    return [*trail_of(settings).entries()]


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", f"/studies/{STUDY}", Kind.ACCESSED),
        ("GET", f"/studies/{STUDY}/metadata", Kind.ACCESSED),
        ("GET", f"/studies/{STUDY}/series/1.3/instances/1.4/frames/1", Kind.ACCESSED),
        ("HEAD", f"/studies/{STUDY}/series/1.3/instances/1.4/rendered", Kind.ACCESSED),
        ("GET", f"/wado?requestType=WADO&studyUID={STUDY}&seriesUID=1&objectUID=2", Kind.ACCESSED),
        ("", "/streams", Kind.ACCESSED),
        ("POST", "/streams", Kind.ACCESSED),
        ("GET", "/studies?PatientName=X", Kind.QUERY),
        ("GET", "/series", Kind.QUERY),
        ("GET", "/instances", Kind.QUERY),
        ("GET", "/plain", Kind.QUERY),
        ("GET", f"/studies/{STUDY}/series", Kind.QUERY),
        ("GET", f"/studies/{STUDY}/series/1.3/instances", Kind.QUERY),
        ("GET", "/worklist", Kind.QUERY),
        ("GET", "/health", None),
        ("GET", "/viewer/app.js", None),
        ("GET", "/studies/../../etc/passwd", None),
        ("GET", "/wado?studyUID=CANARY", None),
    ],
)
def test_what_a_request_is(tmp_path: Path, method: str, target: str, kind: Kind | None) -> None:
    """Read off method and path."""
    found = seen(tmp_path, (method, target))
    assert [(each.kind, each.actor.id, each.actor.address) for each in found] == (
        [(kind, "anna", "10.0.0.1")] if kind else []
    )
    if kind is Kind.ACCESSED:
        assert found[0].things == (Thing("study", STUDY),)


def test_a_study_is_one_entry_however_many_frames(tmp_path: Path) -> None:
    """Within the window; another user is another entry."""
    frames = [
        ("GET", f"/studies/{STUDY}/series/1.3/instances/1.4/frames/{number}") for number in range(1, 50)
    ]
    assert len(seen(tmp_path, *frames)) == 1
    assert len(seen(tmp_path, *frames, caller="")) == 2
    assert [*trail_of(Settings(home=tmp_path)).entries()][-1].actor.id == "anonymous"


@pytest.mark.parametrize("status", [401, 404, 500])
def test_what_was_not_given_is_not_told(tmp_path: Path, status: int) -> None:
    """Nobody saw it."""
    assert not seen(tmp_path, ("GET", f"/studies/{STUDY}"), ("GET", "/studies"), status=status)


def test_a_change_that_cannot_be_recorded_is_not_made(tmp_path: Path) -> None:
    """503; what is read goes on."""
    (tmp_path / "audit").write_text("a file")
    witness, answered, statuses = Witness(Audit(Settings(home=tmp_path))), [], []

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        answered.append(scope["method"])
        await send_whole(send, 200, b"text/plain", b"")

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for method in ("DELETE", "GET"):
        scope = {
            "type": "http",
            "method": method,
            "path": "/worklist/0f",
            "query_string": b"",
            "client": None,
        }
        asyncio.run(witness.around(answer)(scope, receive, send))
    assert (answered, statuses) == (["GET"], [503, 200])


def test_what_was_stored_is_told_by_study(tmp_path: Path) -> None:
    """With its classes, and whether something was refused."""
    settings = Settings(home=tmp_path)
    origin = Provenance("STOW-RS", "RELAY", "10.0.0.1", "stow-1", 0, protocol="STOW-RS", user="user ci")
    stored = [Stored(CT, f"1.{number}", STUDY, "1.3") for number in range(3)] + [
        Stored(MR, "1.9", "1.2.9", "1.3")
    ]
    Witness(Audit(settings)).stored(origin, [*stored, Failed(0xC000, "no")])
    first, second = trail_of(settings).entries()
    assert first.things == (Thing("study", STUDY, {CT: 3}),)
    assert second.things == (Thing("study", "1.2.9", {MR: 1}),)
    assert (first.kind, first.actor.id, first.outcome) == (Kind.TRANSFERRED, "ci", Outcome.MINOR)
