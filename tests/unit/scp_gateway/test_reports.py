"""From whom reports are taken, and what each is answered; and which presentation contexts are accepted for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.dimse.commitment import COMMITMENT_TRANSFER_SYNTAXES, MAX_REPORT_BYTES, encode_request
from dicomrelay.dimse.messages import NEventReportRequest
from dicomrelay.net.incoming_report import IncomingReport
from dicomrelay.net.service import AssociationInfo
from dicomrelay.settings import DestinationSettings, VerificationMethod
from dicomrelay.spool import reports as box_module
from dicomrelay.spool.operations import OperatingSystem
from dicomrelay.spool.reports import ReportBox
from dicomrelay.ul.pdu import AssociateRequest, ContextResult, ProposedContext, RoleSelection, UserInformation
from scp_gateway.negotiation import StorableClasses, answer
from scp_gateway.reports import KnowsTransaction, Reports, nobody_can_say

PUSH, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
EXPLICIT, IMPLICIT = COMMITMENT_TRANSFER_SYNTAXES
INFO = AssociationInfo("a1", "ARCHIVE ", "DICOMRELAY", "10.0.0.9", 50_000)
DATA = encode_request("2.25.7", [("1.2.840.10008.5.1.4.1.1.2", "1.2.3")], EXPLICIT)
REQUEST = NEventReportRequest(3, PUSH, WELL_KNOWN, 1)


def destination(name: str, ae_title: str, method: VerificationMethod) -> DestinationSettings:
    return DestinationSettings(name=name, ae_title=ae_title, host="10.0.0.9", verification=method)


DESTINATIONS = [
    destination("archive", "ARCHIVE", VerificationMethod.COMMITMENT),
    destination("found", "FOUND", VerificationMethod.FIND),
    destination("plain", "PLAIN", VerificationMethod.NONE),
]


class Told:
    """How often the workers were told."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def taker(folder: Path, knows: KnowsTransaction = nobody_can_say, told: Told | None = None) -> Reports:
    return Reports(DESTINATIONS, ReportBox(folder / "reports"), kept=told or Told(), knows=knows)


@pytest.mark.parametrize(
    ("ae_title", "taken"),
    [("ARCHIVE", True), ("ARCHIVE ", True), ("FOUND", False), ("PLAIN", False), ("*", False)],
)
def test_only_destinations_that_are_asked_for_commitment_may_report(
    tmp_path: Path, ae_title: str, taken: bool
) -> None:
    assert taker(tmp_path).are_taken_from(ae_title) is taken


@pytest.mark.parametrize("known", [True, None])
def test_a_report_of_ours_or_of_nobody_knows_is_kept_then_told_then_answered(
    tmp_path: Path, known: bool | None
) -> None:
    """A ledger that does not answer refuses no report."""
    told = Told()
    reports = taker(tmp_path, lambda _uid: known, told)
    assert reports.take(INFO, REQUEST, DATA, EXPLICIT) == 0x0000
    box = ReportBox(tmp_path / "reports")
    (name,) = box.waiting()
    found = box.read(name)
    assert (found.report.transaction_uid, found.report.committed) == ("2.25.7", {"1.2.3"})
    assert (found.calling_ae_title, found.association_id) == ("ARCHIVE", "a1")
    assert told.times == 1


@pytest.mark.parametrize(
    ("request_", "raw", "status"),
    [
        (REQUEST, b"", 0x0110),
        (REQUEST, DATA[:-3], 0x0110),
        (NEventReportRequest(3, PUSH, WELL_KNOWN, 7), DATA, 0x0113),
        (NEventReportRequest(3, PUSH, "1.2.3", 1), DATA, 0x0112),
        (NEventReportRequest(3, "1.2.3", WELL_KNOWN, 1), DATA, 0x0118),
    ],
)
def test_what_is_no_report_is_refused_and_nothing_is_kept(
    tmp_path: Path, request_: NEventReportRequest, raw: bytes, status: int
) -> None:
    told = Told()
    assert taker(tmp_path, told=told).take(INFO, request_, raw, EXPLICIT) == status
    assert ReportBox(tmp_path / "reports").is_empty()
    assert told.times == 0


