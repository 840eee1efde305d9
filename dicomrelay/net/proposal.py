"""What a requestor proposes, and what it reads out of the acceptance. No socket here.

An acceptor picks one transfer syntax of a context (PS3.7 Annex D.3.2), so a context for each keeps the choice ours.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dicomrelay.dicom.uids import (
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from dicomrelay.errors import ConfigurationError, RemoteProtocolError
from dicomrelay.ul.pdu import (
    AssociateAccept,
    AssociateRequest,
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from dicomrelay.ul.reader import MAX_CONTEXTS
from dicomrelay.ul.user_information import write_user_information

# We receive responses only, and C-GET will want more; one read of a response never fills this.
MAX_PDU_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class RemoteAe:
    """Another application entity: its title and where it listens."""

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a requestor asks for.

    Attributes
    ----------
    calling_ae_title : str
    contexts : sequence of (str, sequence of str)
        1 to 128 abstract syntaxes, each with the transfer syntaxes to offer.
    identity : UserIdentity, optional
    roles, extended, common_extended : sequence
        PS3.7 Annex D.3.3.4 to D.3.3.6.
    window : int
        Operations that we want to have outstanding, 0 (no limit) to 65,535. With 1 nothing is said, which means 1.
    """

    calling_ae_title: str
    contexts: Sequence[tuple[str, Sequence[str]]]
    identity: UserIdentity | None = None
    roles: Sequence[RoleSelection] = ()
    extended: Sequence[ExtendedNegotiation] = ()
    common_extended: Sequence[CommonExtendedNegotiation] = ()
    window: int = 1


@lru_cache(maxsize=2048)
def _context(context_id: int, abstract_syntax: str, transfer_syntaxes: tuple[str, ...]) -> ProposedContext:
    """The same are proposed again and again."""
    return ProposedContext(context_id, abstract_syntax, transfer_syntaxes)


def request_pdu(remote: RemoteAe, proposal: Proposal) -> AssociateRequest:
    """The A-ASSOCIATE-RQ, its contexts numbered 1, 3, 5 and so on.

    Raises
    ------
    ConfigurationError
        No context, more than 128, an AE title or a port that is none, or more information than its item holds.
    """
    contexts, window = proposal.contexts, proposal.window
    if not 0 < len(contexts) <= MAX_CONTEXTS:
        raise ConfigurationError(
            f"{len(contexts)} presentation contexts; an association takes 1 to {MAX_CONTEXTS}"
        )
    if not 0 < remote.port < 65_536:  # getaddrinfo would take it modulo 65536
        raise ConfigurationError(f"{remote}: a port is 1 to 65535")
    for title in (remote.ae_title, proposal.calling_ae_title):
        if not 0 < len(title) <= 16 or not title.isascii() or not title.isprintable():
            raise ConfigurationError(f"{title!r} is no AE title: 1 to 16 printable ASCII characters")
    if not 0 <= window <= 65_535:
        raise ConfigurationError(
            f"{remote}: {window} operations outstanding; the window is 0 (no limit) to 65535"
        )
    information = UserInformation(
        maximum_length=MAX_PDU_BYTES,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        # What the peer may invoke on us, sub-operations of C-GET, is one at a time.
        asynchronous_operations=None if window == 1 else AsynchronousOperations(window, 1),
        roles=tuple(proposal.roles),
        extended=tuple(proposal.extended),
        common_extended=tuple(proposal.common_extended),
        user_identity=proposal.identity,
    )
    _require_encodable(remote, information)
    return AssociateRequest(
        called_ae_title=remote.ae_title,
        calling_ae_title=proposal.calling_ae_title,
        application_context=APPLICATION_CONTEXT_NAME,
        contexts=tuple(
            _context(2 * index + 1, abstract_syntax, tuple(transfer_syntaxes))
            for index, (abstract_syntax, transfer_syntaxes) in enumerate(contexts)
        ),
        user_information=information,
    )


