"""What an A-ASSOCIATE-RQ is answered, item by item. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomrelay.dicom.commitment import STORAGE_COMMITMENT_PUSH_MODEL
from dicomrelay.dicom.sop_classes import is_storage_sop_class, sop_class_name
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntaxes
from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.dimse.commitment import COMMITMENT_TRANSFER_SYNTAXES
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.net.service import Acceptance, ReportHandler
from dicomrelay.ul.pdu import (
    AssociateRequest,
    AsynchronousOperations,
    ContextDecision,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserInformation,
)
from scp_gateway.admission import ALL_RIGHTS, Right

STORAGE_SERVICE_CLASS: Final = "1.2.840.10008.4.2"
# Level 2 (full), digital signatures level 3 (bits are preserved), no coercion (PS3.4 Table B.3-2).
STORAGE_SUPPORT: Final = bytes((2, 0, 3, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class StorableClasses:
    """Which SOP classes are stored.

    Attributes
    ----------
    accept_unknown : bool
        Whether those are that the standard does not know.
    private : tuple of patterns
        Of UIDs that are though the standard does not know them.
    """

    accept_unknown: bool = False
    private: tuple[Wildcards, ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[str], *, accept_unknown: bool) -> StorableClasses:
        """From the settings: UIDs with * and ? as wildcards."""
        return cls(accept_unknown, tuple(map(Wildcards, patterns)))

    def stores(self, sop_class_uid: str) -> bool:
        """Whether objects of that SOP class are stored whatever the peer says of it."""
        if is_storage_sop_class(sop_class_uid):
            return True
        return is_unknown(sop_class_uid) and (
            self.accept_unknown or any(pattern.matches(sop_class_uid) for pattern in self.private)
        )

    def specialised(self, information: UserInformation) -> frozenset[str]:
        """The unknown SOP classes that the peer says are storage, of a general one that is stored.

        PS3.4 Section B.4.1.2: a Level 2 SCP may accept them.
        """
        return frozenset(
            each.sop_class_uid
            for each in information.common_extended
            if each.service_class_uid == STORAGE_SERVICE_CLASS
            and is_unknown(each.sop_class_uid)
            and any(map(self.stores, each.related_general_sop_class_uids))
        )


def _no_answer(_sop_class_uid: str, _asked: bytes) -> None:
    """No extended negotiation."""


@dataclass(frozen=True, slots=True)
class Services:
    """What is served beyond storing.

    Attributes
    ----------
    classes : mapping
        SOP classes, each with the right that it needs.
    extended : callable
        Gives the answer to the extended negotiation of one; None for none.
    """

    classes: Mapping[str, Right] = field(default_factory=dict)
    extended: Callable[[str, bytes], bytes | None] = _no_answer


NO_SERVICES: Final = Services()


def is_unknown(sop_class_uid: str) -> bool:
    """Whether the standard has nothing of that UID: a query is no unknown storage class."""
    return sop_class_name(sop_class_uid) == sop_class_uid and sop_class_uid not in UID_DICTIONARY


def answer(
    request: AssociateRequest,
    storable: StorableClasses,
    *,
    preferred: Sequence[str] | None = None,
    max_outstanding: int = 1,
    identity_response: bytes | None = None,
    reports: ReportHandler | None = None,
    rights: frozenset[Right] = ALL_RIGHTS,
    services: Services = NO_SERVICES,
) -> Acceptance:
    """What a request is accepted with.

    Parameters
    ----------
    preferred : sequence of str, optional
        Transfer syntaxes that are accepted, the best first; None for all, in the requestor's order.
    max_outstanding : int
        Operations that a peer may have outstanding, 1 or more.
    reports : callable, optional
        Takes the reports of a peer that was asked for storage commitment; None for any other peer.
    rights : frozenset of Right
        What the peer may do: a context for anything else is a user rejection.
    services : Services
        What is served beyond storing.
    """
    information = request.user_information
    roles = {role.sop_class_uid: role for role in reversed(information.roles)}
    specialised = storable.specialised(information)
    may_store = Right.STORE in rights
    may_get = Right.GET in rights and any(
        services.classes.get(context.abstract_syntax) is Right.GET for context in request.contexts
    )
    commits = Right.COMMITMENT in rights and STORAGE_COMMITMENT_PUSH_MODEL in services.classes
    contexts = [
        _commitment(context, roles.get(context.abstract_syntax), reports=reports is not None, commits=commits)
        if context.abstract_syntax == STORAGE_COMMITMENT_PUSH_MODEL and (reports is not None or commits)
        else _service(context, roles.get(context.abstract_syntax), services, rights)
        if context.abstract_syntax in services.classes
        else _decision(
            context,
            may_store=may_store,
            may_get=may_get,
            is_served=context.abstract_syntax in specialised
            or context.abstract_syntax == VERIFICATION
            or storable.stores(context.abstract_syntax),
            role=roles.get(context.abstract_syntax),
            preferred=preferred,
        )
        for context in request.contexts
    ]
    accepted = {
        context.abstract_syntax
        for context, decision in zip(request.contexts, contexts, strict=True)
        if decision.is_accepted
    }

    def may_be(uid: str) -> tuple[bool, bool]:
        if uid == STORAGE_COMMITMENT_PUSH_MODEL:
            return commits, reports is not None
        if uid == VERIFICATION or uid in services.classes:
            return True, False
        return may_store, may_get

    return Acceptance(
        contexts=contexts,
        roles=[_agreed(role, uid in accepted, *may_be(uid)) for uid, role in roles.items()],
        extended=list(_extended(information, accepted, services)),
        window=_window(information.asynchronous_operations, max_outstanding),
        identity_response=identity_response,
        reports=reports,
    )


def _agreed(role: RoleSelection, is_accepted: bool, may_be_scu: bool, may_be_scp: bool) -> RoleSelection:
    """What of a proposed role is agreed on."""
    return RoleSelection(
        role.sop_class_uid,
        scu=role.scu and is_accepted and may_be_scu,
        scp=role.scp and is_accepted and may_be_scp,
    )


def _commitment(
    context: ProposedContext, role: RoleSelection | None, *, reports: bool, commits: bool
) -> ContextDecision:
    """For a peer that comes as SCP to report (PS3.4 Section J.3.3.1.3), as SCU to ask, or that says nothing of roles."""
    if role is not None and not (role.scp and reports) and not (role.scu and commits):
        return ContextDecision(context.context_id, ContextResult.USER_REJECTION)
    chosen = next((uid for uid in context.transfer_syntaxes if uid in COMMITMENT_TRANSFER_SYNTAXES), None)
    if chosen is None:
        return ContextDecision(context.context_id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return ContextDecision(context.context_id, ContextResult.ACCEPTANCE, chosen)


def _service(
    context: ProposedContext, role: RoleSelection | None, services: Services, rights: frozenset[Right]
) -> ContextDecision:
    """For a peer that asks as SCU, and may."""
    if services.classes[context.abstract_syntax] not in rights or (role is not None and not role.scu):
        return ContextDecision(context.context_id, ContextResult.USER_REJECTION)
    chosen = next((uid for uid in context.transfer_syntaxes if uid in IDENTIFIER_TRANSFER_SYNTAXES), None)
    if chosen is None:
        return ContextDecision(context.context_id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return ContextDecision(context.context_id, ContextResult.ACCEPTANCE, chosen)


def _extended(
    information: UserInformation, accepted: Collection[str], services: Services
) -> Iterator[ExtendedNegotiation]:
    """The first of each SOP class is answered."""
    asked = {each.sop_class_uid: each.application_information for each in reversed(information.extended)}
    for uid in dict.fromkeys(each.sop_class_uid for each in information.extended):
        if uid not in accepted or uid in (VERIFICATION, STORAGE_COMMITMENT_PUSH_MODEL):
            continue
        answered = services.extended(uid, asked[uid]) if uid in services.classes else STORAGE_SUPPORT
        if answered is not None:
            yield ExtendedNegotiation(uid, answered)


def _decision(
    context: ProposedContext,
    *,
    may_store: bool,
    may_get: bool,
    is_served: bool,
    role: RoleSelection | None,
    preferred: Sequence[str] | None,
) -> ContextDecision:
    if not is_served:
        return ContextDecision(context.context_id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    is_echo = context.abstract_syntax == VERIFICATION
    # We send on an association that we did not ask for only what a C-GET asks for (PS3.7 Annex D.3.3.4).
    takes = role is not None and role.scp and may_get and not is_echo
    gives = (role is None or role.scu) and (may_store or is_echo)
    if not takes and not gives:
        return ContextDecision(context.context_id, ContextResult.USER_REJECTION)
    chosen = next(_candidates(context, preferred), None)
    if takes and preferred is None and EXPLICIT_VR_LITTLE_ENDIAN in context.transfer_syntaxes:
        chosen = EXPLICIT_VR_LITTLE_ENDIAN  # what most instances are kept in: the fewest have to be changed
    if chosen is None:
        return ContextDecision(context.context_id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return ContextDecision(context.context_id, ContextResult.ACCEPTANCE, chosen)


def _candidates(context: ProposedContext, preferred: Sequence[str] | None) -> Iterator[str]:
    # C-ECHO has no data set: a preference among transfer syntaxes is about something else.
    if preferred is not None and context.abstract_syntax != VERIFICATION:
        return (uid for uid in preferred if uid in context.transfer_syntaxes)
    known = transfer_syntaxes()
    return (uid for uid in context.transfer_syntaxes if uid in known)


def _window(asked: AsynchronousOperations | None, max_outstanding: int) -> AsynchronousOperations | None:
    """What they may invoke, and the one operation that we may (PS3.7 Annex D.3.3.3); we invoke none."""
    if asked is None:
        return None
    return AsynchronousOperations(min(asked.invoked or max_outstanding, max_outstanding), 1)
