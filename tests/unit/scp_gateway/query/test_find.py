"""C-FIND over an archive in memory: every way in which it ends."""

from __future__ import annotations

import struct
import threading
import time
import tracemalloc
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import STUDY_ROOT, Level
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.messages import CFindRequest, CFindResponse
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import ArchiveError, ConfigurationError, ServiceUnavailable
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from dicomrelay.settings import QuerySettings
from scp_gateway.archive_port import IndexedAttribute
from scp_gateway.query.ahead import AHEAD
from scp_gateway.query.find import FindService
from scp_gateway.query.question import Agreed
from tests.unit.scp_gateway.query.test_keys import ATTRIBUTES

EXPLICIT = "1.2.840.10008.1.2.1"
PEER = AssociationInfo("a1", "ASKER", "OURS", "127.0.0.1", 1)


class MemoryArchive:
    """A `QueryPort` of so many rows; `error` comes after them."""

    def __init__(
        self, rows: int = 0, error: Exception | None = None, *, waits_for: threading.Event | None = None
    ) -> None:
        self._waits_for = waits_for
        self._rows = rows
        self._error = error
        self.given = self.looked_into = 0

    def attributes(self) -> Mapping[str, IndexedAttribute]:
        return ATTRIBUTES

    def rows(
        self, level: Level, matches: Mapping[str, str], *, fuzzy: bool = False, with_sop_classes: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        if self._waits_for is not None:
            assert self._waits_for.wait(60)
        for number in range(self._rows):
            self.given += 1
            yield {"StudyInstanceUID": f"1.2.{number}", "StudyDescription": f"S{number}"}
        if self._error is not None:
            raise self._error

    def head(self, row: Mapping[str, Any], tags: Collection[int]) -> Dataset | None:
        self.looked_into += 1
        found = Dataset()
        found.ProcedureCodeSequence = [Dataset()]
        found.ProcedureCodeSequence[0].CodeValue = row["StudyDescription"]
        found.ProcedureCodeSequence[0].CodeMeaning = "SCHÄDEL"
        return found


class Clock:
    """Goes on by a step whenever it is looked at."""

    def __init__(self, step_s: float = 0.0) -> None:
        self._now = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        self._now += self._step_s
        return self._now


def asked(*keys: str, sop_class_uid: str = STUDY_ROOT.find) -> RequestedOperation:
    identifier = build_identifier(map(parse_key, keys or ("QueryRetrieveLevel=STUDY",)))
    return RequestedOperation(
        CFindRequest(7, sop_class_uid), 1, encode_identifier(identifier, EXPLICIT), EXPLICIT
    )


def serve(
    archive: MemoryArchive,
    operation: RequestedOperation,
    *,
    clock: Clock | None = None,
    **settings: Any,
) -> Iterator[Answer | None]:
    service = FindService(QuerySettings(**settings), "OURS", archive, clock or Clock())
    return service.serve(PEER, operation, Agreed())


def statuses(answers: Iterator[Answer | None]) -> list[int]:
    found = [each for each in answers if each is not None]
    assert all(each.response.message_id_being_responded_to == 7 for each in found)
    assert all((each.identifier is not None) == (each.response.status in (0xFF00, 0xFF01)) for each in found)
    return [each.response.status for each in found]


def last(answers: Iterator[Answer | None]) -> CFindResponse:
    response = [each for each in answers if each is not None][-1].response
    assert isinstance(response, CFindResponse)
    return response


def test_every_match_is_a_pending_response_and_success_is_the_last() -> None:
    """PS3.4 Section C.4.1.3."""
    assert statuses(serve(MemoryArchive(3), asked())) == [0xFF00, 0xFF00, 0xFF00, 0]
    assert statuses(serve(MemoryArchive(0), asked())) == [0]


def test_keys_that_are_not_matched_are_told_with_every_answer() -> None:
    """FF01 (PS3.4 Table C.4-1)."""
    assert statuses(serve(MemoryArchive(2), asked("QueryRetrieveLevel=STUDY", "InstitutionName"))) == [
        0xFF01,
        0xFF01,
        0,
    ]


def test_over_the_limit_as_many_are_given_as_it_says() -> None:
    """And then A700 with words; who gets exactly as many is told nothing."""
    assert statuses(serve(MemoryArchive(3), asked(), max_answers=3)) == [0xFF00] * 3 + [0]
    archive = MemoryArchive(1_000)
    found = list(serve(archive, asked(), max_answers=3))
    assert statuses(iter(found)) == [0xFF00] * 3 + [0xA700]
    assert last(iter(found)).error_comment == "more than 3 matches, ask for less"
    assert archive.given <= 4 + 2 * AHEAD + 2  # no more than is held ahead


def test_a_cancelled_query_ends_with_fe00() -> None:
    """Between two answers, and no more is read (PS3.4 Section C.4.1.3.4)."""
    archive, operation = MemoryArchive(100_000), asked()
    answers = serve(archive, operation)
    assert next(answers) is not None
    operation.is_cancelled = True
    assert statuses(answers) == [0xFE00]
    assert archive.given <= 2 * AHEAD + 2


def test_an_index_that_is_frozen_holds_up_nobody() -> None:
    """The peer is heard all the while: a C-CANCEL ends it, or the time limit does."""
    frozen = threading.Event()
    try:
        operation = asked()
        answers = serve(MemoryArchive(0, waits_for=frozen), operation)
        assert next(answers) is None
        assert next(answers) is None
        operation.is_cancelled = True
        assert statuses(answers) == [0xFE00]
        in_time = serve(MemoryArchive(0, waits_for=frozen), asked(), clock=Clock(1.0), timeout_s=3)
        assert statuses(in_time) == [0xA700]
    finally:
        frozen.set()


def test_questions_that_hang_are_counted() -> None:
    """When all threads of a listener hang in a frozen index the next question is answered at once, and when it thaws they
    are free again.
    """
    frozen = threading.Event()
    service = FindService(
        QuerySettings(), "OURS", MemoryArchive(0, waits_for=frozen), Clock(), most_at_once=4
    )
    hanging = [service.serve(PEER, asked(), Agreed()) for _ in range(4)]
    try:
        assert [next(each) for each in hanging] == [None] * 4
        for each in hanging[::2]:
            each.close()  # type: ignore[attr-defined] - a generator: as when the peer has gone
        assert statuses(service.serve(PEER, asked(), Agreed())) == [0xA700]
    finally:
        frozen.set()
    assert [statuses(each) for each in hanging[1::2]] == [[0], [0]]
    deadline = time.monotonic() + 10
    while (found := statuses(service.serve(PEER, asked(), Agreed()))) != [0]:
        assert found == [0xA700]
        assert time.monotonic() < deadline


class SlowFiles(MemoryArchive):
    """Nothing matches, and each file takes its time."""

    def head(self, row: Mapping[str, Any], tags: Collection[int]) -> Dataset | None:
        self.looked_into += 1
        time.sleep(0.02)
        return None


@pytest.mark.parametrize("ending", ["cancelled", "abandoned", "out of time"])
def test_no_file_is_looked_into_once_it_is_over(ending: str) -> None:
    """Nor is the place of the question taken any longer."""
    archive = SlowFiles(100_000)
    settings = QuerySettings(timeout_s=0.5)
    service = FindService(settings, "OURS", archive, most_at_once=1)
    operation = asked("QueryRetrieveLevel=STUDY", "PatientAge=001Y")
    answers = service.serve(PEER, operation, Agreed())
    assert next(answers) is None
    assert archive.looked_into > 0
    if ending == "cancelled":
        operation.is_cancelled = True
        assert statuses(answers) == [0xFE00]
    elif ending == "abandoned":
        answers.close()  # type: ignore[attr-defined] - a generator: as when the peer has gone
    else:
        assert statuses(answers) == [0xA700]
    looked_into = archive.looked_into
    assert looked_into < 1000
    deadline = time.monotonic() + 5
    operation = asked("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2")
    while last(service.serve(PEER, operation, Agreed())).error_comment.startswith("too many queries"):
        assert time.monotonic() < deadline
    assert archive.looked_into <= looked_into + 1


def test_a_question_that_gets_no_thread_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to ask again, and what it would have held is free."""
    service = FindService(QuerySettings(), "OURS", MemoryArchive(1), Clock(), most_at_once=1)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            answer = last(service.serve(PEER, asked(), Agreed()))
            assert (answer.status, answer.error_comment[:19]) == (0xA700, "the archive's index")
    assert statuses(service.serve(PEER, asked(), Agreed())) == [0xFF00, 0]


def test_memory_does_not_grow_with_the_answers() -> None:
    """Twenty thousand of them in the room of a few hundred."""
    answers = serve(MemoryArchive(20_000), asked(), max_answers=100_000)
    tracemalloc.start()
    try:
        count = sum(each is not None for each in answers)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_001
    assert peak_bytes < 1_000_000


def test_a_query_takes_no_longer_than_the_settings_say() -> None:
    """A700: the same question for less will do."""
    answers = list(serve(MemoryArchive(1_000), asked(), clock=Clock(1.0), timeout_s=5))
    response = last(iter(answers))
    assert (response.status, response.error_comment) == (0xA700, "not done in 5 s, ask for less")
    assert 0 < len(answers) < 10


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ServiceUnavailable("no answer from postgresql"), 0xA700),
        (ArchiveError("the index is newer than we are"), 0xC000),
        (ConfigurationError("PatientID: 'MUELLER' cannot be matched"), 0xA900),
    ],
)
def test_an_archive_that_fails_is_a_status(error: Exception, status: int) -> None:
    """What was found before it is as true as ever; what went wrong is for our log."""
    answers = list(serve(MemoryArchive(2, error), asked()))
    assert statuses(iter(answers)) == [0xFF00, 0xFF00, status]
    assert str(error) not in last(iter(answers)).error_comment
    assert last(iter(answers)).error_comment


def test_what_is_no_identifier_is_c000() -> None:
    """Nothing, garbage, and one that is cut off."""
    operation = asked()
    whole = operation.identifier
    for raw in (b"", b"\xff" * 11, whole[:-1], whole[:7]):
        operation.identifier = raw
        assert statuses(serve(MemoryArchive(1), operation)) == [0xC000]


def _raw(*elements: bytes) -> RequestedOperation:
    level = struct.pack("<HH2sH", 0x0008, 0x0052, b"CS", 6) + b"STUDY "
    return RequestedOperation(CFindRequest(7, STUDY_ROOT.find), 1, level + b"".join(elements), EXPLICIT)


@pytest.mark.parametrize("tag", [0x00080020, 0x00101010, 0x0020000D, 0x00080054])
def test_a_sequence_in_the_place_of_a_text_is_a900(tag: int) -> None:
    """Not a fault of ours, and not passed over."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    answer = last(
        serve(MemoryArchive(3), _raw(struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, 8), item))
    )
    assert (answer.status, answer.offending_element) == (0xA900, (tag,))
    assert answer.error_comment.endswith("not its VR")


