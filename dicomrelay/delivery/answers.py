"""The words and the outcome of one instance: no I/O."""

from __future__ import annotations

from dicomrelay.delivery.values import Answer, Instance
from dicomrelay.dicom.sop_classes import sop_class_name
from dicomrelay.dicom.status import Outcome, c_store_outcome, status_name
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.service import StoreReply


def answer_of(
    instance: Instance, sent: StoreItem, reply: StoreReply, *, association_id: str, seconds: float
) -> Answer:
    """The peer answered."""
    return Answer(
        instance.key,
        c_store_outcome(reply.status),
        status=reply.status,
        words="" if reply.status == 0 else status_name(reply.status),
        comment=reply.comment,
        association_id=association_id,
        sent_bytes=sent.data_set_bytes,
        seconds=seconds,
        transfer_syntax_uid=sent.transfer_syntax_uid,
    )


def not_accepted(instance: Instance, association_id: str) -> Answer:
    """The peer accepted no presentation context for it."""
    item = instance.item
    syntax = transfer_syntax(item.transfer_syntax_uid).name
    return Answer(
        instance.key,
        Outcome.REFUSED,
        words=f"the peer does not accept {sop_class_name(item.sop_class_uid)} in {syntax}",
        association_id=association_id,
    )


def not_readable(instance: Instance, error: Exception) -> Answer:
    """Its file is at fault: for good when the bytes are gone or are others, else for now."""
    if isinstance(error, SpoolCorrupt):  # nowhere, or damaged: trying again will not bring it back
        return Answer(instance.key, Outcome.REFUSED, words=f"the bytes cannot be read: {error}")
    # this machine's trouble of the moment
    return Answer(instance.key, Outcome.RETRY, words=f"the bytes cannot be read now: {error}")
