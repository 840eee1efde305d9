"""What a profile is, and what applying one has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dicomrelay.edits.keys import Key
from dicomrelay.edits.tree import Place, place_name


class PrivatePolicy(StrEnum):
    """What becomes of private elements, where nothing is de-identified."""

    KEEP = "keep"
    REMOVE = "remove"


class BurnedIn(StrEnum):
    """What becomes of an instance whose picture may have a patient's name in it."""

    REFUSE = "refuse"
    REFUSE_YES = "refuse_yes"
    SEND = "send"


class Otherwise(StrEnum):
    """What becomes of a value that a map does not have."""

    KEEP = "keep"
    EMPTY = "empty"
    REMOVE = "remove"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class SafePrivate:
    """A private element that may stay: its group, the last two digits of its number, and its creator."""

    group: int
    number: int
    creator: str


@dataclass(frozen=True, slots=True)
class Deidentification:
    """The basic profile with options.

    Attributes
    ----------
    shift_days : int
        Dates go back by at most so many, 1 or more.
    words : frozenset of str
        Those that descriptions keep, in lower case.
    names_may_be_left : bool
        Whether a text that stays may hold a part of the patient's name.
    """

    key: Key = field(repr=False)
    options: frozenset[str] = frozenset()
    shift_days: int = 3650
    words: frozenset[str] = frozenset()
    safe_private: frozenset[SafePrivate] = frozenset()
    burned_in: BurnedIn = BurnedIn.REFUSE
    names_may_be_left: bool = False


@dataclass(frozen=True, slots=True)
class ValueMap:
    """What stands for the values of an attribute."""

    tag: int
    values: Mapping[str, str] = field(hash=False)
    otherwise: Otherwise = Otherwise.KEEP


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that can be applied.

    Attributes
    ----------
    version : str
        12 hexadecimal digits; another one makes another copy of the same data set.
    remove : tuple of int
        Everywhere.
    copies : tuple of (int, int)
        In the data set itself: what is changed, and where its value comes from.
    values : tuple of (int, str)
        In the data set itself.
    """

    name: str
    version: str
    deidentification: Deidentification | None = None
    remove: tuple[int, ...] = ()
    copies: tuple[tuple[int, int], ...] = ()
    maps: tuple[ValueMap, ...] = ()
    values: tuple[tuple[int, str], ...] = ()
    private: PrivatePolicy = PrivatePolicy.KEEP

    @property
    def title(self) -> str:
        """Name and version, as evidence has them."""
        return f"{self.name}@{self.version}"

    @property
    def maps_uids(self) -> bool:
        """Whether the copy has other UIDs than what arrived."""
        found = self.deidentification
        return found is not None and "retain_uids" not in found.options


class Done(StrEnum):
    """What was done to an element."""

    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Change:
    """One element that is other than it was; no values."""

    place: Place
    done: Done

    def __str__(self) -> str:
        return f"{place_name(self.place)} {self.done.value}"