def test_too_many_elements_are_c000_and_said() -> None:
    """Before they are decoded."""
    many = (struct.pack("<HH2sH", 9, number, b"LO", 0) for number in range(0x10, 6000))
    answer = last(serve(MemoryArchive(3), _raw(*many)))
    assert (answer.status, answer.error_comment) == (0xC000, "an identifier of more than 5000 elements")


def test_another_sop_class_is_0122() -> None:
    """A C-FIND of the worklist in a context that was accepted for something else."""
    assert statuses(serve(MemoryArchive(1), asked(sop_class_uid="1.2.840.10008.5.1.4.31"))) == [0x0122]


def test_a_refusal_names_the_element() -> None:
    """Offending Element (0000,0901)."""
    response = last(serve(MemoryArchive(1), asked("QueryRetrieveLevel=SERIES")))
    assert (response.status, response.offending_element) == (0xA900, (0x0020000D,))


def test_answers_are_what_the_rows_say() -> None:
    """Read by pydicom."""
    (first, *_) = serve(MemoryArchive(1), asked("QueryRetrieveLevel=STUDY", "StudyDescription"))
    assert first is not None
    assert first.identifier is not None
    answer = decode_identifier(first.identifier, EXPLICIT)
    assert (answer.StudyInstanceUID, answer.StudyDescription) == ("1.2.0", "S0")


