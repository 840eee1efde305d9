"""Whether a chain is whole and unchanged: row by row, no SQL, for a ledger and for a report that left it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dicomrelay.ledger.evidence_form import BEGINNING, canonical, link


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One row of a chain; `body` is its text in canonical form."""

    study_instance_uid: str
    number: int
    at: int
    kind: str
    body: str
    hash: str

    @property
    def facts(self) -> dict[str, Any]:
        """What the body says: ids that it is about, and `detail`."""
        facts: dict[str, Any] = json.loads(self.body)
        return facts

    def as_json(self) -> dict[str, Any]:
        """As it stands in a report."""
        return {
            "study_instance_uid": self.study_instance_uid,
            "number": self.number,
            "at": self.at,
            "kind": self.kind,
            "body": self.facts,
            "hash": self.hash,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EvidenceRow:
        """The row that `as_json` gave.

        Raises
        ------
        ValueError
            It is none: something is missing, too much, or of another type.
        """
        types = {
            "study_instance_uid": str,
            "number": int,
            "at": int,
            "kind": str,
            "body": dict,
            "hash": str,
        }
        # Exactly that type: to Python True is 1.
        if value.keys() != types.keys() or any(type(value[name]) is not kind for name, kind in types.items()):
            raise ValueError("it is no row of evidence: a field is missing, too much, or of another type")
        return cls(**{**value, "body": canonical(value["body"])})


class ChainCheck:
    """Follows one chain.

    Parameters
    ----------
    study_instance_uid : str
    pruned : int
        How many rows retention took off its beginning.
    pruned_hash : str
        The hash of the last of those.
    """

    def __init__(self, study_instance_uid: str, *, pruned: int = 0, pruned_hash: str = BEGINNING) -> None:
        self._study = study_instance_uid
        self.count = pruned
        self.hash = pruned_hash

    def take(self, row: EvidenceRow) -> str:
        """What is wrong with the next row, in words; "" when it is as it was written."""
        if row.study_instance_uid != self._study:
            return f"row {row.number} is of another study, {row.study_instance_uid}"
        expected, previous = self.count + 1, self.hash
        if row.number < expected:
            return f"row {row.number} stands here again, or out of its place"
        self.count, self.hash = row.number, row.hash
        if row.number > expected:
            return f"{_rows(expected, row.number - 1)} missing before row {row.number}"
        computed = link(
            previous=previous,
            study_instance_uid=row.study_instance_uid,
            number=row.number,
            at=row.at,
            kind=row.kind,
            body=row.body,
        )
        if computed != row.hash:
            return (
                f"row {row.number} was changed, or the hash of the row before it: its own hash does not fit"
            )
        return ""

    def end(self, count: int, last_hash: str) -> str:
        """What is wrong with the end, in the light of what was said of it elsewhere."""
        if self.count < count:
            return f"the end was cut off: {_rows(self.count + 1, count)} missing"
        if self.count > count:
            return f"there are more rows than the {count} that its head says"
        return "" if self.hash == last_hash else f"the hash of its last row, {count}, is not that of its head"


def _rows(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"
