"""What a peer says of its own (Error Comment (0000,0902)) may name a patient: it is shown to who asks for it, with --verbose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dicomrelay.delivery.reasons import parted

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_MORE: Final = "the peer says more (--verbose shows it; it may name a patient)"
_Row = TypeVar("_Row", bound="DataclassInstance")


def in_our_words(rows: Iterable[_Row], *, verbose: bool) -> list[_Row]:
    """Rows of the ledger whose `reason` holds words of ours only, and a word that there are others.

    Parameters
    ----------
    verbose : bool
        Somebody asked for the others: the rows are as they are.
    """
    return [row if verbose else _without(row) for row in rows]


def _without(row: _Row) -> _Row:
    given: Any = row
    ours, theirs = parted(given.reason)
    if not theirs:
        return row
    changed: _Row = replace(given, reason="; ".join(filter(None, (ours, _MORE))))
    return changed
