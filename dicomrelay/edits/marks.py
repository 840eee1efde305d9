"""What a de-identified data set says of itself (PS3.15 Section E.1.1, PS3.3 Section C.7.1.1)."""

from __future__ import annotations

from typing import Final

from dicomrelay.edits.text import padded, stripped
from dicomrelay.edits.tree import Item, Leaf, Node, Sequence
from dicomrelay.edits.values import Change, Done, Profile

_IDENTITY_REMOVED: Final = 0x00120062
_METHOD: Final = 0x00120063
_METHOD_CODES: Final = 0x00120064
_TEMPORAL: Final = 0x00280303
_MAX_METHOD: Final = 64  # VR LO

# PS3.16 CID 7050.
_BASIC: Final = ("113100", "Basic Application Confidentiality Profile")
_OPTIONS: Final = {
    "clean_structured_content": ("113104", "Clean Structured Content Option"),
    "clean_descriptors": ("113105", "Clean Descriptors Option"),
    "full_dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "retain_patient_characteristics": ("113108", "Retain Patient Characteristics Option"),
    "retain_device_identity": ("113109", "Retain Device Identity Option"),
    "retain_uids": ("113110", "Retain UIDs Option"),
    "retain_safe_private": ("113111", "Retain Safe Private Option"),
    "retain_institution_identity": ("113112", "Retain Institution Identity Option"),
}
OPTIONS: Final = frozenset(_OPTIONS)
# Done by somebody before us, and as true as before: nothing here touches pixels.
_OF_OTHERS: Final = {
    "113101": "Clean Pixel Data Option",
    "113102": "Clean Recognizable Visual Features Option",
}


def mark(tree: Item, profile: Profile) -> list[Change]:
    """Write who removed the identity and how; what is there already is no change."""
    found = profile.deidentification
    options = found.options if found is not None else frozenset()
    method = f"dicomrelay {profile.title}"
    wanted = (
        Leaf(_IDENTITY_REMOVED, b"CS", b"YES "),
        Leaf(_METHOD, b"LO", padded(b"LO", method.encode("ascii")[-_MAX_METHOD:])),
        _codes(options, tree),
        Leaf(_TEMPORAL, b"CS", _temporal(options, tree)),
    )
    changes = []
    for node in wanted:
        before = tree.elements.get(node.tag)
        if before is not None and _same(before, node):
            continue
        tree.elements[node.tag] = node
        changes.append(Change((node.tag,), Done.ADDED if before is None else Done.REPLACED))
    return changes


def _codes(options: frozenset[str], tree: Item) -> Sequence:
    before = {stripped(item.leaf(0x00080100).decode("latin-1")) for item in tree.items(_METHOD_CODES)}
    of_others = [(code, meaning) for code, meaning in _OF_OTHERS.items() if code in before]
    codes = sorted([_BASIC, *of_others, *(_OPTIONS[name] for name in options)])
    return Sequence(_METHOD_CODES, b"SQ", tuple(_code(*code) for code in codes))


def _code(value: str, meaning: str) -> Item:
    parts = ((0x00080100, b"SH", value), (0x00080102, b"SH", "DCM"), (0x00080104, b"LO", meaning))
    return Item({tag: Leaf(tag, vr, padded(vr, text.encode("ascii"))) for tag, vr, text in parts})


def _temporal(options: frozenset[str], tree: Item) -> bytes:
    if "modified_dates" in options:
        return b"MODIFIED"
    if "full_dates" not in options:
        return b"REMOVED "
    before = tree.leaf(_TEMPORAL)
    # Whole dates that another has moved before.
    return b"MODIFIED" if before.startswith(b"MODIFIED") else b"UNMODIFIED"


def _same(one: Node, other: Node) -> bool:
    """Whether both say the same; a syntax may leave VRs out, and lengths."""
    if isinstance(one, Leaf) and isinstance(other, Leaf):
        return one.value == other.value
    if not isinstance(one, Sequence) or not isinstance(other, Sequence) or len(one.items) != len(other.items):
        return False
    return all(
        a.elements.keys() == b.elements.keys()
        and all(_same(a.elements[tag], b.elements[tag]) for tag in a.elements)
        for a, b in zip(one.items, other.items, strict=True)
    )
