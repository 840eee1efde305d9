"""A data set in a file, edited into another file. Runs in the child process (`delivery.editing_child`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dicomrelay.dicom.elements import ElementSyntax
from dicomrelay.edits.applying import apply
from dicomrelay.edits.reading import TreeLimits, TreeReader
from dicomrelay.edits.text import stripped
from dicomrelay.edits.values import Change, Profile
from dicomrelay.edits.writing import pieces_of, write
from dicomrelay.errors import NotEditable

_SOP_INSTANCE_UID = 0x00080018


@dataclass(frozen=True, slots=True)
class Edited:
    """What was written.

    Attributes
    ----------
    changes : tuple of Change
        None when the profiles had nothing to do: then nothing was written.
    length, digest
        Of the data set that was written, SHA-256 in hexadecimal; 0 and "" when nothing was.
    sop_instance_uid : str
        Of the copy.
    """

    changes: tuple[Change, ...]
    sop_instance_uid: str
    length: int = 0
    digest: str = ""


def edit(
    profiles: Sequence[Profile],
    source: BinaryIO,
    out: BinaryIO,
    *,
    begin: int,
    end: int,
    syntax: ElementSyntax,
    at_ms: int,
    limits: TreeLimits | None = None,
) -> Edited:
    """Apply profiles, one after the other, to the data set that lies from `begin` to `end` of a file.

    Parameters
    ----------
    out : file
        Empty; it gets the data set alone, in the same syntax.
    at_ms : int
        When the instance came, epoch milliseconds.

    Raises
    ------
    NotEditable
        A profile cannot be applied, forbids it, or the data set is not understood to its last byte. No value is named.
    OSError
        A file cannot be read or written.
    """
    tree = TreeReader(source, begin=begin, end=end, syntax=syntax, limits=limits or TreeLimits()).read()
    is_little_endian = syntax.head.format.startswith("<")
    changes: list[Change] = []
    for profile in profiles:
        applied = apply(profile, tree, at_ms=at_ms, is_little_endian=is_little_endian)
        tree = applied.tree
        changes += applied.changes
    uid = stripped(tree.leaf(_SOP_INSTANCE_UID).decode("latin-1"))
    if not changes:
        return Edited((), uid)
    if not uid:
        raise NotEditable("it has no SOP Instance UID (0008,0018), so a copy of it would have none")
    length, digest = write(pieces_of(tree, syntax), source, out)
    return Edited(tuple(changes), uid, length, digest)
