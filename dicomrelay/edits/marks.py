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
# What others have done before us is as true as before: nothing here touches pixels, or draws again what was taken away.
_OF_OTHERS: Final = {
    "113101": "Clean Pixel Data Option",
    "113102": "Clean Recognizable Visual Features Option",
    "113103": "Clean Graphics Option",
}
_MEANINGS: Final = dict((_BASIC, *_OPTIONS.values(), *_OF_OTHERS.items()))
_CODE, _SCHEME = 0x00080100, 0x00080102


def mark(tree: Item, profile: Profile) -> list[Change]:
    """Write who removed the identity and how, behind what others have written; what is there already is no change."""
    found = profile.deidentification
    options = found.options if found is not None else frozenset()
    wanted = (
        Leaf(_IDENTITY_REMOVED, b"CS", b"YES "),
        _method(profile, tree),
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


def _method(profile: Profile, tree: Item) -> Leaf:
    ours = f"dicomrelay {profile.title}".encode("ascii")[-_MAX_METHOD:]
    before = [value for each in tree.leaf(_METHOD).split(b"\\") if (value := each.strip(b" \0"))]
    values = before if ours in before else [*before, ours]
    return Leaf(_METHOD, b"LO", padded(b"LO", b"\\".join(values)))


def _codes(options: frozenset[str], tree: Item) -> Sequence:
    """Those of CID 7050 with their meaning, whatever somebody wrote beside them; others as they are by now."""
    made, known = [], set[str]()
    there = tree.elements.get(_METHOD_CODES)
    for item in tree.items(_METHOD_CODES):
        code, scheme = (stripped(item.leaf(tag).decode("latin-1")) for tag in (_CODE, _SCHEME))
        if code in _MEANINGS and scheme in ("DCM", ""):
            made += [_code(code, _MEANINGS[code])] if code not in known else []
            known.add(code)
        else:
            made.append(item)
    wanted = sorted([_BASIC, *(_OPTIONS[name] for name in options)])
    made += [_code(*code) for code in wanted if code[0] not in known]
    is_undefined = isinstance(there, Sequence) and there.is_undefined
    return Sequence(
        _METHOD_CODES, there.vr if isinstance(there, Sequence) else b"SQ", tuple(made), is_undefined
    )


def _code(value: str, meaning: str) -> Item:
    parts = ((_CODE, b"SH", value), (_SCHEME, b"SH", "DCM"), (0x00080104, b"LO", meaning))
    return Item({tag: Leaf(tag, vr, padded(vr, text.encode("ascii"))) for tag, vr, text in parts})


def _temporal(options: frozenset[str], tree: Item) -> bytes:
    if "modified_dates" in options:
        return b"MODIFIED"
    if "full_dates" not in options:
        return b"REMOVED "
    # Whole dates of what another has moved or removed before.
    before = stripped(tree.leaf(_TEMPORAL).decode("latin-1"))
    return {"MODIFIED": b"MODIFIED", "REMOVED": b"REMOVED "}.get(before, b"UNMODIFIED")


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