def test_a_transaction_that_is_none_of_ours_is_an_invalid_argument(tmp_path: Path) -> None:
    asked: list[str] = []

    def knows(uid: str) -> bool:
        asked.append(uid)
        return False

    assert taker(tmp_path, knows).take(INFO, REQUEST, DATA, EXPLICIT) == 0x0115
    assert asked == ["2.25.7"]
    assert ReportBox(tmp_path / "reports").is_empty()


def test_a_report_beyond_the_number_that_may_wait_is_answered_with_resource_limitation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    monkeypatch.setattr(box_module, "MAX_WAITING", 0)
    assert taker(tmp_path, told=told).take(INFO, REQUEST, DATA, EXPLICIT) == 0x0213
    assert told.times == 0


@pytest.mark.parametrize("fails", ["sync_data", "sync_directory"])
def test_a_report_that_cannot_be_made_durable_is_a_processing_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    told = Told()
    monkeypatch.setattr(OperatingSystem, fails, broken)
    assert taker(tmp_path, told=told).take(INFO, REQUEST, DATA, EXPLICIT) == 0x0110
    assert told.times == 0


def test_a_report_beyond_the_bound_is_thrown_away_as_it_comes() -> None:
    called: list[bytes] = []

    def handler(_info: AssociationInfo, _request: NEventReportRequest, raw: bytes, _syntax: str) -> int:
        called.append(raw)
        return 0

    incoming = IncomingReport(handler, INFO, REQUEST, EXPLICIT)
    piece = memoryview(bytes(1 << 20))
    for _ in range(20):
        incoming.add([piece])
    assert incoming._incoming._buffer is None  # nothing of it is held
    response = incoming.finish()
    assert (response.status, response.message_id_being_responded_to, called) == (0x0213, 3, [])
    assert MAX_REPORT_BYTES < 20 << 20


def test_a_handler_that_fails_is_a_processing_failure() -> None:
    def broken(*_: object) -> int:
        raise RuntimeError

    incoming = IncomingReport(broken, INFO, REQUEST, EXPLICIT)
    incoming.add([memoryview(DATA)])
    assert incoming.finish().status == 0x0110


def decide(*syntaxes: str, role: RoleSelection | None, taken: bool = True):  # type: ignore[no-untyped-def]
    request = AssociateRequest(
        "RELAY",
        "ARCHIVE",
        "1.2.840.10008.3.1.1.1",
        (ProposedContext(1, PUSH, syntaxes),),
        UserInformation(roles=(role,) if role else ()),
    )
    accepted = answer(request, StorableClasses(), reports=(lambda *_: 0) if taken else None)
    return accepted.contexts[0], accepted.roles


def test_a_peer_that_comes_as_scp_is_granted_that_role() -> None:
    decision, roles = decide(IMPLICIT, EXPLICIT, role=RoleSelection(PUSH, scu=False, scp=True))
    assert (decision.result, decision.transfer_syntax) == (ContextResult.ACCEPTANCE, IMPLICIT)
    assert roles == [RoleSelection(PUSH, scu=False, scp=True)]


def test_a_peer_that_offers_both_roles_is_granted_scp_only() -> None:
    """We commit to nothing ourselves."""
    _, roles = decide(EXPLICIT, role=RoleSelection(PUSH, scu=True, scp=True))
    assert roles == [RoleSelection(PUSH, scu=False, scp=True)]


def test_a_peer_that_says_nothing_of_roles_may_report() -> None:
    decision, roles = decide(EXPLICIT, role=None)
    assert (decision.result, roles) == (ContextResult.ACCEPTANCE, [])


@pytest.mark.parametrize(
    ("role", "taken", "syntax", "result"),
    [
        (RoleSelection(PUSH, scu=True, scp=False), True, EXPLICIT, ContextResult.USER_REJECTION),
        (
            RoleSelection(PUSH, scu=False, scp=True),
            False,
            EXPLICIT,
            ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED,
        ),
        (None, True, "1.2.840.10008.1.2.2", ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED),
    ],
)
def test_who_asks_us_for_commitment_is_nobody_or_speaks_otherwise_is_not_accepted(
    role: RoleSelection | None, taken: bool, syntax: str, result: ContextResult
) -> None:
    decision, _ = decide(syntax, role=role, taken=taken)
    assert decision.result == result
