"""What goes into a delivery and what comes out: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dicomrelay.dicom.status import Outcome
from dicomrelay.edits import Profile
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.peer import RemotePeer
from dicomrelay.settings import TransferSyntaxPolicy
from dicomrelay.transcode import TranscodeLimits
from dicomrelay.web.values import WebPeer


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
    edits : tuple of Profile
        For all that goes there; without `copies` nothing goes.
    web : WebPeer, optional
        Where STOW-RS goes to in place of C-STORE; `peer` is then a name for it, and no association is opened.
    """

    peer: RemotePeer
    window: int = 1
    policy: TransferSyntaxPolicy = TransferSyntaxPolicy.AS_IS
    copies: Path | None = None
    limits: TranscodeLimits = field(default_factory=TranscodeLimits)
    longest_pause_s: float = 5.0
    edits: tuple[Profile, ...] = ()
    web: WebPeer | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """Something to send.

    Attributes
    ----------
    key : str
        The caller's own; unique in a batch.
    item : StoreItem
        Its path is not looked at: `locate` says at the last moment where the file is.
    edits : tuple of Profile
        What is changed in a copy of it, before that which the target asks for.
    at_ms : int
        When it came, epoch milliseconds, for what such a copy says of itself; 0 for when its file was written.
    """

    key: str
    item: StoreItem
    edits: tuple[Profile, ...] = ()
    at_ms: int = 0


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
    edits : str
        The profiles that changed what was sent, with their versions; "" when none did.
    sop_instance_uid : str
        Of what was sent, where that is another than the instance's.
    http_status : int, optional
        Of the answer that it stood in, when it went by STOW-RS; `status` is then what the store response says of it.
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
    edits: str = ""
    sop_instance_uid: str = ""
    http_status: int | None = None
