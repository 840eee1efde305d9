"""C-FIND of the worklist over items in memory: every way in which it ends, who sees what, and the bytes of its answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicomrelay.dicom.query_models import MODALITY_WORKLIST
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.messages import CFindRequest, CFindResponse
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import LedgerError, ServiceUnavailable
from dicomrelay.net.service import Answer, AssociationInfo, RequestedOperation
from dicomrelay.scheduling import worklist_json
from dicomrelay.scheduling.worklist_building import path_of
from dicomrelay.scheduling.worklist_query import Question
from dicomrelay.settings import PeerSettings, QuerySettings
from dicomrelay.settings.worklist import WorklistSettings
from scp_gateway.admission import ALL_RIGHTS, Peers, Right
from scp_gateway.operations import Operations
from scp_gateway.query.character_sets import CharacterSet
from scp_gateway.worklist import Sees, WorklistService
from scp_gateway.worklist.answers import identifier
from tests.support.worklist import item

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
PEER = AssociationInfo("a1", "CT_1", "OURS", "127.0.0.1", 1)


class MemoryWorklist:
    """A `WorklistPort` of some items; `error` comes after them."""

    def __init__(
        self,
        *items: Mapping[str, Any],
        error: Exception | None = None,
        waits_for: threading.Event | None = None,
    ) -> None:
        self._items = items
        self._error = error
        self._waits_for = waits_for
        self.hidden: Sequence[str] = ()

    def answers(
        self, question: Question, hidden: Sequence[str], is_stopped: Callable[[], bool]
    ) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
        self.hidden = hidden
        if self._waits_for is not None:
            assert self._waits_for.wait(60)
        for each in self._items:
            if is_stopped():
                return
            stations = tuple(each["00400100"]["Value"][0]["00400001"]["Value"])
            if (answer := question.keys.answer(each)) is not None:
                yield stations, answer
        if self._error is not None:
            raise self._error


ITEMS = [
    item(number, step_ScheduledStationAETitle=station).data_set
    for number, station in enumerate(("CT_1", "CT_2", ["CT_1", "MR_1"]), 1)
]


def keys(*texts: str) -> Dataset:
    named = [text.partition("=") for text in texts]
    return build_identifier([parse_key(f"{path_of(name)}{dash}{value}") for name, dash, value in named])


def operation(identifier: Dataset | bytes | None, syntax: str = EXPLICIT) -> RequestedOperation:
    raw = encode_identifier(identifier, syntax) if isinstance(identifier, Dataset) else identifier or b""
    return RequestedOperation(CFindRequest(7, MODALITY_WORKLIST.find), 1, raw, syntax)


def serve(
    worklist: MemoryWorklist,
    asked: RequestedOperation,
    *,
    sees: Sees = None,
    peer: AssociationInfo = PEER,
    clock: Callable[[], float] = lambda: 0.0,
    **settings: Any,
) -> tuple[list[Dataset], CFindResponse]:
    service = WorklistService(WorklistSettings(**settings), worklist, clock=clock)
    answers = [each for each in service.serve(peer, asked, sees) if each is not None]
    *pending, last = answers
    assert isinstance(last, Answer)
    assert isinstance(last.response, CFindResponse)
    found = []
    for each in pending:
        assert each.identifier is not None
        assert each.response.status in (0xFF00, 0xFF01)
        found.append(decode_identifier(each.identifier, asked.transfer_syntax_uid))
    return found, last.response


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_answers_and_then_success(syntax: str) -> None:
    """In the transfer syntax of the request, with what was asked for."""
    worklist = MemoryWorklist(*ITEMS)
    found, last = serve(worklist, operation(keys("PatientID", "Modality=CT", "AccessionNumber=A2"), syntax))
    (answer,) = found
    assert last.status == 0
    assert (answer.PatientID, answer.AccessionNumber) == ("P2", "A2")
    assert answer.ScheduledProcedureStepSequence[0].Modality == "CT"
    assert "SpecificCharacterSet" not in answer
    assert "QueryRetrieveLevel" not in answer
    assert worklist.hidden == ["COMPLETED", "DISCONTINUED", "DEPARTED"]


@pytest.mark.parametrize(
    ("identifier_of", "status"),
    [(None, 0xC000), (b"\x10\x00", 0xC000), (b"x" * 100, 0xC000)],
)
def test_an_identifier_that_cannot_be_read(identifier_of: bytes | None, status: int) -> None:
    """Cannot understand."""
    _, last = serve(MemoryWorklist(), operation(identifier_of))
    assert last.status == status


def test_a_wrong_key_is_named() -> None:
    """A900 with the offending element; its value is not quoted."""
    wrong = Dataset()
    wrong.add_new("PatientBirthDate", "LO", "SECRET")
    _, last = serve(MemoryWorklist(), operation(wrong))
    assert (last.status, last.offending_element) == (0xA900, (0x00100030,))
    assert "PatientBirthDate" in (last.error_comment or "")
    assert "SECRET" not in (last.error_comment or "")


def test_keys_that_no_worklist_has_are_told() -> None:
    """FF01 with each answer."""
    asked = keys("PatientID")
    asked.add_new(0x00090010, "LO", "ACME")
    service = WorklistService(WorklistSettings(), MemoryWorklist(*ITEMS))
    first = next(each for each in service.serve(PEER, operation(asked), None) if each is not None)
    assert first.response.status == 0xFF01


@pytest.mark.parametrize(
    ("error", "status"),
    [(ServiceUnavailable("away"), 0xA700), (LedgerError("refused"), 0xC000)],
)
def test_a_database_that_does_not_answer(error: Exception, status: int) -> None:
    """What was found before is given."""
    found, last = serve(MemoryWorklist(ITEMS[0], error=error), operation(keys("PatientID")))
    assert (len(found), last.status) == (1, status)


def test_too_many_matches_and_too_long() -> None:
    """A700, out of resources."""
    found, last = serve(MemoryWorklist(*ITEMS), operation(keys("PatientID")), max_answers=2)
    assert (len(found), last.status) == (2, 0xA700)
    times = iter([0.0] * 2 + [1000.0] * 20)
    found, last = serve(MemoryWorklist(*ITEMS), operation(keys("PatientID")), clock=lambda: next(times))
    assert (found, last.status) == ([], 0xA700)


def test_cancelled_while_nothing_comes() -> None:
    """FE00, though the database hangs."""
    hangs = threading.Event()
    asked = operation(keys("PatientID"))
    answers = WorklistService(WorklistSettings(), MemoryWorklist(*ITEMS, waits_for=hangs)).serve(
        PEER, asked, None
    )
    assert next(answers) is None
    asked.is_cancelled = True
    last = next(answers)
    hangs.set()
    assert last is not None
    assert last.response.status == 0xFE00


def test_one_question_too_many() -> None:
    """Those that hang count."""
    hangs = threading.Event()
    service = WorklistService(WorklistSettings(), MemoryWorklist(waits_for=hangs), most_at_once=1)
    first = service.serve(PEER, operation(keys("PatientID")), None)
    assert next(first) is None
    second = next(service.serve(PEER, operation(keys("PatientID")), None))
    hangs.set()
    assert second is not None
    assert second.response.status == 0xA700


@pytest.mark.parametrize(
    ("sees", "own_only", "caller", "found"),
    [
        (None, False, "ANY", ["P1", "P2", "P3"]),
        (None, True, "CT_1", ["P1", "P3"]),
        (None, True, "*", []),
        (None, True, "ANY", []),
        (["CT_*"], True, "ANY", ["P1", "P2", "P3"]),
        (["MR_1"], False, "CT_1", ["P3"]),
        ([], False, "CT_1", []),
    ],
)
def test_who_sees_what(sees: list[str] | None, own_only: bool, caller: str, found: list[str]) -> None:
    """By the entry's stations, else by worklist.own_only; a peer that calls itself * is not everybody."""
    patterns = None if sees is None else [Wildcards(each) for each in sees]
    peer = AssociationInfo("a1", caller, "OURS", "127.0.0.1", 1)
    answers, last = serve(
        MemoryWorklist(*ITEMS), operation(keys("PatientID")), sees=patterns, peer=peer, own_only=own_only
    )
    assert [each.PatientID for each in answers] == found
    assert last.status == 0


