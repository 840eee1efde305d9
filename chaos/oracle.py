"""What was promised, held against what is there: counts, and no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple


class Copy(NamedTuple):
    """A data set somewhere: what it calls itself, and what it is."""

    sop_instance_uid: str
    digest: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the oracle is told.

    Attributes
    ----------
    offered : mapping of str to str
        SOP Instance UID to SHA-256 of its data set, of everything that was ever sent.
    acknowledged : collection of str
        SOP Instance UIDs that were answered with Success or a warning.
    arrived : mapping of str to sequence of Copy
        By destination, the archive among them, each arrival.
    held : sequence of Copy
        What the spool still has, read and hashed.
    listed : mapping of str to collection of str
        By destination, what needs attention and is said to.
    put_away : int
        Spool items that the relay itself found damaged.
    refused : int
        Answers with a failure.
    """

    offered: Mapping[str, str]
    acknowledged: Collection[str]
    arrived: Mapping[str, Sequence[Copy]]
    held: Sequence[Copy] = ()
    listed: Mapping[str, Collection[str]] = field(default_factory=dict)
    put_away: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What came of it; docs/design/chaos.md defines each count."""

    offered: int = 0
    acknowledged: int = 0
    lost: int = 0
    undelivered: int = 0
    corrupt: int = 0
    phantom: int = 0
    duplicates: int = 0
    listed: int = 0
    refused: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether the promise was kept. Duplicates, refusals and what is listed are the bars of each fault."""
        return not (self.lost or self.undelivered or self.corrupt or self.phantom)

    def __add__(self, other: Account) -> Account:
        return Account(
            *(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)),
        )

    def __str__(self) -> str:
        return ", ".join(f"{each.name} {getattr(self, each.name)}" for each in fields(self))


def judge(found: Findings) -> Account:
    """The counts."""
    whole = {name: _whole(copies, found.offered) for name, copies in found.arrived.items()}
    held = _whole(found.held, found.offered)
    somewhere = held.union(*whole.values())
    acknowledged = set(found.acknowledged)
    missing = {name: acknowledged - there for name, there in whole.items()}
    lost = acknowledged - somewhere
    copies = [copy for each in (*found.arrived.values(), found.held) for copy in each]
    return Account(
        offered=len(found.offered),
        acknowledged=len(acknowledged),
        lost=len(lost),
        undelivered=sum(len(uids - lost - set(found.listed.get(name, ()))) for name, uids in missing.items()),
        corrupt=found.put_away + sum(_is_changed(copy, found.offered) for copy in copies),
        phantom=len({copy.sop_instance_uid for copy in copies} - found.offered.keys()),
        duplicates=sum(_again(each) for each in found.arrived.values()),
        listed=sum(len(set(uids)) for uids in found.listed.values()),
        refused=found.refused,
    )


def _whole(copies: Iterable[Copy], offered: Mapping[str, str]) -> set[str]:
    return {copy.sop_instance_uid for copy in copies if offered.get(copy.sop_instance_uid) == copy.digest}


def _is_changed(copy: Copy, offered: Mapping[str, str]) -> bool:
    return offered.get(copy.sop_instance_uid, copy.digest) != copy.digest


def _again(copies: Sequence[Copy]) -> int:
    return sum(count - 1 for count in Counter(copy.sop_instance_uid for copy in copies).values())
