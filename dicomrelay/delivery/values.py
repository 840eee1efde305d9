"""What goes into a delivery and what comes out: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dicomrelay.dicom.status import Outcome
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.peer import RemotePeer
from dicomrelay.settings import TransferSyntaxPolicy
from dicomrelay.transcode import TranscodeLimits


@dataclass(frozen=True, slots=True)
class Target:
    """A peer, and what is agreed with it about deliveries.

    Attributes
    ----------
    peer : RemotePeer
    window : int
        Operations that may be outstanding at once, 1 to 65535 (PS3.7 Annex D.3.3.3); the peer may grant fewer.
    policy : TransferSyntaxPolicy
    copies : Path, optional
        Where copies are made; `LOSSLESS` without it is as `AS_IS`.
    limits : TranscodeLimits
        What a copy may cost.
    longest_pause_s : float
        How long an association is kept without a word while the next instance is prepared: shorter than the idle limit of
        any peer (30 to 60 s are usual).
    """

    peer: RemotePeer
    window: int = 1
    policy: TransferSyntaxPolicy = TransferSyntaxPolicy.AS_IS
    copies: Path | None = None
    limits: TranscodeLimits = field(default_factory=TranscodeLimits)
    longest_pause_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Instance:
    """Something to send.

    Attributes
    ----------
    key : str
        The caller's own; unique in a batch.
    item : StoreItem
        Its path is not looked at: `locate` says at the last moment where the file is.
    """

    key: str
    item: StoreItem


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one instance.

    Attributes
    ----------
    key : str
        The instance's.
    outcome : Outcome
    status : int, optional
        Of the C-STORE response; None when there was none.
    words : str
        Ours, for people and logs; "" when there is nothing to say.
    comment : str
        What the peer said of its own, Error Comment (0000,0902), which may name a patient, or more of an error on our side,
        which names no file: for the ledger and for whoever looks, not for a log.
    association_id : str
        "" when it did not come so far.
    sent_bytes : int
        Length of the data set that was sent; 0 when none was.
    seconds : float
        From when the association could take it up to its answer.
    transfer_syntax_uid : str
        Of what was sent; "" when nothing was.
    digest : str
        SHA-256 of the data set that was sent, hexadecimal, when it was a copy; "" when it was as is.
    """

    key: str
    outcome: Outcome
    status: int | None = None
    words: str = ""
    comment: str = ""
    association_id: str = ""
    sent_bytes: int = 0
    seconds: float = 0.0
    transfer_syntax_uid: str = ""
    digest: str = ""
