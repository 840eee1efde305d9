"""What a requestor proposes, and what it reads out of the acceptance. No socket here.

An acceptor picks one transfer syntax of a context (PS3.7 Annex D.3.2), so a context for each keeps the choice ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.dicom.uids import (
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from dicomrelay.errors import ConfigurationError, RemoteProtocolError
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.ul.pdu import AssociateAccept, AssociateRequest, ProposedContext, UserInformation
from dicomrelay.ul.reader import MAX_CONTEXTS

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


def contexts_for(items: Iterable[StoreItem]) -> list[list[tuple[str, tuple[str, ...]]]]:
    """The presentation contexts to propose for these instances, one transfer syntax a context.

    In the order of first need; several lists when one association cannot carry them (128 contexts).
    """
    wanted = list(dict.fromkeys((item.sop_class_uid, item.transfer_syntax_uid) for item in items))
    contexts: list[tuple[str, tuple[str, ...]]] = [(sop_class, (syntax,)) for sop_class, syntax in wanted]
    return [contexts[begin : begin + MAX_CONTEXTS] for begin in range(0, len(contexts), MAX_CONTEXTS)]


def request_pdu(
    remote: RemoteAe, calling_ae_title: str, contexts: Sequence[tuple[str, Sequence[str]]]
) -> AssociateRequest:
    """The A-ASSOCIATE-RQ, its contexts numbered 1, 3, 5 and so on.

    Raises
    ------
    ConfigurationError
        No context, more than 128, or an AE title or a port that is none.
    """
    if not 0 < len(contexts) <= MAX_CONTEXTS:
        raise ConfigurationError(
            f"{len(contexts)} presentation contexts; an association takes 1 to {MAX_CONTEXTS}"
        )
    if not 0 < remote.port < 65_536:  # getaddrinfo would take it modulo 65536
        raise ConfigurationError(f"{remote}: a port is 1 to 65535")
    for title in (remote.ae_title, calling_ae_title):
        if not 0 < len(title) <= 16 or not title.isascii() or not title.isprintable():
            raise ConfigurationError(f"{title!r} is no AE title: 1 to 16 printable ASCII characters")
    return AssociateRequest(
        called_ae_title=remote.ae_title,
        calling_ae_title=calling_ae_title,
        application_context=APPLICATION_CONTEXT_NAME,
        contexts=tuple(
            ProposedContext(2 * index + 1, abstract_syntax, tuple(transfer_syntaxes))
            for index, (abstract_syntax, transfer_syntaxes) in enumerate(contexts)
        ),
        user_information=UserInformation(
            maximum_length=MAX_PDU_BYTES,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        ),
    )


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
        context = proposed.get(decision.context_id)
        if context is None or (
            decision.is_accepted and decision.transfer_syntax not in context.transfer_syntaxes
        ):
            raise RemoteProtocolError(
                f"presentation context {decision.context_id} was not proposed so",
                section="PS3.8 Section 9.3.3.2",
            )
        if decision.is_accepted:
            accepted.setdefault((context.abstract_syntax, decision.transfer_syntax), decision.context_id)
    return accepted
