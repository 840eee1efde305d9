"""Remove, copy, map, set: in this order, whatever the order in the settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from dicomrelay.dicom.elements import tag_name
from dicomrelay.edits.text import Letters, stripped
from dicomrelay.edits.tree import Item, Leaf, Node, Place, Sequence, is_private, known_vr
from dicomrelay.edits.values import Change, Done, Otherwise, Profile
from dicomrelay.errors import NotEditable


class Steps:
    """What a profile does beside de-identification.

    Parameters
    ----------
    arrived : Item
        The tree before anything was done to it: what a map looks up.

    Raises
    ------
    NotEditable
        Of `take`: a value has no place where it is to go, or a map does not have it and says refuse.
    """

    def __init__(self, profile: Profile, arrived: Item) -> None:
        self._profile = profile
        self._arrived = arrived
        self.changes: list[Change] = []

    def take(self, tree: Item) -> Item:
        """The tree with all of it done; the one that was given stays as it is."""
        profile = self._profile
        made = (
            self._without(tree, frozenset(profile.remove), ())
            if profile.remove
            else Item(dict(tree.elements))
        )
        letters = Letters.of(made)
        for target, source in profile.copies:
            found = made.elements.get(source)
            if isinstance(found, Leaf):
                self._put(made, target, stripped(letters.decode(found)), letters)
        for each in profile.maps:
            found, arrived = made.elements.get(each.tag), self._arrived.elements.get(each.tag)
            value = stripped(Letters.of(self._arrived).decode(arrived)) if isinstance(arrived, Leaf) else None
            if value not in each.values and each.otherwise is Otherwise.REFUSE:
                raise NotEditable(f"the map of {tag_name(each.tag)} does not have its value")
            if not isinstance(found, Leaf) or value is None:
                continue
            if value in each.values:
                self._put(made, each.tag, each.values[value], letters)
            else:
                self._unmapped(made, each.tag, each.otherwise, letters)
        for tag, value in profile.values:
            self._put(made, tag, value, letters)
        return made

    def _without(self, item: Item, tags: frozenset[int], place: Place) -> Item:
        made: dict[int, Node] = {}
        for tag, node in item.elements.items():
            if tag in tags:
                self.changes.append(Change((*place, tag), Done.REMOVED))
                continue
            if isinstance(node, Sequence):
                items = tuple(self._without(inner, tags, (*place, tag)) for inner in node.items)
                if any(new.elements != old.elements for new, old in zip(items, node.items, strict=True)):
                    node = Sequence(tag, node.vr, items, node.is_undefined)  # noqa: PLW2901 - it stands for the other
            made[tag] = node
        return Item(made, item.is_undefined)

    def _unmapped(self, tree: Item, tag: int, otherwise: Otherwise, letters: Letters) -> None:
        if otherwise is Otherwise.EMPTY:
            self._put(tree, tag, "", letters)
        elif otherwise is Otherwise.REMOVE:
            del tree.elements[tag]
            self.changes.append(Change((tag,), Done.REMOVED))

    def _put(self, tree: Item, tag: int, text: str, letters: Letters) -> None:
        before = tree.elements.get(tag)
        vr = before.vr if isinstance(before, Leaf) and before.vr not in (b"", b"UN") else known_vr(tag)
        _refuse_unfit(tag, vr, text)
        after = letters.encode(tag, vr, text)
        if isinstance(before, Leaf):
            if stripped(letters.decode(before)) == text:
                return
            after = Leaf(tag, before.vr, after.value)
        tree.elements[tag] = after
        done = Done.ADDED if before is None else Done.REPLACED if text else Done.EMPTIED
        self.changes.append(Change((tag,), done))


def _refuse_unfit(tag: int, vr: bytes, text: str) -> None:
    """A value that its VR does not allow would make the instance one that peers refuse."""
    from pydicom.config import RAISE  # noqa: PLC0415 - see dicomrelay.edits.text
    from pydicom.valuerep import validate_value  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for each in text.split("\\"):
                validate_value(vr.decode("ascii"), each, RAISE)
        except ValueError:
            raise NotEditable(
                f"the new value of {tag_name(tag)} is none of VR {vr.decode('ascii')}"
            ) from None


def without_private(item: Item, place: Place = ()) -> tuple[Item, list[Change]]:
    """The tree without private elements."""
    made: dict[int, Node] = {}
    changes: list[Change] = []
    for tag, node in item.elements.items():
        if is_private(tag):
            changes.append(Change((*place, tag), Done.REMOVED))
            continue
        if isinstance(node, Sequence):
            inner = [without_private(each, (*place, tag)) for each in node.items]
            found = [change for _, part in inner for change in part]
            if found:
                node = Sequence(tag, node.vr, tuple(each for each, _ in inner), node.is_undefined)  # noqa: PLW2901
                changes += found
        made[tag] = node
    return Item(made, item.is_undefined), changes


def modified(before: Item, after: Item, changes: list[Change]) -> Iterator[Node]:
    """The elements of the data set that are others now, as they were."""
    for tag in sorted({change.place[0] for change in changes}):
        node = before.elements.get(tag)
        if node is not None and node is not after.elements.get(tag):
            yield node
