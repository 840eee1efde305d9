"""Orders in HL7 v2: ORM^O01 and OMI^O23, as IHE Radiology has them (RAD TF-2 Section 4.4 and Appendix B). Pure.

`hl7` takes a message apart. It is asked message by message, each of a bounded length, and what it logs (it quotes fields)
is turned off.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import hl7  # type: ignore[import-untyped]  # it ships no types
import hl7.containers  # type: ignore[import-untyped]
import hl7.util  # type: ignore[import-untyped]

from dicomrelay.scheduling.worklist_building import Stations, record_of
from dicomrelay.scheduling.worklist_change import OrderKey, Record, UnreadableFile, bounded, told_apart
from dicomrelay.scheduling.worklist_hl7_fields import (
    NOTHING,
    PRIORITIES,
    SEXES,
    Segment,
    code,
    date_and_time,
    person_name,
    physician_name,
)
from dicomrelay.scheduling.worklist_item import Fault
from dicomrelay.scheduling.worklist_status import StepStatus

for _module in (hl7.util, hl7.containers):
    logging.getLogger(_module.__file__).disabled = True

_MOST_BYTES: Final = 65_536
_KINDS: Final = frozenset({("ORM", "O01"), ("OMI", "O23")})
_BATCH: Final = ("FHS", "BHS", "BTS", "FTS")
_FRAME: Final = re.compile(rb"[\x0b\x1c]")
# MSH-18 (HL7 table 0211).
_ENCODINGS: Final = {
    "ASCII": "utf-8",
    "": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    **{f"8859/{number}": f"iso8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}
CORRECTS: Final = frozenset({"XO", "RP"})
PUTS: Final = frozenset({"NW", "XO", "RP"})
CANCELS: Final = frozenset({"CA", "OC", "DC", "CR", "OD", "DR"})
# ORC-5 (table 0038).
_STATUSES: Final = {
    "SC": StepStatus.SCHEDULED,
    "IP": StepStatus.STARTED,
    "CM": StepStatus.COMPLETED,
    "CA": StepStatus.DISCONTINUED,
    "DC": StepStatus.DISCONTINUED,
}
_PREGNANT: Final = "B6"


@dataclass(slots=True)
class _Order:
    """What stands from one ORC to the next."""

    first: dict[str, Segment] = field(default_factory=dict)
    steps: list[Segment] = field(default_factory=list)  # IPC

    def __getitem__(self, name: str) -> Segment:
        return self.first.get(name, NOTHING)


def records(raw: bytes, stations: Stations) -> list[Record]:
    """What the orders of a file ask.

    Raises
    ------
    UnreadableFile
        It has no message, or too many.
    """
    found = bounded(_records(raw, stations))
    if not found:
        raise UnreadableFile("no HL7 message: none begins with MSH")
    return found


def _records(raw: bytes, stations: Stations) -> Iterator[Record]:
    for count, lines in enumerate(_messages(raw), 1):
        where = f"message {count}"
        try:
            # A later message may say otherwise of an order; one message says each thing once.
            yield from told_apart(_of_message(where, lines, stations))
        except UnreadableFile as error:
            yield Record(where, faults=(Fault("", str(error)),))


def _messages(raw: bytes) -> Iterator[list[bytes]]:
    """The lines of each message, without the frame of MLLP and the segments of a batch."""
    lines: list[bytes] = []
    for line in re.split(rb"[\r\n]+", _FRAME.sub(b"\r", raw.removeprefix(b"\xef\xbb\xbf"))):
        if line.startswith(b"MSH"):
            if lines:
                yield lines
            lines = [line]
        elif lines and line.strip() and not line[:3].decode("ascii", "replace").startswith(_BATCH):
            lines.append(line)
    if lines:
        yield lines


def _of_message(where: str, lines: list[bytes], stations: Stations) -> list[Record]:
    segments = _segments(lines)
    header = segments[0]
    kind = header.text(9), header.text(9, 2)
    if kind not in _KINDS:
        raise UnreadableFile(f"MSH-9: neither ORM^O01 nor OMI^O23, but {'^'.join(kind)[:20]!r}")
    patient, orders, last_study = _parts(segments)
    if not orders:
        raise UnreadableFile("no ORC and no OBR: it orders nothing")
    found: list[Record] = []
    for number, order in enumerate(orders, 1):
        study = order["ZDS"].text(1) or last_study
        found += [
            _record(f"{where}, order {number}", patient, order, step, study, stations)
            for step in order.steps or [NOTHING]
        ]
    return found


def _segments(lines: list[bytes]) -> list[Segment]:
    if sum(map(len, lines)) > _MOST_BYTES:
        raise UnreadableFile(f"a message of more than {_MOST_BYTES} bytes")
    raw = b"\r".join(lines)
    fields = lines[0].split(lines[0][3:4]) if len(lines[0]) > 3 else []
    named = fields[17].decode("ascii", "replace").partition("~")[0].strip() if len(fields) > 17 else ""
    encoding = _ENCODINGS.get(named.upper())
    if encoding is None:
        raise UnreadableFile("MSH-18: a character set that is not known here")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        if named:
            raise UnreadableFile(f"text that is not in the character set of MSH-18, {named}") from None
        text = raw.decode("latin-1")
    try:
        message = hl7.parse(text)
        return [Segment(each, message.unescape) for each in message]
    except Exception as error:  # noqa: BLE001 - it raises what its indexes do, and quotes what it met
        raise UnreadableFile(f"no HL7 message ({type(error).__name__})") from None


def _parts(segments: list[Segment]) -> tuple[_Order, list[_Order], str]:
    """What is of the patient, the orders, and the study of all of them that name none."""
    patient, orders = _Order(), list[_Order]()
    study = ""
    for segment in segments:
        name = segment.name
        begins = name == "ORC" or (name == "OBR" and (not orders or "OBR" in orders[-1].first))
        if begins:
            orders.append(_Order())
        holder = orders[-1] if orders else patient
        if name == "IPC":
            holder.steps.append(segment)
        elif name in ("PID", "PV1", "AL1") and orders:
            patient.first.setdefault(name, segment)
        else:
            holder.first.setdefault(name, segment)
        if name == "ZDS":
            study = segment.text(1)
    return patient, orders, study


def _record(
    where: str, patient: _Order, order: _Order, step: Segment, study: str, stations: Stations
) -> Record:
    control = order["ORC"].text(1).upper() or "NW"
    if control in PUTS:
        record = record_of(where, _pairs(patient, order, step, study), stations)
        if control not in CORRECTS:
            return record
        return replace(record, items=tuple(replace(item, is_correction=True) for item in record.items))
    status = StepStatus.DISCONTINUED if control in CANCELS else None
    if control == "SC":
        status = _STATUSES.get(order["ORC"].text(5).upper())
        if status is None:
            return Record(where, faults=(Fault("ORC-5", f"none of {', '.join(_STATUSES)}"),))
    if status is None:
        return Record(where, faults=(Fault("ORC-1", f"order control {control[:8]!r} is not taken"),))
    key = _key(order, step, study)
    if not key.given:
        return Record(where, faults=(Fault("ORC-2, ORC-3, OBR-18", "missing: it names no order"),))
    return Record(where, key=key, status=status)


def _key(order: _Order, step: Segment, study: str) -> OrderKey:
    orc, obr = order["ORC"], order["OBR"]
    accession = step.text(1) or obr.text(18)
    study = step.text(3) or study
    if accession or study:
        return OrderKey(
            study_instance_uid=study,
            accession_number=accession,
            requested_procedure_id=step.text(2) or obr.text(19),
            step_id=step.text(4) or obr.text(20),
        )
    return OrderKey(
        placer_order_number=orc.text(2) or obr.text(2), filler_order_number=orc.text(3) or obr.text(3)
    )


def _pairs(patient: _Order, order: _Order, step: Segment, study: str) -> Iterator[tuple[str, str]]:
    yield from _of_patient(patient)
    yield from _of_order(order, step, study)
    yield from _of_step(order, step)


def _of_patient(patient: _Order) -> Iterator[tuple[str, str]]:
    pid, visit, allergy = patient["PID"], patient["PV1"], patient["AL1"]
    number = next((n for n in range(1, pid.repetitions(3) + 1) if pid.text(3, repetition=n)), 1)
    yield "PatientID", pid.text(3, repetition=number)
    yield "IssuerOfPatientID", pid.text(3, 4, repetition=number)
    yield "PatientName", person_name(pid, 5)
    yield "PatientBirthDate", pid.text(7)[:8]
    yield "PatientSex", SEXES.get(pid.text(8).upper(), "")
    yield "CurrentPatientLocation", " ".join(filter(None, (visit.words(3, n) for n in (1, 2, 3))))[:64]
    yield "ReferringPhysicianName", physician_name(visit, 8)
    yield "PregnancyStatus", "3" if visit.text(15) == _PREGNANT else ""
    yield "ConfidentialityConstraintOnPatientDataDescription", visit.words(16)
    yield "AdmissionID", visit.text(19)
    yield "Allergies", allergy.words(3, 2) or allergy.words(3)


def _of_order(order: _Order, step: Segment, study: str) -> Iterator[tuple[str, str]]:
    orc, obr, timing = order["ORC"], order["OBR"], order["TQ1"]
    placer, filler = orc.text(2) or obr.text(2), orc.text(3) or obr.text(3)
    yield "PlacerOrderNumberImagingServiceRequest", placer
    yield "FillerOrderNumberImagingServiceRequest", filler
    yield "AccessionNumber", step.text(1) or obr.text(18)
    yield (
        "RequestedProcedureID",
        step.text(2) or obr.text(19) or step.text(1) or obr.text(18) or filler or placer,
    )
    yield "StudyInstanceUID", step.text(3) or study
    procedure = 44 if obr.text(44) else 4
    yield "RequestedProcedureDescription", obr.words(procedure, 2) or obr.words(procedure)
    yield from code(obr, procedure, 1, "RequestedProcedureCodeSequence")
    yield (
        "RequestedProcedurePriority",
        PRIORITIES.get((timing.text(9) or orc.text(7, 6) or obr.text(27, 6))[:1].upper(), ""),
    )
    yield "RequestingPhysician", physician_name(obr, 16) or physician_name(orc, 12)
    yield "RequestingService", orc.words(17, 2) or orc.words(17)
    yield "PatientState", obr.words(12, 2) or obr.words(12)
    yield "MedicalAlerts", obr.words(13)
    yield "PatientTransportArrangements", obr.words(30)
    yield "ReasonForTheRequestedProcedure", obr.words(31, 2) or obr.words(31)


def _of_step(order: _Order, step: Segment) -> Iterator[tuple[str, str]]:
    orc, obr, timing = order["ORC"], order["OBR"], order["TQ1"]
    date, time = date_and_time(timing.text(7) or orc.text(7, 4) or obr.text(27, 4) or obr.text(36))
    yield "ScheduledProcedureStepStartDate", date
    yield "ScheduledProcedureStepStartTime", time
    yield "ScheduledProcedureStepID", step.text(4) or obr.text(20)
    yield "Modality", step.text(5) or obr.text(24)
    yield "ScheduledStationName", step.words(7, most=16)
    yield "ScheduledProcedureStepLocation", step.words(8, most=16)
    yield "ScheduledStationAETitle", step.text(9)
    yield "ScheduledPerformingPhysicianName", physician_name(obr, 34)
    if step.text(6):
        yield "ScheduledProcedureStepDescription", step.words(6, 2) or step.words(6)
        yield from code(step, 6, 1, "ScheduledProtocolCodeSequence")
        return
    first = 4 if obr.text(4, 4) else 1
    yield "ScheduledProcedureStepDescription", obr.words(4, first + 1) or obr.words(4, first)
    yield from code(obr, 4, first, "ScheduledProtocolCodeSequence")
