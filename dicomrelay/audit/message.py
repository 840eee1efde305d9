"""An entry as an audit message of DICOM (PS3.15 Section A.5): XML, without an attribute of a patient."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from dicomrelay.audit.values import Entry, Kind, Party, Thing, cut

_Code = tuple[str, str]
# PS3.16 Context Group 400 (events), 401 (types of them), 402 (roles), 404 (objects); all of DCM.
_EVENTS: Final[Mapping[Kind, _Code]] = {
    Kind.START: ("110100", "Application Activity"),
    Kind.STOP: ("110100", "Application Activity"),
    Kind.BEGIN: ("110102", "Begin Transferring DICOM Instances"),
    Kind.TRANSFERRED: ("110104", "DICOM Instances Transferred"),
    Kind.ACCESSED: ("110103", "DICOM Instances Accessed"),
    Kind.EXPORTED: ("110106", "Export"),
    Kind.IMPORTED: ("110107", "Import"),
    Kind.DELETED: ("110105", "DICOM Study Deleted"),
    Kind.QUERY: ("110112", "Query"),
    Kind.LOGIN: ("110114", "User Authentication"),
    Kind.REFUSED: ("110113", "Security Alert"),
    Kind.ACTION: ("110113", "Security Alert"),
    Kind.AUDIT_USED: ("110101", "Audit Log Used"),
}
_START: Final = "110120", "Application Start"
_STOP: Final = "110121", "Application Stop"
_LOGIN: Final = "110122", "Login"
_NODE: Final = "110126", "Node Authentication"
_SOFTWARE: Final = "110131", "Software Configuration"
_RESTRICTED: Final = "110132", "Use of Restricted Function"
_USERS: Final = "110137", "User Security Attributes Changed"
_APPLICATION: Final = "110150", "Application"
_LAUNCHER: Final = "110151", "Application Launcher"
_DESTINATION: Final = "110152", "Destination Role ID"
_SOURCE: Final = "110153", "Source Role ID"
_TO_MEDIA: Final = "110154", "Destination Media"
_FROM_MEDIA: Final = "110155", "Source Media"
_MEDIA_URI: Final = "110037", "URI"  # PS3.16 Context Group 405
_STUDY: Final = "110180", "Study Instance UID"
_SOP_CLASS: Final = "110181", "SOP Class UID"
_NODE_ID: Final = "110182", "Node ID"
_ACTIONS: Final[Mapping[Kind, str]] = {
    Kind.ACCESSED: "R",
    Kind.TRANSFERRED: "R",
    Kind.AUDIT_USED: "R",
    Kind.EXPORTED: "R",
    Kind.IMPORTED: "C",
    Kind.DELETED: "D",
}
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# ParticipantObjectTypeCode and -Role (PS3.15 Tables A.5.1.2.2).
_SYSTEM: Final = "2"
_REPORT, _RESOURCE, _MASTER, _SECURITY_USER, _SECURITY, _JOB = "3", "4", "5", "11", "13", "20"
_URI: Final = "12", "URI"


@dataclass(frozen=True, slots=True)
class Source:
    """Who reports: what every message of a home names.

    Attributes
    ----------
    site : str
        "" for none.
    ae_title : str
        Ours.
    process : str
        The system, as participant: its host, and a name.
    """

    id: str
    ae_title: str
    process: str
    address: str
    site: str = ""


def as_xml(entry: Entry, source: Source) -> bytes:
    """The message, in UTF-8."""
    message = Element("AuditMessage")
    _event(message, entry)
    for participant in _participants(entry, source):
        participant.put(message)
    identification = SubElement(message, "AuditSourceIdentification", AuditSourceID=source.id)
    if source.site:
        identification.set("AuditEnterpriseSiteID", source.site)
    # Table A.5.1.2.1: an application server process tier.
    SubElement(identification, "AuditSourceTypeCode", {"csd-code": "4"})
    for thing in entry.things:
        _object(message, thing, entry)
    whole: bytes = tostring(message, encoding="utf-8", xml_declaration=True)
    return whole


def _event(message: Element, entry: Entry) -> None:
    event = SubElement(
        message,
        "EventIdentification",
        EventActionCode=_action(entry),
        EventDateTime=entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        EventOutcomeIndicator=str(entry.outcome.indicator),
    )
    _code(event, "EventID", _EVENTS[entry.kind])
    for code in _types(entry):
        _code(event, "EventTypeCode", code)
    words = (
        entry.words if entry.kind is not Kind.ACTION else f"{entry.what}: {entry.outcome.word}. {entry.words}"
    )
    if words:
        SubElement(event, "EventOutcomeDescription").text = _plain(words)


def _action(entry: Entry) -> str:
    if entry.kind is Kind.TRANSFERRED and not entry.by_us:
        return "C"  # we are the receiver, and it is new here: what we have already counts as received again
    return _ACTIONS.get(entry.kind, "E")


def _types(entry: Entry) -> Iterable[_Code]:
    fixed = {Kind.START: _START, Kind.STOP: _STOP, Kind.LOGIN: _LOGIN}
    if entry.kind in fixed:
        yield fixed[entry.kind]
    elif entry.kind is Kind.REFUSED:
        yield _NODE if entry.what == "association" else _RESTRICTED
    elif entry.kind is Kind.ACTION:
        area = entry.what.partition(".")[0]
        yield {"users": _USERS, "rules": _SOFTWARE}.get(area, _RESTRICTED)


@dataclass(frozen=True, slots=True)
class _Participant:
    id: str
    role: _Code | None
    is_requestor: bool
    address: str = ""
    ae_titles: str = ""
    is_media: bool = False

    def put(self, message: Element) -> None:
        found = SubElement(
            message,
            "ActiveParticipant",
            UserID=_plain(self.id) or "unknown",
            UserIsRequestor=str(self.is_requestor).lower(),
        )
        if self.ae_titles:
            found.set("AlternativeUserID", f"AETITLES={_plain(self.ae_titles)}")
        if self.address:
            found.set("NetworkAccessPointID", _plain(self.address))
            is_number = ":" in self.address or self.address.replace(".", "").isdecimal()
            found.set("NetworkAccessPointTypeCode", "2" if is_number else "1")
        if self.role is not None:
            _code(found, "RoleIDCode", self.role)
        if self.is_media:
            _code(SubElement(found, "MediaIdentifier"), "MediaType", _MEDIA_URI)


def _participants(entry: Entry, source: Source) -> Iterable[_Participant]:
    """Who took part, in the order and roles of Section A.5.3."""
    ours = Party(source.process, source.address, source.ae_title)
    if entry.kind in (Kind.START, Kind.STOP):
        yield _of(
            Party(f"{source.process} {entry.what}", source.address, source.ae_title), _APPLICATION, asks=False
        )
        yield _of(entry.actor, _LAUNCHER, asks=True)
        return
    if entry.kind in (Kind.EXPORTED, Kind.IMPORTED):
        out = entry.kind is Kind.EXPORTED
        yield _of(entry.actor, _SOURCE if out else _DESTINATION, asks=True)
        # The kind of the media alone: a path may be named after a patient.
        kind = entry.other.id if entry.other is not None else "media"
        yield _Participant(kind, _TO_MEDIA if out else _FROM_MEDIA, is_requestor=False, is_media=True)
        return
    if entry.kind in (Kind.BEGIN, Kind.TRANSFERRED, Kind.QUERY):
        sender = ours if entry.by_us else entry.actor
        receiver = entry.other or ours
        is_other = entry.by_us and entry.actor.id not in (source.ae_title, receiver.id)
        yield _of(sender, _SOURCE, asks=not is_other)
        yield _of(receiver, _DESTINATION, asks=False)
        if is_other:
            yield _of(entry.actor, None, asks=True)  # who asked that we send
        return
    yield _of(entry.actor, None, asks=True)
    yield _of(ours, None, asks=False)


def _of(party: Party, role: _Code | None, *, asks: bool) -> _Participant:
    return _Participant(party.id, role, asks, party.address, party.ae_titles)


def _object(message: Element, thing: Thing, entry: Entry) -> None:
    """One thing that it was about; its name is its kind, and no value."""
    code, role = {
        "study": (_STUDY, _REPORT),
        "sop_class": (_SOP_CLASS, _REPORT),
        "node": (_NODE_ID, _MASTER),
        "user": (_URI, _SECURITY_USER),
        "job": (_URI, _JOB),
    }.get(thing.kind, (_URI, _SECURITY))
    found = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_plain(thing.id) or "unknown",
        ParticipantObjectTypeCode=_SYSTEM,
        ParticipantObjectTypeCodeRole=role,
    )
    if code is _URI:
        SubElement(
            found,
            "ParticipantObjectIDTypeCode",
            {"csd-code": _URI[0], "codeSystemName": "RFC-3881", "originalText": _URI[1]},
        )
    else:
        _code(found, "ParticipantObjectIDTypeCode", code)
    if thing.kind == "sop_class" and entry.kind is Kind.QUERY:
        SubElement(found, "ParticipantObjectQuery").text = _base64(str(entry.facts.get("keys", "")))
    else:
        name = "Security Audit Log" if entry.kind is Kind.AUDIT_USED else thing.kind  # Section A.5.3.2
        SubElement(found, "ParticipantObjectName").text = _plain(name)
    for key, value in entry.facts.items():
        SubElement(found, "ParticipantObjectDetail", type=_plain(key), value=_base64(str(value)))
    if entry.kind in (Kind.ACTION, Kind.REFUSED):
        SubElement(
            found,
            "ParticipantObjectDetail",
            type="Alert Description",
            value=_base64(entry.words or entry.what),
        )
    if thing.instances:
        described = SubElement(found, "ParticipantObjectDescription")
        for uid, count in thing.instances.items():
            SubElement(described, "SOPClass", UID=_plain(uid), NumberOfInstances=str(count))


def _code(parent: Element, name: str, code: _Code) -> None:
    attributes = {
        "csd-code": code[0],
        "codeSystemName": "DCM",
        "displayName": code[1],
        "originalText": code[1],
    }
    SubElement(parent, name, attributes)


def _base64(text: str) -> str:
    return base64.b64encode(cut(text).encode()).decode()


def _plain(text: str) -> str:
    """Text that XML can hold (XML 1.0 Section 2.2), of bounded length, and with single spaces, as a token has them."""
    return " ".join(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", cut(text)).split())
