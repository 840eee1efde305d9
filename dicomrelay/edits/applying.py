"""Applies a profile to a tree. No I/O, and the same tree gives the same tree."""

from __future__ import annotations

from dataclasses import dataclass

from dicomrelay.edits.burned_in import refuse_burned_in
from dicomrelay.edits.cleaning import Cleaner
from dicomrelay.edits.coercion import note
from dicomrelay.edits.keys import PATIENT
from dicomrelay.edits.look import LastLook
from dicomrelay.edits.marks import mark
from dicomrelay.edits.steps import Steps, modified, without_private
from dicomrelay.edits.tree import Item
from dicomrelay.edits.values import Change, Deidentification, PrivatePolicy, Profile


@dataclass(frozen=True, slots=True)
class Applied:
    """The tree that came of it, and what is other than before; nothing when the profile has nothing to do here."""

    tree: Item
    changes: tuple[Change, ...]


def apply(profile: Profile, tree: Item, *, at_ms: int = 0, is_little_endian: bool = True) -> Applied:
    """Apply a profile; the tree that is given stays as it is.

    Parameters
    ----------
    at_ms : int
        When the instance came, epoch milliseconds.
    is_little_endian : bool
        The byte order of the numbers in it.

    Raises
    ------
    NotEditable
        It cannot be applied, or it forbids that the instance goes out. The message names no value.
    """
    if profile.deidentification is not None:
        return _deidentified(profile, profile.deidentification, tree, is_little_endian=is_little_endian)
    steps = Steps(profile, tree)
    made = steps.take(tree)
    if before := tuple(modified(tree, made, steps.changes)):
        change = note(made, profile, before, at_ms=at_ms)
        steps.changes += [change] if change is not None else []
    changes = steps.changes
    if profile.private is PrivatePolicy.REMOVE:
        made, gone = without_private(made)
        changes = changes + gone
    return Applied(made, tuple(changes))


def _deidentified(profile: Profile, what: Deidentification, tree: Item, *, is_little_endian: bool) -> Applied:
    refuse_burned_in(tree, what.burned_in)
    cleaned = Cleaner(what, tree, is_little_endian=is_little_endian).clean()
    steps = Steps(profile, tree)
    made = steps.take(cleaned.tree)
    marks = mark(made, profile)
    names, ids = ([], []) if what.names_may_be_left else (cleaned.names, cleaned.ids)
    looked_for = ([each for each in found if not _is_ours(what, each)] for found in (names, ids))
    LastLook(cleaned.uids, *looked_for).over(made)
    return Applied(made, (*cleaned.changes, *steps.changes, *marks))


def _is_ours(what: Deidentification, name: str) -> bool:
    """Whether it is a pseudonym: what is left of one that was there before is not to be found."""
    return what.key.is_pseudonym(PATIENT, name)
