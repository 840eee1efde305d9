"""What goes to destinations, for the audit: an attempt's beginning and its end (PS3.15 Sections A.5.3.3 and A.5.3.7)."""

from __future__ import annotations

from collections import Counter

from dicomrelay.audit import Audit, Entry, Kind, Outcome, Party, Thing
from dicomrelay.ledger.values import ClaimedTransfer, TransferState
from dicomrelay.routing import Destination


class Witness:
    """Of one attempt at a transfer.

    Parameters
    ----------
    ae_title : str
        Ours.
    """

    def __init__(self, audit: Audit, claimed: ClaimedTransfer, ae_title: str) -> None:
        self._audit = audit
        self._claimed = claimed
        self._ae_title = ae_title
        self._to: Party | None = None

    def begins(self, destination: Destination) -> None:
        """Instances are about to be sent."""
        web = destination.web
        name = destination.ae_title if web is None else destination.name
        self._to = Party(name or destination.name, destination.host)
        self._audit.note(self._entry(Kind.BEGIN, len(self._claimed.deliveries)))

    def ended(self, delivered: int, state: TransferState) -> None:
        """The attempt is over; nothing is told of one that sent nothing and never began."""
        if self._to is None:
            return
        missing = len(self._claimed.deliveries) - delivered
        outcome = Outcome.SUCCESS if not missing else Outcome.MINOR if delivered else Outcome.SERIOUS
        words = (
            f"{missing} of {len(self._claimed.deliveries)} not delivered: {state.value}" if missing else ""
        )
        self._audit.note(self._entry(Kind.TRANSFERRED, delivered, outcome, words))

    def _entry(self, kind: Kind, count: int, outcome: Outcome = Outcome.SUCCESS, words: str = "") -> Entry:
        claimed = self._claimed
        classes = Counter(each.instance.sop_class_uid for each in claimed.deliveries)
        return Entry(
            kind,
            "transfer",
            Party(self._ae_title),
            self._to,
            by_us=True,
            outcome=outcome,
            words=words,
            things=(Thing("study", claimed.study_instance_uid, classes),),
            facts={"transfer": claimed.id, "attempt": claimed.attempt, "instances": count},
        )
