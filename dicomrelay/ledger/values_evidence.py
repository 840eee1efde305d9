"""What evidence wants to know of an attempt beside its outcome. No SQL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SentFacts:
    """What went out, between whom, and when.

    Parameters
    ----------
    transfer_syntax_uid : str
        Of what was sent; "" when nothing was.
    digest : str
        SHA-256 of the data set that was sent, hexadecimal, when it was a copy; "" for the bytes that arrived.
    calling_ae_title, called_ae_title : str
        Ours and the peer's.
    address : str
        `host:port` of the peer.
    words : str
        Ours, on why it was not delivered. Never the peer's: they may name a patient.
    ago_ms : int
        How long the answer is known when it is recorded, 0 or more: hosts need not agree on the time.
    protocol : str
        How it went; "" for C-STORE.
    edits : str
        The profiles that changed what was sent, with their versions; "" when none did.
    sop_instance_uid : str
        Of what was sent, where that is another than the instance's.
    http_status : int, optional
        Of the answer, where it went over the web.
    """

    transfer_syntax_uid: str = ""
    digest: str = ""
    calling_ae_title: str = ""
    called_ae_title: str = ""
    address: str = ""
    words: str = ""
    ago_ms: int = 0
    protocol: str = ""
    edits: str = ""
    sop_instance_uid: str = ""
    http_status: int | None = None
