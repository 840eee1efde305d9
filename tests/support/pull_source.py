"""An archive on pynetdicom, another implementation than ours, that answers C-FIND, C-MOVE and C-GET as its script says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicomrelay.runtime.ports import free_ports
from tests.support.queries import CT, EXPLICIT, MR, STUDIES, US, write_studies

_Q: Final = "1.2.840.10008.5.1.4.1.2.2"
FIND, MOVE, GET = f"{_Q}.1", f"{_Q}.2", f"{_Q}.3"
_STORAGE: Final = (CT, MR, US)
_SYNTAXES: Final = [EXPLICIT, "1.2.840.10008.1.2"]


@dataclass
class PullSource:
    """What it has and does, and what it was asked.

    Attributes
    ----------
    has : list of Dataset
        Its instances.
    knows : dict of str to int
        AE titles that it may move to, with their ports on this machine.
    withholds : set of str
        SOP Instance UIDs that it lists, and leaves out when it sends without a word.
    aborts_after : int
        Sub-operations after which it ends the association; -1: never.
    stalls_s : float
        So long it sends nothing and says nothing, once it was asked to send, unless it is told to stop.
    lists_images, counts : bool
        Whether it answers C-FIND at level IMAGE; whether it says how many instances there are.
    find_status : int
        Answers every C-FIND.
    matches : bool
        Whether it matches the Patient ID; else it answers with what it has.
    asked, retrieved : list of str
        Levels of the C-FINDs; levels of the retrievals with how many UIDs each named.
    """

    port: int
    has: list[Dataset]
    knows: dict[str, int] = field(default_factory=dict)
    withholds: set[str] = field(default_factory=set)
    aborts_after: int = -1
    stalls_s: float = 0.0
    lists_images: bool = True
    counts: bool = True
    find_status: int = 0
    matches: bool = True
    asked: list[str] = field(default_factory=list)
    retrieved: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Its script from the beginning."""
        self.withholds, self.aborts_after, self.find_status = set(), -1, 0
        self.stalls_s = 0.0
        self.lists_images = self.counts = self.matches = True
        self.asked.clear()
        self.retrieved.clear()

    def on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        keys = event.identifier
        level = str(keys.QueryRetrieveLevel)
        self.asked.append(level)
        if self.find_status or (level == "IMAGE" and not self.lists_images):
            yield self.find_status or 0xA900, None
            return
        found = [each for each in self._of(keys) if self._matches(each, keys)]
        unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[
            level
        ]
        groups: dict[str, list[Dataset]] = {}
        for each in found:
            groups.setdefault(str(each[unique].value), []).append(each)
        for several in groups.values():
            yield 0xFF00, self._answer(level, several)

    def on_move(self, event: Any) -> Iterator[Any]:
        port = self.knows.get(str(event.move_destination).strip())
        if port is None:
            yield None, None
            return
        yield "127.0.0.1", port
        yield from self._send(event)

    def on_get(self, event: Any) -> Iterator[Any]:
        yield from self._send(event)

    def _send(self, event: Any) -> Iterator[Any]:
        keys = event.identifier
        found = [each for each in self._of(keys) if str(each.SOPInstanceUID) not in self.withholds]
        named = keys.get("SOPInstanceUID")
        count = 0 if named is None else 1 if isinstance(named, str) else len(named)
        self.retrieved.append(f"{keys.QueryRetrieveLevel} {count}".removesuffix(" 0"))
        yield len(found)
        until = time.monotonic() + self.stalls_s
        while time.monotonic() < until:
            threading.Event().wait(0.05)
            if event.is_cancelled:
                yield 0xFE00, None
                return
        for number, each in enumerate(found):
            if number == self.aborts_after:
                event.assoc.abort()
                return
            yield 0xFF00, each

    def _of(self, keys: Dataset) -> list[Dataset]:
        """By unique keys; one value or a list of them."""
        found = self.has
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            value = keys.get(keyword)
            if value:
                uids = [value] if isinstance(value, str) else list(value)
                found = [each for each in found if each[keyword].value in uids]
        return found

    def _matches(self, instance: Dataset, keys: Dataset) -> bool:
        patient, date = keys.get("PatientID"), keys.get("StudyDate")
        if patient and self.matches and instance.PatientID != patient:
            return False
        return not date or str(instance.StudyDate) >= str(date).rstrip("-")

    def _answer(self, level: str, several: list[Dataset]) -> Dataset:
        first, answer = several[0], Dataset()
        answer.SpecificCharacterSet = first.SpecificCharacterSet
        answer.QueryRetrieveLevel = level
        answer.StudyInstanceUID = first.StudyInstanceUID
        if level == "STUDY":
            answer.PatientID, answer.PatientName = first.PatientID, first.PatientName
            answer.StudyDate, answer.StudyTime = first.StudyDate, first.StudyTime
            answer.StudyDescription = first.StudyDescription
            answer.ModalitiesInStudy = sorted({each.Modality for each in several})
        if level in ("SERIES", "IMAGE"):
            answer.SeriesInstanceUID, answer.Modality = first.SeriesInstanceUID, first.Modality
        if level == "IMAGE":
            answer.SOPInstanceUID, answer.SOPClassUID = first.SOPInstanceUID, first.SOPClassUID
        elif self.counts:
            keyword = (
                "NumberOfStudyRelatedInstances" if level == "STUDY" else "NumberOfSeriesRelatedInstances"
            )
            setattr(answer, keyword, len(several))
        return answer


@contextmanager
def pull_source(folder: Any, *, services: tuple[str, ...] = (FIND, MOVE, GET)) -> Iterator[PullSource]:
    """One that listens on a port of its own with the studies of `tests.support.queries`; its script may be changed."""
    (port,) = free_ports(1)
    source = PullSource(port, [dcmread(path) for path in write_studies(folder, STUDIES)])
    ae = AE("OLD")
    for uid in services:
        ae.add_supported_context(uid, _SYNTAXES)
    for uid in _STORAGE:
        ae.add_supported_context(uid, _SYNTAXES, scu_role=True, scp_role=True)
        ae.add_requested_context(uid, _SYNTAXES)
    server = ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_FIND, source.on_find),
            (evt.EVT_C_MOVE, source.on_move),
            (evt.EVT_C_GET, source.on_get),
        ],
    )
    assert server is not None
    try:
        yield source
    finally:
        server.shutdown()