def _require_encodable(remote: RemoteAe, information: UserInformation) -> None:
    """Lengths of items are 16 bits, and UIDs are ASCII (PS3.8 Annex D.1); the values are not quoted, one is secret."""
    try:
        write_user_information(information)
    except struct.error as error:
        raise ConfigurationError(
            f"{remote}: roles, extended negotiation and user identity take more than 65535 bytes together"
        ) from error
    except UnicodeEncodeError:
        raise ConfigurationError(f"{remote}: a SOP class UID of the negotiation is no UID") from None


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What the peer has agreed to.

    Attributes
    ----------
    accepted : dict of (str, str) to int
        Abstract syntax and transfer syntax to the presentation context that carries them.
    roles : dict of str to (bool, bool)
        SOP class to our roles, (SCU, SCP), for each that one was proposed for. What the peer does not answer is the
        default, SCU alone (PS3.7 Annex D.3.3.4).
    extended : dict of str to bytes
        SOP class to service class application information, where it was proposed and answered.
    window : int
        Operations that we may have outstanding; 0 means any number.
    identity_response : bytes or None
        The server response; None when there was none.
    """

    accepted: dict[tuple[str, str], int]
    roles: dict[str, tuple[bool, bool]]
    extended: dict[str, bytes]
    window: int
    identity_response: bytes | None


def read_answer(request: AssociateRequest, answer: AssociateAccept) -> Negotiated:
    """What an A-ASSOCIATE-AC means for what was proposed.

    Raises
    ------
    RemoteProtocolError
        A presentation context or a transfer syntax that was not proposed. A larger window, a role that was not
        proposed, and answers about SOP classes that were not asked for grant nothing, and are passed over.
    """
    said, heard = request.user_information, answer.user_information
    asked = {each.sop_class_uid for each in said.extended}
    return Negotiated(
        accepted=accepted_contexts(request, answer),
        roles=_agreed_roles(said.roles, heard.roles),
        extended={
            each.sop_class_uid: each.application_information
            for each in heard.extended
            if each.sop_class_uid in asked
        },
        window=_agreed_window(said.asynchronous_operations, heard.asynchronous_operations),
        identity_response=heard.user_identity_response if said.user_identity is not None else None,
    )


def _agreed_roles(
    proposed: Sequence[RoleSelection], answered: Sequence[RoleSelection]
) -> dict[str, tuple[bool, bool]]:
    """PS3.7 Annex D.3.3.4: an answer about a role that was not proposed is ignored."""
    answers = {role.sop_class_uid: role for role in answered}
    agreed: dict[str, tuple[bool, bool]] = {}
    for role in proposed:
        answer = answers.get(role.sop_class_uid)
        if answer is None:
            agreed[role.sop_class_uid] = (True, False)
        else:
            agreed[role.sop_class_uid] = (role.scu and answer.scu, role.scp and answer.scp)
    return agreed


def _agreed_window(proposed: AsynchronousOperations | None, answered: AsynchronousOperations | None) -> int:
    if proposed is None or answered is None:
        return 1
    limits = [invoked for invoked in (proposed.invoked, answered.invoked) if invoked]
    return min(limits, default=0)


def accepted_contexts(request: AssociateRequest, answer: AssociateAccept) -> dict[tuple[str, str], int]:
    """Abstract syntax and transfer syntax to the presentation context that carries them.

    Raises
    ------
    RemoteProtocolError
        The answer is about something that was not proposed.
    """
    proposed = {context.context_id: context for context in request.contexts}
    accepted: dict[tuple[str, str], int] = {}
    for decision in answer.contexts:
        context_id, is_accepted, transfer_syntax = (
            decision.context_id,
            decision.result == 0,
            decision.transfer_syntax,
        )
        context = proposed.get(context_id)
        if context is None or (is_accepted and transfer_syntax not in context.transfer_syntaxes):
            raise RemoteProtocolError(
                f"presentation context {context_id} was not proposed so",
                section="PS3.8 Section 9.3.3.2",
            )
        if is_accepted:
            accepted.setdefault((context.abstract_syntax, transfer_syntax), context_id)
    return accepted
