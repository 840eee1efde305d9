"""Strings that climb, trim, inject or overflow, in every field that comes from the wire: no name on disk is theirs."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

from chaos.gateway_process import GatewayProcess
from chaos.instances import CT_IMAGE_STORAGE
from dicomrelay.dimse.command_set import NO_DATA_SET
from dicomrelay.ul.pdu import Abort, AssociateAccept, ReleaseRequest
from dicomrelay.ul.writer import encode
from tests.support.attacks import arrivals, conversation, converse, new_uid, statuses
from tests.support.data_sets import ENCODERS, EXPLICIT
from tests.support.evil_strings import EVIL
from tests.support.wire import REQUEST, data_pdu

SETTINGS = {"accept_unknown_sop_classes": True}
# The names that the spool gives: a time-ordered id of its own.
OURS = re.compile(r"[0-9a-z-]+\.dcm")
RAW = [text.encode("utf-8", "surrogatepass") for text in EVIL]


def _tree(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def _command(sop_class: bytes, uid: bytes) -> bytes:
    """A C-STORE-RQ with any bytes in its UIDs."""

    def element(number: int, value: bytes) -> bytes:
        padded = value + b"\0" * (len(value) & 1)
        return struct.pack("<HHI", 0, number, len(padded)) + padded

    body = b"".join(
        (
            element(0x0002, sop_class),
            element(0x0100, b"\1\0"),
            element(0x0110, b"\1\0"),
            element(0x0700, b"\0\0"),
            element(0x0800, struct.pack("<H", NO_DATA_SET - 1)),
            element(0x1000, uid),
        )
    )
    raw = element(0x0000, struct.pack("<I", len(body))) + body
    return struct.pack(">BxIIBB", 4, len(raw) + 6, len(raw) + 2, 1, 3) + raw


def _data_set(**values: bytes) -> bytes:
    element = ENCODERS[EXPLICIT].element
    uids = {
        "sop_class": CT_IMAGE_STORAGE.encode(),
        "sop_instance": b"1.2.3",
        "study": b"1.2.4",
        "series": b"1.2.5",
        **values,
    }
    return b"".join(
        (
            element(0x00080016, b"UI", uids["sop_class"]),
            element(0x00080018, b"UI", uids["sop_instance"]),
            element(0x00080060, b"CS", b"CT"),
            element(0x00100020, b"LO", uids.get("patient", b"P")),
            element(0x0020000D, b"UI", uids["study"]),
            element(0x0020000E, b"UI", uids["series"]),
        )
    )


def _pieces(field: str, text: bytes) -> list[bytes]:
    """A conversation with `text` in a field."""
    begin, end = encode(REQUEST), encode(ReleaseRequest())
    title = text[:16].ljust(16)
    if field == "called AE title":
        return [begin[:10] + title + begin[26:], *conversation()[1:]]
    if field == "calling AE title":
        return [begin[:26] + title + begin[42:], *conversation()[1:]]
    uid = new_uid().encode()
    sop_class, sop_instance, values = CT_IMAGE_STORAGE.encode(), uid, {"sop_instance": uid}
    if field == "SOP Instance UID":
        sop_instance = values["sop_instance"] = text
    elif field == "SOP Class UID":
        sop_class = values["sop_class"] = text
    elif field == "SOP Instance UID of the command":
        sop_instance = text
    else:
        values[
            {"Study Instance UID": "study", "Series Instance UID": "series", "Patient ID": "patient"}[field]
        ] = text
    return [begin, _command(sop_class, sop_instance), data_pdu(_data_set(**values), is_last=True), end]


@pytest.mark.parametrize(
    "field",
    [
        "called AE title",
        "calling AE title",
        "SOP Class UID",
        "SOP Instance UID",
        "SOP Instance UID of the command",
        "Study Instance UID",
        "Series Instance UID",
        "Patient ID",
    ],
)
def test_an_evil_string_never_becomes_a_path(gateway: GatewayProcess, field: str) -> None:
    """Stored under a name of ours, or refused; nothing outside the spool, and each is answered."""
    outside = gateway.home.parent
    others = {path for path in _tree(outside) if path.parent != gateway.home / "spool" / "new"}
    for text in RAW:
        held = len(arrivals(gateway.home))
        found = converse(gateway, _pieces(field, text))

        said = statuses(found)
        if not said:  # no association, or a command set that is none
            assert found, f"no answer to {text!r}"
            assert isinstance(found[-1], Abort) or not isinstance(found[0], AssociateAccept), text
        assert len(arrivals(gateway.home)) - held == said.count(0), text
    assert all(OURS.fullmatch(path.name) for path in arrivals(gateway.home))
    now = {path for path in _tree(outside) if path.parent != gateway.home / "spool" / "new"}
    assert {path for path in now - others if path.name != "gateway.log"} == set()


def test_the_log_stays_one_json_object_a_line(gateway: GatewayProcess) -> None:
    """No string of a peer begins a line of its own."""
    for text in RAW:
        converse(gateway, _pieces("calling AE title", text))
    for line in gateway.log.splitlines():
        if not line.startswith("scp_gateway: "):
            assert json.loads(line)["event"], line


def test_no_attribute_of_a_patient_is_in_the_log(gateway: GatewayProcess) -> None:
    """Of what is stored, and of what is refused."""
    element = ENCODERS[EXPLICIT].element
    patient = b"".join(
        (
            element(0x00100010, b"PN", b"CANARY^NAME"),
            element(0x00100020, b"LO", b"CANARY-ID"),
            element(0x00100030, b"DA", b"19690720"),
        )
    )
    uid = new_uid().encode()
    whole = _data_set(sop_instance=uid) + patient
    first, *_ = conversation()
    for data in (
        whole,
        whole[:-7],
        patient,
        b"CANARY" * 10,
        _data_set(sop_instance=b"CANARY^NAME") + patient,
    ):
        converse(gateway, [first, _command(CT_IMAGE_STORAGE.encode(), uid), data_pdu(data, is_last=True)])
    assert "CANARY" not in gateway.log
    assert "19690720" not in gateway.log
