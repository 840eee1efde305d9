"""Store requests without a network: forms, answers, clients that stop in the middle."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.dicom.status import Status
from dicomrelay.spool import Provenance, Spool, SpoolRecord
from dicomrelay.spool.records import decode_head, encode_head, encode_record, head_bytes
from scp_gateway.web_intake import WebIntake
from streamer.answers import HttpError, Message
from streamer.audited import CALLER
from streamer.door import FOREIGN
from streamer.stow.content_type import Form, form_of
from streamer.stow.outcomes import Failed, Stored, as_json, http_status
from streamer.stow.reading import BATCH_BYTES, Pace, Places
from streamer.stow.road import Stow
from streamer.stow.session import Body
from tests.support.data_sets import ENCODERS, EXPLICIT
from tests.support.stow import BOUNDARY, MULTIPART, begun, body_of, names, part10, settings_of, spooled

STORED = Stored("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2", "1.2.1")
DICOM, JSON = "application/dicom", "application/dicom+json"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (DICOM, Form(DICOM)),
        (f"{JSON}; charset=utf-8", Form(JSON)),
        ('multipart/related; type="application/dicom"; boundary=x', Form(DICOM, b"x")),
        ('Multipart/Related;boundary="a b:\'c" ; type=application/dicom ; start=1', Form(DICOM, b"a b:'c")),
        ('multipart/related; boundary="a\\"b"', Form(DICOM, b'a"b')),
        (f'multipart/related; type="{JSON}"; boundary=--x', Form(JSON, b"--x")),
    ],
)
def test_forms_are_read_as_clients_write_them(text: str, form: Form) -> None:
    """Quoted or not, in any order."""
    assert form_of([text]) == form


@pytest.mark.parametrize(
    ("texts", "status"),
    [
        ([], 400),
        ([DICOM, DICOM], 400),
        (["multipart/related; boundary="], 400),
        (['multipart/related; boundary="x '], 400),
        (["x" * 5000], 400),
        (["application/octet-stream"], 415),
        (['multipart/related; type="text/html"; boundary=x'], 415),
    ],
)
def test_other_forms_are_refused(texts: list[str], status: int) -> None:
    """415 names what is taken."""
    with pytest.raises(HttpError) as found:
        form_of(texts)
    assert found.value.status == status


@pytest.mark.parametrize(
    "text", [f'a/b{"; " * 22}"', f"a/b{' ;' * 22} x", f'{" " * 500}a/b;{" " * 500}"', "a/b" + ';a="' * 200]
)
def test_a_form_is_read_in_no_time(text: str) -> None:
    """Whatever stands between parameters: the event loop waits for it."""
    began = time.process_time()
    with pytest.raises(HttpError):
        form_of([text])
    assert time.process_time() - began < 0.3


def test_a_parameter_may_be_empty() -> None:
    """RFC 9110 Section 5.6.6 lets senders write nothing between two semicolons."""
    assert form_of([f"{DICOM};"]) == form_of([f"{DICOM} ; ;"]) == Form(DICOM)


@pytest.mark.parametrize(
    ("statuses", "stored", "expected"),
    [
        ([], 1, 200),
        ([], 0, 400),
        ([0xA700], 1, 202),
        ([0xA700, 0xA700], 0, 503),
        ([0xA700, 0xC000], 0, 409),
        ([0xC000, 0xC000], 0, 400),
        ([0x0122], 0, 409),
        ([0xC409, 0xC000], 0, 409),
    ],
)
def test_the_status_of_the_whole(statuses: list[int], stored: int, expected: int) -> None:
    """PS3.18 Table 10.5.3-1."""
    outcomes = [*([STORED] * stored), *(Failed(each, "", sop_instance_uid="1.2.4") for each in statuses)]
    assert http_status(outcomes) == expected


def test_the_answer_names_what_can_be_named() -> None:
    """Addresses where there is an archive; no string of a request that is no UID."""
    outcomes = [STORED, Failed(0xA900, "w" * 90, "x", "1.2.4"), Failed(0x0117, "", "1.2", "<b>")]
    found = as_json(outcomes, base="http://h", study_instance_uid="")

    assert found["00081190"]["Value"] == ["http://h/studies/1.2"]
    [item] = found["00081199"]["Value"]
    assert item["00081190"]["Value"] == ["http://h/studies/1.2/series/1.2.1/instances/1.2.3"]
    [failed] = found["00081198"]["Value"]
    assert (failed["00081155"]["Value"], len(failed["00000902"]["Value"][0])) == (["1.2.4"], 64)
    assert "00081150" not in failed
    assert found["0008119A"]["Value"][0]["00081197"]["Value"] == [0x0117]
    assert "<b>" not in json.dumps(found)
    assert "00081190" not in json.dumps(as_json([STORED], base="", study_instance_uid="1.2"))


def test_more_parts_than_may_be_end_the_request() -> None:
    """What came before them stays."""
    body = Body(Form(DICOM, BOUNDARY.encode()), lambda *_: pytest.fail("nothing begins"), most_parts=3)  # type: ignore[arg-type]
    body.take([body_of([b""] * 5)])
    body.finish()

    assert len(body.outcomes) == 4
    assert body.outcomes[-1] == Failed(
        Status.CANNOT_UNDERSTAND, "more than 3 parts: send several requests", is_request=True
    )


class Asked:
    """One request without a server; `messages` come, and then nothing more, or one of them again and again."""

    def __init__(self, stow: Stow, *messages: Message, every_s: float = 0, **more: object) -> None:
        self._messages = [*messages]
        self._every_s = every_s
        self.sent: list[Message] = []
        fields = [(b"content-type", MULTIPART["content-type"].encode()), (b"host", b"localhost")]
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/studies", "scheme": "http"}
        scope |= {
            "headers": fields,
            "query_string": b"",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        } | more
        asyncio.run(stow(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._every_s:
            await asyncio.sleep(self._every_s)
            return self._messages[0]
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def coming(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": True}


@pytest.mark.parametrize(("files", "status"), [(["1.2.1", "1.2.2"], 202), (["1.2.2"], 408)])
def test_a_body_that_does_not_go_on_is_ended(tmp_path: Path, files: list[str], status: int) -> None:
    """What is whole is stored and named; the part in hand leaves nothing."""
    settings = settings_of(tmp_path)
    body = body_of([part10(uid) for uid in files])[: -len(BOUNDARY) - 10]
    with (
        closing(WebIntake(settings, wake=lambda: None)) as intake,
        closing(Stow(settings, intake, pace=Pace(batch_s=0.2))) as stow,
    ):
        start, content = Asked(stow, coming(body)).sent
        left = begun(tmp_path)

    assert start["status"] == status
    assert (b"connection", b"close") in start["headers"]
    assert not left
    assert list(spooled(tmp_path)) == files[:-1]
    if status == 202:
        assert names(json.loads(content["body"])) == files[:-1]


def test_a_body_that_trickles_for_long_is_ended(tmp_path: Path) -> None:
    """Each batch in time, and too little of them: 408. The place is for others."""
    settings = settings_of(tmp_path)
    pace = Pace(least_bytes=100 * BATCH_BYTES, within_s=0.2)
    with (
        closing(WebIntake(settings, wake=lambda: None)) as intake,
        closing(Stow(settings, intake, pace=pace)) as stow,
    ):
        start, _ = Asked(stow, coming(bytes(BATCH_BYTES)), every_s=0.05).sent

    assert start["status"] == 408


def test_one_holder_leaves_places_to_others() -> None:
    """Six of eight; where there are few, all of them may be one's."""
    places, few = Places(8), Places(2)
    with ExitStack() as held:
        for _ in range(6):
            assert not places.full("user zoe")
            held.enter_context(places.one("user zoe"))
        assert "6 of your requests" in places.full("user zoe")
        for _ in range(2):
            assert not places.full("10.0.0.1")
            held.enter_context(places.one("10.0.0.1"))
            assert not few.full("10.0.0.1")
            held.enter_context(few.one("10.0.0.1"))
        assert "8 requests" in places.full("10.0.0.2")
        assert "2 requests" in few.full("10.0.0.2")
    assert not places.full("user zoe")


