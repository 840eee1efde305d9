"""Sends a batch of instances to one peer over one association after another, and says what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from dicomrelay.delivery.contexts import Alternatives, grouped, nothing_else
from dicomrelay.delivery.sending import Sending
from dicomrelay.delivery.values import Answer, Instance, Target, TransferSyntaxPolicy
from dicomrelay.net.alternatives import alternatives_for
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.transcode import Workshop, producible


def deliver(
    instances: Sequence[Instance],
    target: Target,
    *,
    locate: Callable[[Instance], Path],
    answered: Callable[[Answer], None],
    keep_going: Callable[[], bool],
    pace: Callable[[int], None] | None = None,
) -> None:
    """Send what is given, until all is answered or there is to be no more.

    Parameters
    ----------
    instances : sequence of Instance
        Sent in this order, as far as they share an association.
    locate : callable
        Where the file of an instance is, asked just before it is sent. It may raise SpoolCorrupt (refused for good),
        another SpoolError or an OSError (to be tried again); a FileNotFoundError makes it asked once more.
    answered : callable
        Told of each instance once, in the caller's thread.
    keep_going : callable
        Asked before each instance is prepared, and again before its first byte when nothing else is under way; after a
        no nothing more is begun.
    pace : callable, optional
        Called with a number of bytes before they are sent; it may wait. Called with 0 while a copy is made.

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
    with workshop or nullcontext():
        for contexts, group in grouped(instances, alternatives):
            with target.peer.associate(contexts, window=target.window) as association:
                sending = Sending(
                    association,
                    workshop,
                    alternatives,
                    locate=locate,
                    answered=answered,
                    keep_going=keep_going,
                    pace=pace,
                )
                if not sending.send(group):
                    return


def _alternatives(item: StoreItem) -> Sequence[str]:
    return alternatives_for(
        item.sop_class_uid, item.transfer_syntax_uid, producible=producible(item.transfer_syntax_uid)
    )