def test_rights() -> None:
    """The worklist is a right of its own, and an entry may say whose steps it sees."""
    peers = Peers(
        [
            PeerSettings(ae_title="CT", rights=["store", "worklist"], worklist_ae_titles=["CT_*", "SPARE"]),
            PeerSettings(ae_title="WS", rights=["query"]),
        ]
    )
    modality, workstation = peers.entry("CT", "10.0.0.1"), peers.entry("WS", "10.0.0.1")
    assert modality is not None
    assert workstation is not None
    assert modality.rights == {Right.STORE, Right.WORKLIST}
    assert [each.pattern for each in modality.stations or ()] == ["CT_*", "SPARE"]
    assert Right.WORKLIST not in workstation.rights
    assert workstation.stations is None
    service = WorklistService(WorklistSettings(), MemoryWorklist(*ITEMS))
    operations = Operations(QuerySettings(), worklist=service)
    assert operations.services == {MODALITY_WORKLIST.find: Right.WORKLIST}
    for rights, status in ((workstation.rights, 0x0124), (ALL_RIGHTS, 0x0000)):
        answers = [
            each for each in operations.handler(rights, {}, None)(PEER, operation(keys("PatientID"))) if each
        ]
        assert answers[-1].response.status == status


# ---- bytes


def _answer(data_set: Mapping[str, Any], names: str, syntax: str = EXPLICIT) -> Dataset:
    return decode_identifier(identifier(data_set, CharacterSet.of(names.split("\\")), syntax), syntax)


