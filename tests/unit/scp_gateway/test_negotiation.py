"""Which presentation contexts are accepted."""

from __future__ import annotations

import pytest

from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.ul.pdu import (
    AssociateRequest,
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ContextDecision,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserInformation,
)
from scp_gateway.negotiation import STORAGE_SERVICE_CLASS, StorableClasses, answer
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, JPEG_LOSSLESS

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.3.6.1.4.1.9.9.9"


def request(contexts: list[ProposedContext], information: UserInformation | None = None) -> AssociateRequest:
    return AssociateRequest(
        "RELAY", "CT", "1.2.840.10008.3.1.1.1", tuple(contexts), information or UserInformation()
    )


def decide(
    abstract_syntax: str,
    *syntaxes: str,
    storable: StorableClasses | None = None,
    information: UserInformation | None = None,
    preferred: tuple[str, ...] | None = None,
) -> ContextDecision:
    context = ProposedContext(5, abstract_syntax, syntaxes)
    (decision,) = answer(
        request([context], information), storable or StorableClasses(), preferred=preferred
    ).contexts
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


@pytest.mark.parametrize(
    "storable",
    [StorableClasses(), StorableClasses(True), StorableClasses.of(["1.2.840.*"], accept_unknown=False)],
)
def test_a_class_that_stores_nothing_is_refused(storable: StorableClasses) -> None:
    """Result 3; a query is no unknown storage class, whatever the settings and whatever the peer says of it."""
    claim = UserInformation(
        common_extended=(
            CommonExtendedNegotiation(STUDY_ROOT_FIND, STORAGE_SERVICE_CLASS, (CT_IMAGE_STORAGE,)),
        )
    )
    decision = decide(STUDY_ROOT_FIND, IMPLICIT, storable=storable, information=claim)
    assert decision.result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("storable", "is_accepted"),
    [
        (StorableClasses(), False),
        (StorableClasses(accept_unknown=True), True),
        (StorableClasses.of([PRIVATE], accept_unknown=False), True),
        (StorableClasses.of(["1.3.6.1.4.1.9.*"], accept_unknown=False), True),
        (StorableClasses.of(["1.3.6.1.4.1.9"], accept_unknown=False), False),
        (StorableClasses.of(["1.3.6.1.4.1.8.*"], accept_unknown=False), False),
    ],
)
def test_private_classes_are_accepted_by_setting_only(storable: StorableClasses, is_accepted: bool) -> None:
    """gateway.accept_unknown_sop_classes and gateway.private_sop_classes."""
    assert decide(PRIVATE, IMPLICIT, storable=storable).is_accepted == is_accepted


@pytest.mark.parametrize(
    ("service_class", "related", "is_accepted"),
    [
        (STORAGE_SERVICE_CLASS, (CT_IMAGE_STORAGE,), True),
        (STORAGE_SERVICE_CLASS, (PRIVATE, CT_IMAGE_STORAGE), True),
        (STORAGE_SERVICE_CLASS, (), False),
        (STORAGE_SERVICE_CLASS, (PRIVATE,), False),
        ("1.2.840.10008.4.1", (CT_IMAGE_STORAGE,), False),
    ],
)
def test_a_special_class_of_a_general_one_that_we_store_is_stored(
    service_class: str, related: tuple[str, ...], is_accepted: bool
) -> None:
    """PS3.4 Section B.4.1.2."""
    claim = UserInformation(common_extended=(CommonExtendedNegotiation(PRIVATE, service_class, related),))
    assert decide(PRIVATE, IMPLICIT, information=claim).is_accepted == is_accepted


def test_a_preference_is_an_order_and_a_limit() -> None:
    """What the list does not hold is refused; C-ECHO has no data set to be particular about."""
    assert decide(CT_IMAGE_STORAGE, JPEG_LOSSLESS, IMPLICIT, EXPLICIT, preferred=(EXPLICIT, IMPLICIT)) == (
        ContextDecision(5, ContextResult.ACCEPTANCE, EXPLICIT)
    )
    refused = decide(CT_IMAGE_STORAGE, JPEG_LOSSLESS, preferred=(EXPLICIT, IMPLICIT))
    assert refused.result == ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    assert decide(VERIFICATION, IMPLICIT, preferred=(EXPLICIT,)).is_accepted


def test_each_context_is_answered_in_order() -> None:
    """128 of them, each by its own id."""
    proposed = [ProposedContext(n, CT_IMAGE_STORAGE, (IMPLICIT,)) for n in range(1, 256, 2)]
    answered = answer(request(proposed), StorableClasses()).contexts
    assert [each.context_id for each in answered] == list(range(1, 256, 2))


@pytest.mark.parametrize(
    ("proposed", "granted", "result"),
    [
        ((True, False), (True, False), ContextResult.ACCEPTANCE),
        ((True, True), (True, False), ContextResult.ACCEPTANCE),
        ((False, True), (False, False), ContextResult.USER_REJECTION),
    ],
)
def test_every_proposed_role_is_answered(
    proposed: tuple[bool, bool], granted: tuple[bool, bool], result: ContextResult
) -> None:
    """We are SCP only; what was not proposed is never granted (PS3.7 Annex D.3.3.4)."""
    information = UserInformation(
        roles=(RoleSelection(CT_IMAGE_STORAGE, *proposed), RoleSelection(PRIVATE, True, True))
    )
    contexts = [ProposedContext(1, CT_IMAGE_STORAGE, (IMPLICIT,)), ProposedContext(3, PRIVATE, (IMPLICIT,))]
    answered = answer(request(contexts, information), StorableClasses())
    assert answered.contexts[0].result == result
    assert {(role.sop_class_uid, role.scu, role.scp) for role in answered.roles} == {
        (CT_IMAGE_STORAGE, *granted),
        (PRIVATE, False, False),
    }


def test_extended_negotiation_of_what_is_stored_says_that_every_bit_is_kept() -> None:
    """PS3.4 Table B.3-2: level 2, signatures level 3, no coercion; nothing about other classes."""
    information = UserInformation(
        extended=(
            ExtendedNegotiation(CT_IMAGE_STORAGE, b"\2\0\0\0\0\0"),
            ExtendedNegotiation(STUDY_ROOT_FIND, b"\1"),
        )
    )
    contexts = [
        ProposedContext(1, CT_IMAGE_STORAGE, (IMPLICIT,)),
        ProposedContext(3, STUDY_ROOT_FIND, (IMPLICIT,)),
    ]
    answered = answer(request(contexts, information), StorableClasses())
    assert answered.extended == [ExtendedNegotiation(CT_IMAGE_STORAGE, bytes.fromhex("020003000000"))]


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, None),
        (AsynchronousOperations(1, 1), AsynchronousOperations(1, 1)),
        (AsynchronousOperations(8, 4), AsynchronousOperations(8, 1)),
        (AsynchronousOperations(99, 0), AsynchronousOperations(32, 1)),
        (AsynchronousOperations(0, 0), AsynchronousOperations(32, 1)),
    ],
)
def test_the_window_is_what_they_ask_up_to_ours(
    asked: AsynchronousOperations | None, granted: AsynchronousOperations | None
) -> None:
    """0 is no limit, and we have one (PS3.7 Annex D.3.3.3)."""
    contexts = [ProposedContext(1, CT_IMAGE_STORAGE, (IMPLICIT,))]
    information = UserInformation(asynchronous_operations=asked)
    assert answer(request(contexts, information), StorableClasses(), max_outstanding=32).window == granted
