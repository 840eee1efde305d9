"""What a data set was before: Original Attributes Sequence (PS3.3 Section C.12.1.1.9)."""

from __future__ import annotations

from collections.abc import Sequence as Many
from datetime import UTC, datetime
from typing import Final

from dicomrelay.edits.text import padded
from dicomrelay.edits.tree import Bulk, Item, Leaf, Node, Sequence
from dicomrelay.edits.values import Change, Done, Profile

_ORIGINAL_ATTRIBUTES: Final = 0x04000561
_MODIFIED_ATTRIBUTES: Final = 0x04000550
_MODIFIED_AT: Final = 0x04000562
_MODIFYING_SYSTEM: Final = 0x04000563
_SOURCE: Final = 0x04000564
_REASON: Final = 0x04000565
_MAX_SYSTEM: Final = 64  # VR LO


def note(tree: Item, profile: Profile, before: Many[Node], *, at_ms: int) -> Change | None:
    """Add an item with what was changed; nothing where nothing was.

    Parameters
    ----------
    at_ms : int
        When the instance came, epoch milliseconds: the same at every attempt.
    """
    # What stays in the file is binary and large: the digest of what arrived stands for it.
    kept: dict[int, Node] = {
        node.tag: node for node in before if not isinstance(node, Bulk) and node.tag != _ORIGINAL_ATTRIBUTES
    }
    if not kept:
        return None
    system = f"dicomrelay {profile.title}"[-_MAX_SYSTEM:]
    at = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%d%H%M%S}.{at_ms % 1000:03}000+0000"
    parts: tuple[Node, ...] = (
        Sequence(_MODIFIED_ATTRIBUTES, b"SQ", (Item(kept),)),
        _text(_MODIFIED_AT, b"DT", at),
        _text(_MODIFYING_SYSTEM, b"LO", system),
        _text(_SOURCE, b"LO", ""),
        _text(_REASON, b"CS", "COERCE"),
    )
    there = tree.elements.get(_ORIGINAL_ATTRIBUTES)
    items = (*tree.items(_ORIGINAL_ATTRIBUTES), Item({part.tag: part for part in parts}))
    # One that nobody says is a sequence is implicit VR inside, and so is what we add.
    vr = there.vr if isinstance(there, Sequence) else b"SQ"
    is_undefined = isinstance(there, Sequence) and there.is_undefined
    tree.elements[_ORIGINAL_ATTRIBUTES] = Sequence(_ORIGINAL_ATTRIBUTES, vr, items, is_undefined)
    return Change((_ORIGINAL_ATTRIBUTES,), Done.ADDED if there is None else Done.REPLACED)


def _text(tag: int, vr: bytes, text: str) -> Leaf:
    return Leaf(tag, vr, padded(vr, text.encode("ascii")))