def test_a_sequence_is_looked_up_in_an_instance() -> None:
    """One item with a value: the studies that have such an item, and of it what was asked (PS3.4 Section C.2.2.2.6)."""
    archive = MemoryArchive(5)
    keys = (
        "QueryRetrieveLevel=STUDY",
        "ProcedureCodeSequence[0].CodeValue=S3",
        "ProcedureCodeSequence[0].CodeMeaning",
    )
    found = [each for each in serve(archive, asked(*keys)) if each is not None]
    assert statuses(iter(found)) == [0xFF00, 0]
    assert found[0].identifier is not None
    answer = decode_identifier(found[0].identifier, EXPLICIT)
    assert answer.StudyInstanceUID == "1.2.3"
    (item,) = answer.ProcedureCodeSequence
    assert (item.CodeValue, item.CodeMeaning) == ("S3", "SCHÄDEL")
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert archive.looked_into == 5


def test_no_more_files_are_looked_into_than_the_settings_say() -> None:
    """A700; with none allowed at all, nothing is."""
    keys = ("QueryRetrieveLevel=STUDY", "ProcedureCodeSequence[0].CodeValue=NONE")
    archive = MemoryArchive(500)
    assert statuses(serve(archive, asked(*keys), max_files=20)) == [0xA700]
    assert archive.looked_into == 20
