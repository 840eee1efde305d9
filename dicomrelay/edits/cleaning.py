"""De-identification: a tree gone through element by element (PS3.15 Annex E)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dicomrelay.edits import leaves
from dicomrelay.edits.keys import ACCESSION, PATIENT, STUDY, Pseudonym
from dicomrelay.edits.private_elements import SafeElements
from dicomrelay.edits.table import Act, Table, table
from dicomrelay.edits.text import Letters, stripped
from dicomrelay.edits.tree import (
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
SOP_INSTANCE_UID: Final = 0x00080018
STUDY_INSTANCE_UID: Final = 0x0020000D
PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
_ISSUER: Final = 0x00100021
_SCHEME: Final = 0x00080102
_PSEUDONYMS: Final[dict[int, Pseudonym]] = {
    PATIENT_NAME: PATIENT,
    PATIENT_ID: PATIENT,
    0x00080050: ACCESSION,
    0x00200010: STUDY,
}
# Code Value, Coding Scheme Designator and Version, Code Meaning, Long and URN Code Value (PS3.3 Table 8.8-1a).
_OF_CODES: Final = frozenset({0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119, 0x00080120})
# Published ones (PS3.16 Table 8-1): what they code is no secret.
_SCHEMES: Final = frozenset(
    "ACR BI DCM FMA I10 I10P I9 I9C ICD10 ICDO3 ISO3166_1 ISO639_1 LN MA NCDR NCIt NDC NEU NYUMCCG "  # noqa: SIM905
    "PUBCHEM_CID RADELEMENT RADLEX RFC3066 RFC5646 RXNORM SCT SNM3 SRT UCUM UMLS UNS".split()
)
_DATES: Final = frozenset({b"DA", b"DT", b"TM"})
_OPAQUE: Final = frozenset({b"OB", b"OW", b"UN"})


@dataclass(slots=True)
class Cleaned:
    """What came of it.

    Attributes
    ----------
    uids : set of str
        Those that were replaced.
    names : list of str
        What the patient was called, and the ids: nothing of it may be left.
    """

    tree: Item
    changes: list[Change] = field(default_factory=list)
    uids: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)


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
        self._table: Table = table()
        self._iod = self._table.iods.get(_text(tree, SOP_CLASS_UID))
        self._acts: dict[tuple[int, bool], Act | None] = {}
        safe = "retain_safe_private" in what.options
        self._safe = (
            SafeElements.of(tree, what.safe_private, is_little_endian=is_little_endian)
            if safe
            else SafeElements()
        )
        self._letters = Letters.of(tree)
        self._patient = self._pseudonym_of(tree, self._letters)
        self._days = self._days_of(tree)
        self.done = Cleaned(tree)

    def clean(self) -> Cleaned:
        """The tree without what says who the patient is; the one that was given stays as it is."""
        done = self.done
        for tag in (PATIENT_NAME, PATIENT_ID):
            leaf = self._tree.elements.get(tag)
            if isinstance(leaf, Leaf):
                done.names.append(stripped(self._letters.decode(leaf)))
        done.tree = self._item(self._tree, (), self._letters, structure=False)
        if _text(self._tree, STUDY_INSTANCE_UID) and not _text(self._tree, PATIENT_ID):
            done.tree.elements[PATIENT_ID] = Leaf(PATIENT_ID, b"LO", self._patient.encode("ascii"))
            done.changes.append(Change((PATIENT_ID,), Done.ADDED))
        return done

    # ---- who it is

    def _pseudonym_of(self, item: Item, letters: Letters) -> str:
        """The patient's; of a study, or of the instance, where there is no id."""
        found = item.elements.get(PATIENT_ID)
        patient = stripped(letters.decode(found)) if isinstance(found, Leaf) else ""
        if patient:
            issuer = item.elements.get(_ISSUER)
            said = stripped(letters.decode(issuer)) if isinstance(issuer, Leaf) else ""
            return self._what.key.pseudonym(PATIENT, patient, said)
        # What is of no patient, as a palette, is its own.
        study = _text(item, STUDY_INSTANCE_UID) or _text(item, SOP_INSTANCE_UID)
        return self._what.key.pseudonym(PATIENT, self._what.key.uid(study), "of a study")

    def _days_of(self, tree: Item) -> int:
        """How far the dates go back; nothing for a patient whose dates went already, and for what is of no patient."""
        found = tree.elements.get(PATIENT_ID)
        patient = stripped(self._letters.decode(found)) if isinstance(found, Leaf) else ""
        of_nobody = not patient and not _text(tree, STUDY_INSTANCE_UID)
        if of_nobody or self._what.key.is_pseudonym(PATIENT, patient):
            return 0
        return self._what.key.days(self._patient, self._what.shift_days)

    # ---- the tree

    def _item(self, item: Item, place: Place, outer: Letters, *, structure: bool) -> Item:
        letters = Letters.of(item, outer)
        kept = self._safe.kept(item)
        is_published = _text(item, _SCHEME) in _SCHEMES
        made: dict[int, Node] = {}
        for tag, node in item.elements.items():
            here = (*place, tag)
            if is_private(tag):
                after = self._private(node, here, letters) if tag in kept else None
            else:
                act = self._act(node, top=not place)
                if act is None and structure:
                    act = self._act_of_structure(node, is_published=is_published)
                after = self._node(node, act, item, here, letters, structure=structure)
            if after is not None:
                made[tag] = after
            self._note(node, after, here)
        return Item(made, item.is_undefined)

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
            # What PS3.6 does not know, nobody can vouch for; and what an overlay is described by goes with it.
            unknown = act is None and not known_vr(node.tag)
            self._acts[key] = Act.REMOVE if unknown or node.tag >> 24 == 0x60 else act
        return self._acts[key]

    def _act_of_structure(self, node: Node, *, is_published: bool) -> Act | None:
        """In a sequence that keeps its form only, of an attribute that the table does not have."""
        if isinstance(node, Sequence):
            return Act.STRUCTURE
        kind = node.kind if isinstance(node, Leaf) else b"OB"
        if kind in _DATES:
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
        if node.tag in _PSEUDONYMS and act in (Act.EMPTY, Act.DUMMY):
            return self._pseudonymised(node, item, letters)
        return self._leaf(node, act, letters, top=len(here) == 1)

    def _sequence(self, node: Sequence, here: Place, letters: Letters, *, structure: bool) -> Sequence:
        items = tuple(self._item(item, here, letters, structure=structure) for item in node.items)
        return Sequence(node.tag, node.vr, items, node.is_undefined)

    # ---- leaves

    def _leaf(self, leaf: Leaf, act: Act | None, letters: Letters, *, top: bool) -> Leaf | None:
        after: Leaf | None = leaf
        if act is Act.SHIFT:
            after = leaves.shifted(leaf, self._days)
        elif act is Act.WORDS:
            after = leaves.with_words(leaf, letters, self._what.words)
        elif act is Act.STRUCTURE:
            after = None
        if after is None:  # there is nothing that could be cleaned: what the profile says without the option
            act = self._table.basic(leaf.tag, self._iod if top else None)
        if act is Act.REMOVE:
            return None
        if act is Act.EMPTY:
            return Leaf(leaf.tag, leaf.vr, b"") if leaf.value else leaf
        if act is Act.UID or (act is Act.DUMMY and leaf.kind == b"UI"):
            return leaves.mapped(leaf, self._what.key, self.done.uids)
        return leaves.dummy(leaf) if act is Act.DUMMY else after

    def _pseudonymised(self, leaf: Leaf, item: Item, letters: Letters) -> Leaf:
        text = stripped(letters.decode(leaf))
        if not text:
            return leaf
        if _PSEUDONYMS[leaf.tag] is not PATIENT:
            after = self._what.key.pseudonym(_PSEUDONYMS[leaf.tag], text)
        elif item.leaf(PATIENT_ID).strip(b" \0"):
            after = self._pseudonym_of(item, letters)
        else:
            after = self._patient
        return leaf if after == text else letters.encode(leaf.tag, leaf.vr, after)

    def _private(self, node: Node, here: Place, letters: Letters) -> Node | None:
        """A private element that may stay: UIDs in it are mapped, and dates moved, where those of others are."""
        if isinstance(node, Sequence):
            return self._sequence(node, here, letters, structure=False)
        if not isinstance(node, Leaf):
            return node
        if node.kind == b"UI" and "retain_uids" not in self._what.options:
            return leaves.mapped(node, self._what.key, self.done.uids)
        if node.kind in _DATES and "modified_dates" in self._what.options:
            return leaves.shifted(node, self._days)
        return node


def _text(item: Item, tag: int) -> str:
    return stripped(item.leaf(tag).decode("latin-1"))
