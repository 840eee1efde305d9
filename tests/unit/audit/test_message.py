"""Entries as audit messages (PS3.15 Section A.5) and as syslog carries them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from dicomrelay.audit import Entry, Kind, Outcome, Party, Thing, syslog
from dicomrelay.audit.message import Source, as_xml
from dicomrelay.audit.values import LONGEST_TEXT, as_json, from_json
from tests.support.audit_schema import faults
from tests.support.evil_strings import EVIL

SOURCE = Source("RELAY@host", "DICOMRELAY", "dicomrelay@host", "host", "north")
AT = datetime(2026, 11, 22, 3, 25, 0, 123456, tzinfo=UTC)
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = Thing("study", "1.2.3", {CT: 600})
PEER = Party("CT_1", "10.0.0.7")
ENTRIES = {
    "start": Entry(Kind.START, "gateway", Party("root"), at=AT),
    "stop": Entry(Kind.STOP, "gateway", Party("root"), at=AT),
    "begin": Entry(
        Kind.BEGIN,
        "transfer",
        Party("DICOMRELAY"),
        Party("PACS", "10.0.0.9"),
        by_us=True,
        things=(STUDY,),
        at=AT,
    ),
    "received": Entry(Kind.TRANSFERRED, "association", PEER, things=(STUDY,), at=AT),
    "sent": Entry(
        Kind.TRANSFERRED,
        "transfer",
        Party("DICOMRELAY"),
        Party("PACS", "pacs.example"),
        by_us=True,
        outcome=Outcome.MINOR,
        words="2 refused",
        things=(STUDY,),
        at=AT,
    ),
    "accessed": Entry(
        Kind.ACCESSED, "study", Party("anna", "10.0.0.3", role="viewer"), things=(STUDY,), at=AT
    ),
    "query": Entry(
        Kind.QUERY,
        "find",
        PEER,
        things=(Thing("sop_class", "1.2.840.10008.5.1.4.1.2.2.1"),),
        facts={"keys": "00100010 0020000D", "answers": 3},
        at=AT,
    ),
    "exported": Entry(
        Kind.EXPORTED,
        "archive.export",
        Party("root"),
        Party("zip"),
        things=(STUDY,),
        facts={"instances": 3},
        at=AT,
    ),
    "imported": Entry(
        Kind.IMPORTED, "archive.import", Party("root"), Party("folder"), things=(STUDY,), at=AT
    ),
    "deleted": Entry(Kind.DELETED, "archive.retention", Party("retention"), things=(STUDY,), at=AT),
    "login": Entry(Kind.LOGIN, "password", Party("eve", "::1"), outcome=Outcome.MINOR, words="wrong", at=AT),
    "association refused": Entry(
        Kind.REFUSED, "association", PEER, outcome=Outcome.SERIOUS, words="not known", at=AT
    ),
    "action refused": Entry(Kind.REFUSED, "store", Party("eve"), outcome=Outcome.SERIOUS, at=AT),
    "hold": Entry(
        Kind.ACTION,
        "jobs.hold",
        Party("anna", role="operator"),
        outcome=Outcome.BEGUN,
        things=(Thing("job", "j-1"), Thing("destination", "pacs")),
        facts={"destination": "pacs"},
        at=AT,
    ),
    "users": Entry(
        Kind.ACTION, "users.add", Party("root (anna)"), things=(Thing("user", "zo\u00eb"),), at=AT
    ),
    "audit used": Entry(
        Kind.AUDIT_USED, "audit.list", Party("root"), things=(Thing("audit", "file:///srv/audit"),), at=AT
    ),
    "rules": Entry(Kind.ACTION, "rules.activate", Party("root"), at=AT),
}


def parsed(entry: Entry) -> ET.Element:
    return ET.fromstring(as_xml(entry, SOURCE))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_kind_keeps_to_the_schema(name: str) -> None:
    """And to the code of its event."""
    message = parsed(ENTRIES[name])
    assert not [*faults(message)]
    (code,) = message.findall("EventIdentification/EventID")
    assert code.attrib["codeSystemName"] == "DCM"
    assert re.fullmatch(r"1101\d\d", code.attrib["csd-code"])


def test_all_kinds_are_among_them() -> None:
    """One that is added needs an entry here."""
    assert {entry.kind for entry in ENTRIES.values()} == set(Kind)


@pytest.mark.parametrize(
    ("name", "event", "types", "roles"),
    [
        ("start", "110100", ["110120"], ["110150", "110151"]),
        ("stop", "110100", ["110121"], ["110150", "110151"]),
        ("begin", "110102", [], ["110153", "110152"]),
        ("received", "110104", [], ["110153", "110152"]),
        ("sent", "110104", [], ["110153", "110152"]),
        ("accessed", "110103", [], []),
        ("query", "110112", [], ["110153", "110152"]),
        ("exported", "110106", [], ["110153", "110154"]),
        ("imported", "110107", [], ["110152", "110155"]),
        ("deleted", "110105", [], []),
        ("login", "110114", ["110122"], []),
        ("association refused", "110113", ["110126"], []),
        ("action refused", "110113", ["110132"], []),
        ("hold", "110113", ["110132"], []),
        ("users", "110113", ["110137"], []),
        ("rules", "110113", ["110131"], []),
        ("audit used", "110101", [], []),
    ],
)
def test_events_types_and_roles_are_the_standard_s(
    name: str, event: str, types: list[str], roles: list[str]
) -> None:
    """PS3.15 Section A.5.3."""
    message = parsed(ENTRIES[name])
    found = [each.attrib["csd-code"] for each in message.findall("EventIdentification/EventID")]
    assert found == [event]
    assert [each.attrib["csd-code"] for each in message.findall("EventIdentification/EventTypeCode")] == types
    assert [each.attrib["csd-code"] for each in message.findall("ActiveParticipant/RoleIDCode")] == roles


def test_media_are_told_by_their_kind() -> None:
    """A folder may be named after a patient (PS3.15 Sections A.5.3.4 and A.5.3.5: Destination Media, Source Media)."""
    for name, kind, action in (("exported", "zip", "R"), ("imported", "folder", "C"), ("deleted", "", "D")):
        message = parsed(ENTRIES[name])
        media = message.findall("ActiveParticipant[MediaIdentifier]")
        assert [each.attrib["UserID"] for each in media] == ([kind] if kind else [])
        codes = [each.attrib["csd-code"] for each in message.iter("MediaType")]
        assert codes == (["110037"] if kind else [])
        (event,) = message.findall("EventIdentification")
        assert event.attrib["EventActionCode"] == action


def test_who_sends_and_who_receives() -> None:
    """The peer sends what we receive; we send to a destination."""
    received = [each.attrib for each in parsed(ENTRIES["received"]).findall("ActiveParticipant")]
    assert [each["UserID"] for each in received] == ["CT_1", "dicomrelay@host"]
    assert (received[0]["NetworkAccessPointID"], received[0]["NetworkAccessPointTypeCode"]) == (
        "10.0.0.7",
        "2",
    )
    assert received[1]["AlternativeUserID"] == "AETITLES=DICOMRELAY"
    sent = [each.attrib for each in parsed(ENTRIES["sent"]).findall("ActiveParticipant")]
    assert [each["UserID"] for each in sent] == ["dicomrelay@host", "PACS"]
    assert sent[1]["NetworkAccessPointTypeCode"] == "1"


def test_who_asked_that_we_send_is_named_too() -> None:
    """A C-MOVE of one to another."""
    moved = Entry(
        Kind.TRANSFERRED, "move", Party("VIEWER", "10.0.0.5"), Party("PACS"), by_us=True, things=(STUDY,)
    )
    found = [each.attrib for each in parsed(moved).findall("ActiveParticipant")]
    assert [(each["UserID"], each["UserIsRequestor"]) for each in found] == [
        ("dicomrelay@host", "false"),
        ("PACS", "false"),
        ("VIEWER", "true"),
    ]


def test_a_study_is_named_with_its_classes_and_counts() -> None:
    """By UIDs alone."""
    (thing,) = parsed(ENTRIES["sent"]).findall("ParticipantObjectIdentification")
    assert thing.attrib["ParticipantObjectID"] == "1.2.3"
    (described,) = thing.findall("ParticipantObjectDescription/SOPClass")
    assert described.attrib == {"UID": CT, "NumberOfInstances": "600"}
    (code,) = thing.findall("ParticipantObjectIDTypeCode")
    assert code.attrib["csd-code"] == "110180"


@pytest.mark.parametrize("text", [*EVIL, "\x00\x08\ud800]]>&<", "x" * 10_000])
def test_whatever_comes_over_the_wire_makes_a_message(text: str) -> None:
    """A name that failed, a reason: cut, and without what XML cannot hold."""
    entry = Entry(
        Kind.LOGIN,
        "password",
        Party(text, text, text),
        outcome=Outcome.MINOR,
        words=text,
        things=(Thing("study", text),),
        facts={"said": text},
    )
    message = parsed(entry)
    assert not [*faults(message)]
    assert all(len(value) <= 4 * LONGEST_TEXT for each in message.iter() for value in each.attrib.values())


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_survives_its_line(name: str) -> None:
    """To the millisecond."""
    entry = ENTRIES[name]
    again = from_json(as_json(entry))
    assert as_json(again) == as_json(entry)
    assert (again.kind, again.actor, again.other, again.things) == (
        entry.kind,
        entry.actor,
        entry.other,
        entry.things,
    )


def test_what_is_no_entry_is_refused() -> None:
    """Whatever it is."""
    for wrong in (
        {},
        {"kind": "login"},
        {**as_json(ENTRIES["login"]), "outcome": "odd"},
        {**as_json(ENTRIES["login"]), "who": 3},
    ):
        with pytest.raises(ValueError, match=r".*"):
            from_json(wrong)


def test_the_head_and_the_frame_are_syslog_s() -> None:
    """RFC 5424 Section 6 and RFC 5425 Section 4.3; by outcome notice, warning, error."""
    message = syslog.message(ENTRIES["login"], b"<x/>", host="relay 1.example")
    assert (
        message
        == b"<84>1 2026-11-22T03:25:00.123Z relay1.example dicomrelay - DICOM+RFC3881 - \xef\xbb\xbf<x/>"
    )
    assert syslog.message(ENTRIES["start"], b"", host="").startswith(
        b"<85>1 2026-11-22T03:25:00.123Z - dicomrelay "
    )
    assert syslog.message(ENTRIES["action refused"], b"", host="h").startswith(b"<83>1 ")
    assert syslog.frame(b"abc") == b"3 abc"