def test_a_page_of_another_site_stores_only_as_somebody(tmp_path: Path) -> None:
    """On loopback everybody may, and cors_origins let pages read: together they would let any page store."""
    settings = settings_of(tmp_path)
    body = {"type": "http.request", "body": body_of([part10()]), "more_body": False}
    with (
        closing(WebIntake(settings, wake=lambda: None)) as intake,
        closing(Stow(settings, intake)) as stow,
    ):
        refused, _ = Asked(stow, body, **{FOREIGN: True}).sent
        assert not (tmp_path / "spool").exists()
        known, _ = Asked(stow, body, **{FOREIGN: True, CALLER: "token 1"}).sent
        own, _ = Asked(stow, body, **{FOREIGN: False}).sent

    assert [each["status"] for each in (refused, known, own)] == [403, 200, 200]


def test_a_spool_that_cannot_be_opened_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request tries anew: what one leaves open would be as many descriptors as there are requests."""

    def sick(_spool: Spool) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Spool, "recover", sick)
    origin = Provenance("A", "B", "127.0.0.1", "stow-1", 1)
    with closing(WebIntake(settings_of(tmp_path), wake=lambda: None)) as intake:
        with pytest.raises(OSError, match="Input/output"):
            intake.check(origin)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with pytest.raises(OSError, match="Input/output"):
                intake.check(origin)
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_client_that_goes_away_is_not_answered(tmp_path: Path) -> None:
    """What is whole stays, for it may be wanted; the part in hand leaves nothing."""
    settings = settings_of(tmp_path)
    ended: list[str] = []
    pixels = ENCODERS[EXPLICIT].element(0x7FE00010, b"OW", bytes(300_000))
    large = part10("1.2.1", data_set=ENCODERS[EXPLICIT].identity("1.2.1") + pixels)
    body = body_of([large, part10("1.2.2")])[:-80]
    with closing(WebIntake(settings, wake=lambda: None, ended=ended.extend)) as intake:
        stow = Stow(settings, intake)
        assert Asked(stow, coming(body), {"type": "http.disconnect"}).sent == []
        stow.close()
        left = begun(tmp_path)

    assert not left
    assert list(spooled(tmp_path)) == ["1.2.1"]
    assert ended


def test_records_say_how_it_came_only_where_that_is_special() -> None:
    """Those of C-STORE are as they were, so an older version reads them."""
    plain = Provenance("A", "B", "10.0.0.1", "a1", 1)
    web = Provenance("A", "B", "10.0.0.1", "a1", 1, protocol="STOW-RS", user='user "Ö' + "x" * 250)
    for origin in (plain, web):
        first = SpoolRecord("0" * 28, "1.2", "1.3", "", "", "1.2.840.10008.1.2", "", 0, 0, "", origin)
        offset = head_bytes(first)
        record = SpoolRecord(
            "0" * 28,
            "1.2",
            "1.3",
            "1" * 64,
            "2" * 64,
            "1.2.840.10008.1.2",
            "M" * 16,
            offset,
            10**12,
            "f" * 64,
            origin,
        )
        assert decode_head(encode_head(record), origin="test") == record
        assert (b"protocol" in encode_record(record)) == (origin is web)
