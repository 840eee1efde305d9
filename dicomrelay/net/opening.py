"""How an association of ours comes about: TCP, TLS, the A-ASSOCIATE-RQ and what the peer answers to it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import Final

from dicomrelay.errors import AssociationRejected, IdentityNotConfirmed, PeerUnreachable
from dicomrelay.net.endings import Endings
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.proposal import (
    MAX_PDU_BYTES,
    Negotiated,
    Proposal,
    RemoteAe,
    read_answer,
    request_pdu,
)
from dicomrelay.net.service import TlsFacts
from dicomrelay.net.tls_transport import TlsTransport
from dicomrelay.net.transport import Transport, Waits
from dicomrelay.ul.connection import Connection
from dicomrelay.ul.pdu import AssociateAccept, AssociateReject, AssociateRequest
from dicomrelay.ul.reasons import rejection_in_words

_RECEIVE_BUFFER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Opened:
    """An association that has come about.

    Attributes
    ----------
    tls : TlsFacts or None
        What TLS was agreed on; None without.
    """

    transport: Transport
    endings: Endings
    agreed: Negotiated
    tls: TlsFacts | None


def open_association(
    remote: RemoteAe, proposal: Proposal, timeouts: Timeouts, tls: ssl.SSLContext | None
) -> Opened:
    """Connect and negotiate; when that fails nothing is left open.

    Raises
    ------
    PeerUnreachable, TlsFailed, AssociationError, ConfigurationError
        See `Association.request`.
    """
    wanted = request_pdu(remote, proposal)
    connection = Connection(max_pdu_bytes=MAX_PDU_BYTES, receive_buffer_bytes=_RECEIVE_BUFFER_BYTES)
    connection.associate(wanted)
    transport = Transport(
        _connected(remote, timeouts.connect_s),
        connection,
        Waits(timeouts.pdu_s, min(timeouts.association_s, timeouts.response_s, timeouts.release_s)),
    )
    facts = None
    if tls is not None:
        transport, facts = _secured(transport, tls, remote, timeouts)
    endings = Endings(remote, transport, is_tls=tls is not None)
    agreed = endings.guarded(_agree, remote, transport, endings, wanted, timeouts)
    return Opened(transport, endings, agreed, facts)


def _connected(remote: RemoteAe, timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection((remote.host, remote.port), timeout=timeout_s)
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PeerUnreachable(f"cannot connect to {remote}: {reason}") from error
    except UnicodeError as error:  # of the IDNA codec, before anything is looked up
        raise PeerUnreachable(
            f"cannot connect to {remote}: that is no host name, its parts have 1 to 63 characters"
        ) from error


def _secured(
    plain: Transport, context: ssl.SSLContext, remote: RemoteAe, timeouts: Timeouts
) -> tuple[TlsTransport, TlsFacts]:
    """The same connection under TLS; closed when there is none."""
    transport = plain
    try:
        transport = secured = TlsTransport(plain, context, server_hostname=remote.host, peer=str(remote))
        return secured, secured.handshake(monotonic() + timeouts.association_s, "association")
    except BaseException:
        transport.close()
        raise


def _agree(
    remote: RemoteAe, transport: Transport, endings: Endings, wanted: AssociateRequest, timeouts: Timeouts
) -> Negotiated:
    """Ask, and read the answer (PS3.8 Section 7.1)."""
    transport.send(transport.connection.transport_connected())
    answer = transport.wait_event(monotonic() + timeouts.association_s, "association")
    if isinstance(answer, AssociateReject):
        raise AssociationRejected(
            f"{remote} rejected the association: {rejection_in_words(answer)}",
            result=answer.result,
            source=answer.source,
            reason=answer.reason,
        )
    if not isinstance(answer, AssociateAccept):
        raise endings.of(answer)
    agreed = read_answer(wanted, answer)
    identity = wanted.user_information.user_identity
    if identity is not None and identity.response_requested and agreed.identity_response is None:
        raise IdentityNotConfirmed(f"{remote} accepted the association and did not confirm the user identity")
    return agreed
