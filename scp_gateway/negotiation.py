"""Which presentation contexts are accepted, and in which transfer syntax. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dicomrelay.dicom.sop_classes import is_storage_sop_class, sop_class_name
from dicomrelay.dicom.transfer_syntaxes import transfer_syntaxes
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.ul.pdu import ContextDecision, ContextResult, ProposedContext


def stores(sop_class_uid: str, *, accept_unknown: bool) -> bool:
    """Whether objects of that SOP class are taken: all storage classes, and unknown ones by setting."""
    if is_storage_sop_class(sop_class_uid):
        return True
    # A class that the standard knows and that stores nothing, such as a query, is no unknown storage class.
    return accept_unknown and sop_class_name(sop_class_uid) == sop_class_uid


def decide_contexts(proposed: Sequence[ProposedContext], *, accept_unknown: bool) -> list[ContextDecision]:
    """One decision for each proposed context (PS3.8 Section 9.3.3.2).

    Of the transfer syntaxes the first in the registry is taken: the requestor knows what its files are in, and we
    change nothing.
    """
    known = transfer_syntaxes()
    decisions = []
    for context in proposed:
        if context.abstract_syntax != VERIFICATION and not stores(
            context.abstract_syntax, accept_unknown=accept_unknown
        ):
            decisions.append(ContextDecision(context.context_id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED))
            continue
        chosen = next((uid for uid in context.transfer_syntaxes if uid in known), None)
        if chosen is None:
            refusal = ContextDecision(context.context_id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
            decisions.append(refusal)
        else:
            decisions.append(ContextDecision(context.context_id, ContextResult.ACCEPTANCE, chosen))
    return decisions
