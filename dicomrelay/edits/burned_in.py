"""Text in the picture itself (PS3.3 Section C.7.6.1.1.1): what cannot be seen here, and must not go out unseen."""

from __future__ import annotations

from typing import Final

from dicomrelay.edits.cleaning import SOP_CLASS_UID
from dicomrelay.edits.text import stripped
from dicomrelay.edits.tree import Item
from dicomrelay.edits.values import BurnedIn
from dicomrelay.errors import NotEditable

_BURNED_IN: Final = 0x00280301
# Overlay Bit Position; not 0 where the overlay is in unused bits of the pixels, as it once was allowed.
_BIT_POSITION: Final = 0x60000102
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# Ultrasound, secondary capture, encapsulated documents, visible light with photographs and video: where text in the picture is
# usual. A dot at the end means all below.
_USUAL: Final = tuple(
    _STORAGE + rest for rest in ("3", "3.1", "6", "6.1", "7", "7.", "104.", "77.1.", "77.2")
)


def refuse_burned_in(tree: Item, policy: BurnedIn) -> None:
    """Stop an instance that may show who the patient is.

    Raises
    ------
    NotEditable
        The policy forbids that it goes out.
    """
    if policy is BurnedIn.SEND:
        return
    said = stripped(tree.leaf(_BURNED_IN).decode("latin-1")).upper()
    advice = 'look at it, then set burned_in = "send" in a profile for such instances, or cancel the delivery'
    if said == "YES":
        raise NotEditable(
            f"Burned In Annotation (0028,0301) is YES: the picture may name the patient; {advice}"
        )
    if any(tag & 0xFF00FFFF == _BIT_POSITION and _number(tree, tag) for tag in tree.elements):
        raise NotEditable(f"an overlay lies in the pixels (60xx,0102): it may name the patient; {advice}")
    sop_class = stripped(tree.leaf(SOP_CLASS_UID).decode("latin-1"))
    if policy is BurnedIn.REFUSE and said != "NO" and _is_usual(sop_class):
        raise NotEditable(
            f"Burned In Annotation (0028,0301) is not NO, in a SOP class whose pictures often name the patient; {advice}"
        )


def _number(tree: Item, tag: int) -> bool:
    return any(tree.leaf(tag))


def _is_usual(sop_class: str) -> bool:
    return any(sop_class.startswith(each) if each.endswith(".") else sop_class == each for each in _USUAL)
