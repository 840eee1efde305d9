"""What an audit message may be, by PS3.15 Section A.5.1.1: its grammar as a table of ours, and a checker.

Elements stand in the order of the table. An attribute is `name`, or `name?` where it may be left out, with the kind of its value.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from xml.etree.ElementTree import Element

Check = Callable[[str], bool]
_ANY: Check = lambda _text: True  # noqa: E731
_TOKEN: Check = lambda text: text == " ".join(text.split())  # noqa: E731 - what the schema would collapse is a mistake of ours
_INTEGER: Check = lambda text: re.fullmatch(r"[+-]?\d+", text) is not None  # noqa: E731


def _one_of(*values: str) -> Check:
    return lambda text: text in values


def _numbers(last: int) -> Check:
    return _one_of(*map(str, range(1, last + 1)))


def _date_time(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def _base64(text: str) -> bool:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text


_CODE: dict[str, Check] = {
    "csd-code": _TOKEN,
    "codeSystemName": _TOKEN,
    "displayName?": _TOKEN,
    "originalText": _TOKEN,
}
# Attributes; children with how often each may stand, "a|b" for a choice; what text is.
Rule = tuple[dict[str, Check], tuple[tuple[str, str], ...], Check | None]
RULES: dict[str, Rule] = {
    "AuditMessage": (
        {},
        (
            ("EventIdentification", ""),
            ("ActiveParticipant", "+"),
            ("AuditSourceIdentification", ""),
            ("ParticipantObjectIdentification", "*"),
        ),
        None,
    ),
    "EventIdentification": (
        {
            "EventActionCode?": _one_of("C", "R", "U", "D", "E"),
            "EventDateTime": _date_time,
            "EventOutcomeIndicator": _one_of("0", "4", "8", "12"),
        },
        (("EventID", ""), ("EventTypeCode", "*"), ("EventOutcomeDescription", "?")),
        None,
    ),
    "EventID": (_CODE, (), None),
    "EventTypeCode": (_CODE, (), None),
    "EventOutcomeDescription": ({}, (), _ANY),
    "ActiveParticipant": (
        {
            "UserID": _ANY,
            "AlternativeUserID?": _ANY,
            "UserName?": _ANY,
            "UserIsRequestor": _one_of("true", "false", "0", "1"),
            "NetworkAccessPointID?": _TOKEN,
            "NetworkAccessPointTypeCode?": _numbers(5),
        },
        (("RoleIDCode", "*"), ("MediaIdentifier", "?")),
        None,
    ),
    "RoleIDCode": (_CODE, (), None),
    "MediaIdentifier": ({}, (("MediaType", ""),), None),
    "MediaType": (_CODE, (), None),
    "AuditSourceIdentification": (
        {"AuditEnterpriseSiteID?": _TOKEN, "AuditSourceID": _TOKEN},
        (("AuditSourceTypeCode", "*"),),
        None,
    ),
    "AuditSourceTypeCode": ({"csd-code": _TOKEN}, (), None),
    "ParticipantObjectIdentification": (
        {
            "ParticipantObjectID": _TOKEN,
            "ParticipantObjectTypeCode?": _numbers(4),
            "ParticipantObjectTypeCodeRole?": _numbers(26),
            "ParticipantObjectDataLifeCycle?": _numbers(15),
            "ParticipantObjectSensitivity?": _TOKEN,
        },
        (
            ("ParticipantObjectIDTypeCode", ""),
            ("ParticipantObjectName|ParticipantObjectQuery", ""),
            ("ParticipantObjectDetail", "*"),
            ("ParticipantObjectDescription", "*"),
        ),
        None,
    ),
    "ParticipantObjectIDTypeCode": (_CODE, (), None),
    "ParticipantObjectName": ({}, (), _TOKEN),
    "ParticipantObjectQuery": ({}, (), _base64),
    "ParticipantObjectDetail": ({"type": _TOKEN, "value": _base64}, (), None),
    "ParticipantObjectDescription": ({}, (("MPPS", "*"), ("Accession", "*"), ("SOPClass", "*")), None),
    "SOPClass": ({"UID?": _TOKEN, "NumberOfInstances": _INTEGER}, (("Instance", "*"),), None),
    "Instance": ({"UID": _TOKEN}, (), None),
}


def faults(element: Element) -> Iterator[str]:
    """What is wrong with an element and all below it."""
    if element.tag not in RULES:
        yield f"{element.tag}: unknown"
        return
    attributes, children, text = RULES[element.tag]
    yield from _attribute_faults(element, attributes)
    letters = "".join(f"<{child.tag}>" for child in element)
    if not re.fullmatch("".join(f"(?:<(?:{name})>){often}" for name, often in children), letters):
        yield f"{element.tag}: has {letters or 'nothing'}"
    if text is None and (element.text or "").strip():
        yield f"{element.tag}: has text"
    if text is not None and not text(element.text or ""):
        yield f"{element.tag}: {element.text!r}"
    for child in element:
        yield from faults(child)


def _attribute_faults(element: Element, attributes: dict[str, Check]) -> Iterator[str]:
    known = {name.rstrip("?"): check for name, check in attributes.items()}
    for name, value in element.attrib.items():
        if name not in known:
            yield f"{element.tag}: attribute {name} is unknown"
        elif not known[name](value):
            yield f"{element.tag}: {name} is {value!r}"
    for name in attributes:
        if not name.endswith("?") and name not in element.attrib:
            yield f"{element.tag}: {name} is missing"
