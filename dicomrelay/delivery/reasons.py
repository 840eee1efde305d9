"""Why an instance did not arrive, in one line of the ledger: our words, then those of the peer.

What a peer says (Error Comment (0000,0902)) may name a patient. The ledger keeps it, for `dicomrelay status`; logs,
summaries and standard error get our words alone, so the two can be told apart again.
"""

from __future__ import annotations

from typing import Final

from dicomrelay.delivery.values import Answer

_SAYS: Final = 'the peer says "'  # no words of ours hold it


def reason_of(answer: Answer) -> str:
    """For the ledger: our words, and behind them what a peer, or an error on our side, has to say of it."""
    is_theirs = answer.status is not None or answer.http_status is not None
    if not is_theirs or not answer.comment:
        return ": ".join(filter(None, (answer.words, answer.comment)))
    return "; ".join(filter(None, (answer.words, f'{_SAYS}{answer.comment}"')))


def parted(reason: str) -> tuple[str, str]:
    """Our words and the peer's, of a reason of the ledger; "" for what is not there."""
    ours, says, theirs = reason.partition(_SAYS)
    return ours.removesuffix("; "), theirs.removesuffix('"') if says else ""
