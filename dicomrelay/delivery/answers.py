"""What became of one instance, judged by the one table (docs/design/outcomes.md). No I/O."""

from __future__ import annotations

from dicomrelay.delivery.values import Answer, Instance
from dicomrelay.dicom.sop_classes import sop_class_name
from dicomrelay.dicom.status import Outcome
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import NotEditable, NotTranscodable, RelayError
from dicomrelay.net.outcomes import judge
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.service import StoreReply


def answer_of(
    instance: Instance,
    sent: StoreItem,
    reply: StoreReply,
    *,
    association_id: str,
    seconds: float,
    digest: str = "",
    edits: str = "",
) -> Answer:
    """The peer answered; `digest` is that of a copy, when one was sent, and `edits` the profiles that it is by."""
    verdict = judge(reply)
    words = "" if verdict.outcome is Outcome.DELIVERED else verdict.name
    if digest:
        words = "; ".join(filter(None, (words, _copy_in_words(instance.item, sent, digest, edits))))
    return Answer(
        instance.key,
        verdict.outcome,
        status=reply.status,
        words=words,
        comment=reply.comment,
        association_id=association_id,
        sent_bytes=sent.data_set_bytes,
        seconds=seconds,
        transfer_syntax_uid=sent.transfer_syntax_uid,
        digest=digest,
        edits=edits,
        sop_instance_uid=other_uid(instance.item, sent),
    )


def other_uid(item: StoreItem, sent: StoreItem) -> str:
    """The SOP Instance UID of what was sent, where it is another than that of what arrived."""
    return sent.sop_instance_uid if sent.sop_instance_uid != item.sop_instance_uid else ""


def _copy_in_words(item: StoreItem, sent: StoreItem, digest: str, edits: str) -> str:
    was, became = (transfer_syntax(each.transfer_syntax_uid).name for each in (item, sent))
    if not edits:
        return f"sent in {became}, changed without loss from {was}, SHA-256 {digest}"
    # Its digest stands beside it, and would make of each instance another step in a trace.
    changed = f", sent in {became}, changed without loss from {was}" if was != became else ""
    return f"edited by {edits}{changed}"


def not_accepted(
    instance: Instance, association_id: str, *, offered: int = 0, may_copy: bool = False
) -> Answer:
    """The peer accepted no presentation context for it, nor any of so many alternatives that were offered.

    Parameters
    ----------
    may_copy : bool
        Whether a copy in another transfer syntax is allowed at all.
    """
    words = _does_not_accept(instance)
    if offered:
        words += " nor in any transfer syntax that it can be changed to without loss"
    elif may_copy:
        words += ", and it can be changed to no other without loss: it is video, or nothing here decodes it"
    else:
        words += "; a copy in another is not allowed (transfer_syntax_policy, or --transcode with --direct)"
    return Answer(instance.key, Outcome.REFUSED, words=words, association_id=association_id)


def not_transcodable(instance: Instance, error: NotTranscodable, association_id: str) -> Answer:
    """The peer would take it in another transfer syntax, and no copy can be made."""
    words = f"{_does_not_accept(instance)}, and it cannot be changed without loss: {error}"
    return Answer(instance.key, _outcome(error), words=words, association_id=association_id)


def _outcome(error: NotTranscodable) -> Outcome:
    """What was not done in time, on a machine that has much to do, may be done the next time."""
    return Outcome.RETRY if error.retryable else Outcome.REFUSED


def _does_not_accept(instance: Instance) -> str:
    item = instance.item
    syntax = transfer_syntax(item.transfer_syntax_uid).name
    return f"the peer does not accept {sop_class_name(item.sop_class_uid)} in {syntax}"


def not_readable(instance: Instance, error: RelayError | OSError) -> Answer:
    """Its file is at fault: for good when the bytes are gone or are others, or a profile cannot be applied, else for now."""
    if isinstance(error, NotEditable):
        words = f"not sent, the profile cannot be applied: {error}"
        return Answer(instance.key, _outcome(error), words=words)
    verdict = judge(error)
    # An error of the system names the file, and folders of an archive are named after patients.
    comment = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return Answer(instance.key, verdict.outcome, words=verdict.name, comment=comment)
