"""What became of one instance, judged by the one table (docs/design/outcomes.md). No I/O."""

from __future__ import annotations

from dicomrelay.delivery.values import Answer, Instance
from dicomrelay.dicom.sop_classes import sop_class_name
from dicomrelay.dicom.status import Outcome
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import RelayError
from dicomrelay.net.outcomes import judge
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.service import StoreReply


def answer_of(
    instance: Instance, sent: StoreItem, reply: StoreReply, *, association_id: str, seconds: float
) -> Answer:
    """The peer answered."""
    verdict = judge(reply)
    return Answer(
        instance.key,
        verdict.outcome,
        status=reply.status,
        words="" if verdict.outcome is Outcome.DELIVERED else verdict.name,
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


def not_readable(instance: Instance, error: RelayError | OSError) -> Answer:
    """Its file is at fault: for good when the bytes are gone or are others, else for now."""
    verdict = judge(error)
    # The error names the file, whose name may be a patient's.
    return Answer(instance.key, verdict.outcome, words=verdict.name, comment=str(error))
