"""What a peer may do: the rights of its entry, and what is refused to whom."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicomrelay.dicom.query_models import PATIENT_ROOT, STUDY_ROOT
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.settings import PeerSettings, QuerySettings
from dicomrelay.ul.pdu import (
    AssociateRequest,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserInformation,
)
from scp_gateway.admission import ALL_RIGHTS, Peers, Right
from scp_gateway.negotiation import Services, StorableClasses, answer
from scp_gateway.query.extended import agreement
from tests.support.data_sets import BIG_ENDIAN, CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, JPEG_LOSSLESS

SERVICES = Services(
    {STUDY_ROOT.find: Right.QUERY, PATIENT_ROOT.find: Right.QUERY},
    lambda _uid, asked: agreement(asked, QuerySettings()),
)


def _results(
    rights: frozenset[Right], *classes: str, information: UserInformation | None = None
) -> list[ContextResult]:
    contexts = tuple(ProposedContext(2 * n + 1, uid, (EXPLICIT, IMPLICIT)) for n, uid in enumerate(classes))
    request = AssociateRequest(
        "US", "PEER", "1.2.840.10008.3.1.1.1", contexts, information or UserInformation()
    )
    return [
        each.result for each in answer(request, StorableClasses(), rights=rights, services=SERVICES).contexts
    ]


def test_an_entry_may_store_unless_it_says_more() -> None:
    """As before there were rights: a modality does not see the archive because we were updated."""
    (entry,) = [Peers([PeerSettings(ae_title="CT")]).entry("CT", "10.0.0.1")]
    assert entry is not None
    assert entry.rights == {Right.STORE}


def test_without_entries_this_machine_may_do_everything() -> None:
    """It has the files themselves."""
    entry = Peers([]).entry("ANY", "127.0.0.1")
    assert entry is not None
    assert entry.rights == ALL_RIGHTS


def test_the_first_entry_that_fits_says_what_may_be_done() -> None:
    """Rights of several entries are not put together."""
    peers = Peers([PeerSettings(ae_title="WS*", rights=["query"]), PeerSettings(rights=["store"])])
    workstation, modality = peers.entry("WS1", "10.0.0.1"), peers.entry("CT", "10.0.0.1")
    assert workstation is not None
    assert modality is not None
    assert (workstation.rights, modality.rights) == ({Right.QUERY}, {Right.STORE})


def test_a_right_that_is_none_is_an_error() -> None:
    """It names what there is."""
    with pytest.raises(ValidationError, match="'get', 'commitment', 'worklist' or 'mpps'"):
        PeerSettings.model_validate({"rights": ["delete"]})


def test_a_context_without_a_right_is_a_user_rejection() -> None:
    """And the others of the association are accepted (PS3.8 Table 9-18)."""
    asked = (VERIFICATION, CT_IMAGE_STORAGE, STUDY_ROOT.find, PATIENT_ROOT.find)
    yes, no = ContextResult.ACCEPTANCE, ContextResult.USER_REJECTION
    assert _results(ALL_RIGHTS, *asked) == [yes, yes, yes, yes]
    assert _results(frozenset({Right.STORE}), *asked) == [yes, yes, no, no]
    assert _results(frozenset({Right.QUERY}), *asked) == [yes, no, yes, yes]
    assert _results(frozenset(), *asked) == [yes, no, no, no]


def test_what_nobody_serves_is_not_supported_whatever_the_rights() -> None:
    """Not a matter of rights: the worklist is not served."""
    unsupported = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    for rights in (ALL_RIGHTS, frozenset[Right]()):
        assert _results(rights, "1.2.840.10008.5.1.4.31") == [unsupported]


def test_a_query_is_in_a_plain_transfer_syntax() -> None:
    """The first that the peer names of those that identifiers come in."""
    contexts = (
        ProposedContext(1, STUDY_ROOT.find, (JPEG_LOSSLESS, BIG_ENDIAN, IMPLICIT, EXPLICIT)),
        ProposedContext(3, STUDY_ROOT.find, (BIG_ENDIAN,)),
    )
    request = AssociateRequest("US", "PEER", "1.2.840.10008.3.1.1.1", contexts, UserInformation())
    first, second = answer(request, StorableClasses(), services=SERVICES).contexts
    assert (first.result, first.transfer_syntax) == (ContextResult.ACCEPTANCE, IMPLICIT)
    assert second.result is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED


def test_we_are_scp_of_a_query() -> None:
    """A peer that comes as SCP alone is refused, and roles say what we are."""
    only_scp = UserInformation(roles=(RoleSelection(STUDY_ROOT.find, scu=False, scp=True),))
    assert _results(ALL_RIGHTS, STUDY_ROOT.find, information=only_scp) == [ContextResult.USER_REJECTION]
    both = UserInformation(roles=(RoleSelection(STUDY_ROOT.find, scu=True, scp=True),))
    context = ProposedContext(1, STUDY_ROOT.find, (EXPLICIT,))
    request = AssociateRequest("US", "PEER", "1.2.840.10008.3.1.1.1", (context,), both)
    assert answer(request, StorableClasses(), services=SERVICES).roles == [
        RoleSelection(STUDY_ROOT.find, scu=True, scp=False)
    ]


def test_extended_negotiation_is_answered_where_the_context_is_accepted() -> None:
    """Storage says what it always says, a query what it agrees on, one without a right nothing."""
    information = UserInformation(
        extended=(
            ExtendedNegotiation(STUDY_ROOT.find, b"\x01\x01\x01\x01"),
            ExtendedNegotiation(CT_IMAGE_STORAGE, b"\x02"),
        )
    )
    contexts = (
        ProposedContext(1, STUDY_ROOT.find, (EXPLICIT,)),
        ProposedContext(3, CT_IMAGE_STORAGE, (EXPLICIT,)),
    )
    request = AssociateRequest("US", "PEER", "1.2.840.10008.3.1.1.1", contexts, information)
    found = answer(request, StorableClasses(), services=SERVICES).extended
    assert [(each.sop_class_uid, each.application_information) for each in found] == [
        (STUDY_ROOT.find, b"\x01\x01\x01\x00"),
        (CT_IMAGE_STORAGE, bytes((2, 0, 3, 0, 0, 0))),
    ]
    stores = answer(request, StorableClasses(), rights=frozenset({Right.STORE}), services=SERVICES).extended
    assert [each.sop_class_uid for each in stores] == [CT_IMAGE_STORAGE]
