"""De-identification: a tree gone through element by element (PS3.15 Annex E)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dicomrelay.edits import leaves
from dicomrelay.edits.content_items import VALUES, content_items
from dicomrelay.edits.patients import PATIENT_ID, PATIENT_NAME, PSEUDONYMS, STUDY_INSTANCE_UID, Patient
from dicomrelay.edits.private_elements import SafeElements
from dicomrelay.edits.private_values import private_kind
from dicomrelay.edits.pruning import prune
from dicomrelay.edits.table import Act, Table, table
from dicomrelay.edits.text import Letters, stripped
from dicomrelay.edits.tree import (
    PIXEL_GROUP,
    PUBLISHED_SCHEMES,
    TEXT_VRS,
    Bulk,
    Item,
    Leaf,
    Node,
    Place,
    Sequence,
    is_private,
    known_vr,
    place_name,
)
from dicomrelay.edits.values import Change, Deidentification, Done
from dicomrelay.errors import NotEditable

SOP_CLASS_UID: Final = 0x00080016
_SCHEME: Final = 0x00080102
# Code Value, Coding Scheme Designator and Version, Code Meaning, Long and URN Code Value (PS3.3 Table 8.8-1a).
_OF_CODES: Final = frozenset({0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119, 0x00080120})
# Command sets, file meta information, DICOMDIR and 0006: no group of a data set (PS3.5 Section 7.1). What the table has of them
# may stay as it says, but for 0004, of which nothing may (PS3.15 Section E.1.1).
_GROUPS_OF_OTHERS: Final = frozenset({0x0000, 0x0002, 0x0004, 0x0006})
_DIRECTORY: Final = 0x0004
_SOURCE_IMAGE_IDS: Final = 0x00203100
_OPAQUE: Final = frozenset({b"OB", b"OW", b"UN"})


@dataclass(slots=True)
class Cleaned:
    """What came of it.

    Attributes
    ----------
    uids : set of str
        Those that were replaced.
    names, ids : list of str
        What the patient was called, and the ids: nothing of it may be left.
    """

    tree: Item
    changes: list[Change] = field(default_factory=list)
    uids: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


class Cleaner:
    """Cleans one data set.

    Parameters
    ----------
    is_little_endian : bool
        The byte order of its numbers.

    Raises
    ------
    NotEditable
        Of `clean`: something in it cannot be looked into.
    """

    def __init__(self, what: Deidentification, tree: Item, *, is_little_endian: bool) -> None:
        self._what = what
        self._tree = tree
        self._little_endian = is_little_endian
        self._table: Table = table()
        self._content = content_items()
        self._iod = self._table.iods.get(_text(tree, SOP_CLASS_UID))
        self._acts: dict[tuple[int, bool], Act | None] = {}
        safe = "retain_safe_private" in what.options
        self._safe = (
            SafeElements.of(tree, what.safe_private, is_little_endian=is_little_endian)
            if safe
            else SafeElements()
        )
        self._letters = Letters.of(tree)
        self._patient = Patient(what.key, tree, self._letters)
        self._days = self._patient.days(what.shift_days)
        self.done = Cleaned(tree)

    def clean(self) -> Cleaned:
        """The tree without what says who the patient is; the one that was given stays as it is."""
        done = self.done
        for tag, found in ((PATIENT_NAME, done.names), (PATIENT_ID, done.ids)):
            leaf = self._tree.elements.get(tag)
            if isinstance(leaf, Leaf):
                found.append(stripped(self._letters.decode(leaf)))
        pruned, gone = prune(self._tree, self._goes, is_little_endian=self._little_endian)
        done.changes += gone
        done.tree = self._item(pruned, (), self._letters, structure=False)
        if _text(self._tree, STUDY_INSTANCE_UID) and not _text(self._tree, PATIENT_ID):
            done.tree.elements[PATIENT_ID] = Leaf(PATIENT_ID, b"LO", self._patient.pseudonym.encode("ascii"))
            done.changes.append(Change((PATIENT_ID,), Done.ADDED))
        return done

    # ---- the tree

    def _item(self, item: Item, place: Place, outer: Letters, *, structure: bool) -> Item:
        letters = Letters.of(item, outer)
        kept = self._safe.kept(item)
        is_published = _text(item, _SCHEME) in PUBLISHED_SCHEMES
        of_item = self._content.act(item, self._what.options)
        made: dict[int, Node] = {}
        for tag, node in item.elements.items():
            here = (*place, tag)
            if is_private(tag):
                after = self._private(node, item, here, letters) if tag in kept else None
            elif tag in VALUES and of_item is not None and isinstance(node, Leaf):
                after = self._leaf(node, of_item, letters, otherwise=Act.DUMMY)
            else:
                act = self._act(node, top=not place)
                if act is None and structure:
                    act = self._act_of_structure(node, is_published=is_published)
                after = self._node(node, act, item, here, letters, structure=structure)
            if after is not None:
                made[tag] = after
            self._note(node, after, here)
        return Item(made, item.is_undefined)

    def _goes(self, item: Item) -> bool:
        return self._content.act(item, self._what.options) is Act.REMOVE

    def _note(self, before: Node, after: Node | None, here: Place) -> None:
        if after is None:
            self.done.changes.append(Change(here, Done.REMOVED))
        elif isinstance(after, Leaf) and after != before:
            self.done.changes.append(Change(here, Done.REPLACED if after.value else Done.EMPTIED))
        elif (
            isinstance(after, Sequence) and isinstance(before, Sequence) and before.items and not after.items
        ):
            self.done.changes.append(Change(here, Done.EMPTIED))

    def _act(self, node: Node, *, top: bool) -> Act | None:
        key = node.tag, top
        if key not in self._acts:
            act = self._table.act(node.tag, self._what.options, self._iod if top else None)
            # What PS3.6 does not know, nobody can vouch for.
            unknown = act is None and (not known_vr(node.tag) or node.tag >> 16 in _GROUPS_OF_OTHERS)
            self._acts[key] = Act.REMOVE if unknown or _is_of_others(node.tag) else act
        return self._acts[key]

    def _act_of_structure(self, node: Node, *, is_published: bool) -> Act | None:
        """In a sequence that keeps its form only, of an attribute that the table does not have."""
        if isinstance(node, Sequence):
            return Act.STRUCTURE
        kind = node.kind if isinstance(node, Leaf) else b"OB"
        if kind in leaves.DATES:
            if "full_dates" in self._what.options:
                return None
            return Act.SHIFT if "modified_dates" in self._what.options else Act.DUMMY
        if kind in TEXT_VRS:
            return None if is_published and node.tag in _OF_CODES else Act.DUMMY
        return Act.DUMMY if kind in _OPAQUE else None

    def _node(
        self, node: Node, act: Act | None, item: Item, here: Place, letters: Letters, *, structure: bool
    ) -> Node | None:
        if act is Act.REMOVE:
            return None
        if isinstance(node, Sequence):
            if act is Act.EMPTY:
                return node if not node.items else Sequence(node.tag, node.vr, (), node.is_undefined)
            whole = act in (Act.DUMMY, Act.STRUCTURE, Act.WORDS, Act.SHIFT)
            return self._sequence(node, here, letters, structure=structure or whole)
        if isinstance(node, Bulk):
            if act in (None, Act.KEEP):
                return node
            node = Leaf(node.tag, node.vr, b"\0\0")
        if known_vr(node.tag) == b"SQ" and act is not Act.EMPTY:
            raise NotEditable(f"{place_name(here)} is a sequence, and its bytes are no items of one")
        if node.tag in PSEUDONYMS and act in (Act.EMPTY, Act.DUMMY):
            return self._patient.pseudonymised(node, item, letters)
        row = self._table.row(node.tag)
        basic = self._table.basic(node.tag, self._iod if len(here) == 1 else None) if row else Act.DUMMY
        return self._leaf(node, act, letters, otherwise=basic)

    def _sequence(self, node: Sequence, here: Place, letters: Letters, *, structure: bool) -> Sequence:
        items = tuple(self._item(item, here, letters, structure=structure) for item in node.items)
        return Sequence(node.tag, node.vr, items, node.is_undefined)

    # ---- leaves

    def _leaf(self, leaf: Leaf, act: Act | None, letters: Letters, *, otherwise: Act) -> Leaf | None:
        """What becomes of a value; `otherwise` is what the profile says where there is nothing that could be kept or cleaned."""
        after: Leaf | None = leaf
        if act is Act.SHIFT:
            after = leaves.shifted(leaf, self._days)
        elif act is Act.WORDS:
            after = leaves.with_words(leaf, letters, self._what.words)
        elif act is Act.STRUCTURE or (act in (None, Act.KEEP) and not leaves.is_true_to_form(leaf)):
            after = None
        if after is None:
            act = otherwise
        if act is Act.REMOVE:
            return None
        if act is Act.EMPTY:
            return Leaf(leaf.tag, leaf.vr, b"") if leaf.value else leaf
        if act is Act.UID or (act is Act.DUMMY and leaf.kind == b"UI"):
            return leaves.mapped(leaf, self._what.key, self.done.uids)
        return leaves.dummy(leaf) if act is Act.DUMMY else after

    def _private(self, node: Node, item: Item, here: Place, letters: Letters) -> Node | None:
        """A private element that may stay: UIDs in it are mapped, and dates moved, where those of others are."""
        if isinstance(node, Sequence):
            return self._sequence(node, here, letters, structure=False)
        if not isinstance(node, Leaf) or not node.value:
            return node
        kind = private_kind(node, item)
        if kind == b"SQ":  # and yet holds no items: nobody knows what it is
            return None
        if kind == b"UI" and "retain_uids" not in self._what.options:
            return leaves.mapped(node, self._what.key, self.done.uids)
        if kind in leaves.DATES and "modified_dates" in self._what.options:
            return leaves.shifted(node, self._days, kind)
        return node if kind not in leaves.DATES or "full_dates" in self._what.options else None


def _is_of_others(tag: int) -> bool:
    """Of a directory of files, an overlay, or of what was retired: Source Image IDs (0020,31xx), and pixels outside of 7FE0."""
    group = tag >> 16
    of_retired = tag & 0xFFFFFF00 == _SOURCE_IMAGE_IDS or (group >> 8 == 0x7F and group != PIXEL_GROUP)
    return group == _DIRECTORY or group >> 8 == 0x60 or of_retired


def _text(item: Item, tag: int) -> str:
    return stripped(item.leaf(tag).decode("latin-1"))