@pytest.mark.parametrize(
    ("names", "name", "answered"),
    [
        ("", "DOE^JOHN", None),
        ("", "MÜLLER^JÖRG", "ISO_IR 192"),
        ("ISO_IR 100", "MÜLLER^JÖRG", "ISO_IR 100"),
        ("ISO_IR 100", "DOE^JOHN", "ISO_IR 100"),
        ("ISO_IR 100", "山田^太郎", "ISO_IR 192"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
        ("\\ISO 2022 IR 87", "MÜLLER^JÖRG", "ISO_IR 192"),
        ("ISO_IR 192", "Люкceмбypг", "ISO_IR 192"),
        ("FOO", "MÜLLER^JÖRG", "ISO_IR 192"),
    ],
)
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_text_is_in_the_character_set_of_the_request(
    names: str, name: str, answered: str | list[str] | None, syntax: str
) -> None:
    """Or in UTF-8, where that cannot hold it; in sequences too (PS3.3 Section C.12.1.1.2)."""
    data_set = item(1, PatientName=name, step_ScheduledPerformingPhysicianName=name).data_set
    found = _answer(data_set, names, syntax)
    assert found.get("SpecificCharacterSet") == answered
    assert found.PatientName == name
    assert found.ScheduledProcedureStepSequence[0].ScheduledPerformingPhysicianName == name


@given(
    st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\\"), max_size=60),
    st.sampled_from(["", "ISO_IR 100", "ISO_IR 144", "\\ISO 2022 IR 87", "ISO_IR 192", "GB18030"]),
    st.sampled_from([IMPLICIT, EXPLICIT]),
)
def test_any_text_comes_back(comment: str, names: str, syntax: str) -> None:
    """Whatever it is, and whatever set is asked for."""
    data_set = {
        "00104000": {"vr": "LT", "Value": [comment.strip()]},
        "00101030": {"vr": "DS", "Value": [70.5]},
    }
    found = _answer(data_set, names, syntax)
    assert (found.PatientComments or "").strip() == comment.strip()
    assert found.PatientWeight == 70.5


_JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from(["1", "2026", "20260101", "1.2", "AQI=", "00100010", {"Alphabetic": "A^B"}, {"Alphabetic": 3}]),
)  # fmt: skip
_TAGS = (
    "00101030",
    "001021C0",
    "00280009",
    "00420011",
    "00189306",
    "00104000",
    "00100040",
    "0040A16A",
    "0008002A",
    "00091001",
)


@given(
    st.dictionaries(
        st.sampled_from(_TAGS),
        st.fixed_dictionaries(
            {
                "vr": st.sampled_from(
                    ["DS", "US", "AT", "OB", "FD", "FL", "LT", "CS", "UT", "DT", "LO", "IS", "UN", "ZZ"]
                )
            },
            optional={
                "Value": st.lists(_JSON_VALUES, max_size=3),
                "InlineBinary": st.sampled_from(["AQI=", "AQ", "?", ""]),
            },
        ),
        max_size=3,
    ),
    st.sampled_from([IMPLICIT, EXPLICIT]),
)
def test_what_is_taken_can_be_answered(odd: dict[str, Any], syntax: str) -> None:
    """One odd item must not cost a modality all the others."""
    (record,) = worklist_json.records(json.dumps({**item().data_set, **odd}), {})
    for each in record.items:
        found = decode_identifier(identifier(each.data_set, CharacterSet.of([]), syntax), syntax)
        assert found.PatientID == "P1"


def test_every_kind_of_value() -> None:
    """Numbers, tags, bytes, several values."""
    data_set = {
        "001021C0": {"vr": "US", "Value": [4]},
        "00400001": {"vr": "AE", "Value": ["CT_1", "CT_2"]},
        "00280009": {"vr": "AT", "Value": ["00181063"]},
        "00420011": {"vr": "OB", "InlineBinary": "AQI="},
        "00189306": {"vr": "FD", "Value": [1.25]},
        "00081120": {"vr": "SQ"},
        "00102000": {"vr": "LO"},
    }
    found = _answer(data_set, "")
    assert (found.PregnancyStatus, list(found.ScheduledStationAETitle)) == (4, ["CT_1", "CT_2"])
    assert found.FrameIncrementPointer == 0x00181063
    assert (found.EncapsulatedDocument, found[0x00189306].value) == (b"\1\2", 1.25)
    assert "ReferencedPatientSequence" in found
    assert not found.MedicalAlerts
