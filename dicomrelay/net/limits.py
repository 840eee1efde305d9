"""The limits and deadlines of both roles, with defaults that suit a hospital network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AcceptorLimits:
    """What a listener grants its peers.

    Attributes
    ----------
    max_associations, max_associations_per_peer : int
        Connections at once, in all and from one address; whoever is over is rejected for now (2, 3, 2).
    reserved_associations : int
        How many of `max_associations` are for addresses that the service knows; fewer than all.
    max_refusals : int
        Connections at once that are being rejected, for now or for good, without a thread, at some 20 KiB each; over
        that the one that waits longest is closed unheard. With `max_associations` under the usual 1,024 descriptors.
    max_pdu_bytes : int
        The maximum length we advertise (PS3.8 Annex D.1); a longer P-DATA-TF PDU aborts the association.
    association_timeout_s : float
        ARTIM: from the TCP connection to the whole A-ASSOCIATE-RQ, and from our last word to the peer's close.
    pdu_timeout_s : float
        From the first byte of a PDU to its last, between the PDUs of a message, and to send one.
    idle_timeout_s : float
        Between messages.
    linger_s : float
        How long at most we read on after our last word, so that it is not lost to a reset.
    """

    max_associations: int = 200
    max_associations_per_peer: int = 50
    reserved_associations: int = 0
    max_refusals: int = 512
    max_pdu_bytes: int = 262_144
    association_timeout_s: float = 30.0
    pdu_timeout_s: float = 60.0
    idle_timeout_s: float = 300.0
    linger_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a requestor waits.

    Attributes
    ----------
    connect_s : float
        For the TCP connection.
    association_s : float
        For the answer to A-ASSOCIATE-RQ.
    response_s : float
        For the response to a DIMSE request, once it is sent.
    pdu_s : float
        For the peer to take one PDU of ours, and for one of its own to be whole once it has begun.
    release_s : float
        For the answer to A-RELEASE-RQ.
    """

    connect_s: float = 10.0
    association_s: float = 30.0
    response_s: float = 300.0
    pdu_s: float = 60.0
    release_s: float = 10.0
