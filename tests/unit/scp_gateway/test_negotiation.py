"""Which presentation contexts are accepted."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.ul.pdu import ContextDecision, ContextResult, ProposedContext
from scp_gateway.negotiation import decide_contexts
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, JPEG_LOSSLESS

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.3.6.1.4.1.9.9.9"


def decide(abstract_syntax: str, *syntaxes: str, accept_unknown: bool = False) -> ContextDecision:
    context = ProposedContext(5, abstract_syntax, syntaxes)
    (decision,) = decide_contexts([context], accept_unknown=accept_unknown)
    assert decision.context_id == 5
    return decision


@pytest.mark.parametrize("uid", [VERIFICATION, *storage_sop_classes()])
def test_verification_and_every_storage_class_are_accepted(uid: str) -> None:
    """Retired ones too: old modalities send them."""
    assert decide(uid, IMPLICIT) == ContextDecision(5, ContextResult.ACCEPTANCE, IMPLICIT)


@pytest.mark.parametrize("syntax", transfer_syntaxes())
def test_every_transfer_syntax_of_the_registry_is_accepted(syntax: str) -> None:
    """We keep bytes; whoever reads them needs the codec."""
    assert decide(CT_IMAGE_STORAGE, syntax).transfer_syntax == syntax


def test_the_first_known_transfer_syntax_of_the_requestor_is_chosen() -> None:
    """It knows what its files are in."""
    assert decide(CT_IMAGE_STORAGE, JPEG_LOSSLESS, EXPLICIT, IMPLICIT).transfer_syntax == JPEG_LOSSLESS
    assert decide(CT_IMAGE_STORAGE, PRIVATE, EXPLICIT, IMPLICIT).transfer_syntax == EXPLICIT


def test_unknown_transfer_syntaxes_alone_are_refused() -> None:
    """Result 4 (PS3.8 Table 9-18)."""
    assert decide(CT_IMAGE_STORAGE, PRIVATE).result == ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED


@pytest.mark.parametrize("accept_unknown", [False, True])
def test_a_class_that_stores_nothing_is_refused(accept_unknown: bool) -> None:
    """Result 3; a query is no unknown storage class, whatever the setting."""
    decision = decide(STUDY_ROOT_FIND, IMPLICIT, accept_unknown=accept_unknown)
    assert decision.result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


def test_private_classes_are_accepted_by_setting_only() -> None:
    """gateway.accept_unknown_sop_classes."""
    assert decide(PRIVATE, IMPLICIT).result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    assert decide(PRIVATE, IMPLICIT, accept_unknown=True).is_accepted


def test_each_context_is_answered_in_order() -> None:
    """128 of them, each by its own id."""
    proposed = [ProposedContext(n, CT_IMAGE_STORAGE, (IMPLICIT,)) for n in range(1, 256, 2)]
    assert [each.context_id for each in decide_contexts(proposed, accept_unknown=False)] == list(
        range(1, 256, 2)
    )
