"""Sends a batch of instances to one peer over one association after another, or by STOW-RS, and says what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from dicomrelay.delivery.contexts import Alternatives, grouped, nothing_else
from dicomrelay.delivery.editing import EditBench
from dicomrelay.delivery.preparing import Preparation
from dicomrelay.delivery.sending import Sending
from dicomrelay.delivery.values import Answer, Instance, Target
from dicomrelay.errors import AssociationError
from dicomrelay.net.alternatives import alternatives_for
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.service import StoreChannel
from dicomrelay.settings import TransferSyntaxPolicy
from dicomrelay.transcode import TranscodeLimits, Workshop, producible


def deliver(
    instances: Sequence[Instance],
    target: Target,
    *,
    locate: Callable[[Instance], Path],
    answered: Callable[[Answer], None],
    keep_going: Callable[[], bool],
    pace: Callable[[int], None] | None = None,
    opened: Callable[[], None] = lambda: None,
    unanswered: Callable[[Sequence[Instance], AssociationError, str], None] = lambda *_: None,
) -> None:
    """Send what is given, until all is answered or there is to be no more.

    No association waits long for us: it is opened when the first instance is found, and given up for another when the
    preparation of the next took longer than `target.longest_pause_s`.

    Parameters
    ----------
    instances : sequence of Instance
        Sent in this order, as far as they share an association.
    locate : callable
        Where the file of an instance is, asked just before it is sent; of the first, before an association is opened. It
        may take minutes to look at the file. It may raise SpoolCorrupt (refused for good),
        another SpoolError or an OSError (to be tried again); a FileNotFoundError makes it asked once more.
    answered : callable
        Told of each instance once, in the caller's thread.
    keep_going : callable
        Asked before an association is opened, before each instance is prepared, and again before its first byte when
        nothing else is under way; after a no nothing more is begun.
    pace : callable, optional
        Called with a number of bytes before they are sent; it may wait. Called with 0 while a copy is made.
    opened : callable
        Told of each association that came about.
    unanswered : callable
        Told, before the error is raised, of the instances that were under way when an association died: sent in part or
        whole, and not answered. With the error and the association's id. It may be one of them that the peer cannot stand.

    Raises
    ------
    AssociationError
        No association came about, or one died; what was answered by then was told.
    ConfigurationError
        An AE title or a port that is none.
    """
    workshop: Workshop | None = None
    alternatives: Alternatives = nothing_else
    if target.policy is TransferSyntaxPolicy.LOSSLESS and target.copies is not None:
        workshop, alternatives = Workshop(target.copies, target.limits), _alternatives
    bench: EditBench | None = None
    if target.copies is not None and (target.edits or any(instance.edits for instance in instances)):
        bench = EditBench(target.copies, target.limits)
    preparation = Preparation(
        workshop,
        alternatives,
        locate=locate,
        waiting=lambda: pace(0) if pace is not None else None,
        bench=bench,
        edits=target.edits,
    )
    with workshop or nullcontext(), bench or nullcontext():
        if target.web is not None:
            from dicomrelay.delivery.web import WebSending  # noqa: PLC0415 - HTTP only where it is spoken

            WebSending(
                instances,
                target.web,
                preparation,
                answered=answered,
                keep_going=keep_going,
                pace=pace,
                opened=opened,
                unanswered=unanswered,
            ).send()
            return
        for contexts, group in grouped(instances, alternatives):
            sending = Sending(
                group,
                preparation,
                answered=answered,
                keep_going=keep_going,
                pace=pace,
                longest_pause_s=target.longest_pause_s,
            )
            while sending.find_next():
                with target.peer.associate(contexts, window=target.window) as association:
                    opened()
                    try:
                        sending.send(association)
                    except AssociationError as error:
                        if sending.under_way:
                            unanswered(sending.under_way, error, association.id)
                        raise
            if sending.stopped:
                return


def deliver_over(
    channel: StoreChannel,
    instances: Sequence[Instance],
    *,
    copies: Path,
    limits: TranscodeLimits,
    locate: Callable[[Instance], Path],
    answered: Callable[[Answer], None],
    keep_going: Callable[[], bool],
) -> None:
    """Send what is given over an association that is there, in what it has accepted; copies without loss where it has to be.

    Parameters
    ----------
    copies : Path
        Where copies are made.
    locate, answered, keep_going : callable
        As of `deliver`.

    Raises
    ------
    Exception
        The association is over; what was answered by then was told.
    """
    with Workshop(copies, limits) as workshop:
        sending = Sending(
            instances,
            Preparation(workshop, _alternatives, locate=locate, waiting=lambda: None),
            answered=answered,
            keep_going=keep_going,
            pace=None,
            longest_pause_s=float("inf"),
        )
        while sending.find_next():
            sending.send(channel)


def _alternatives(item: StoreItem) -> Sequence[str]:
    return alternatives_for(
        item.sop_class_uid, item.transfer_syntax_uid, producible=producible(item.transfer_syntax_uid)
    )
