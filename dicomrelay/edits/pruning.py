"""Content items that go, and references to the others, which count them (PS3.3 Section C.17.3.2.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from dicomrelay.edits.tree import Item, Leaf, Node, Place, Sequence
from dicomrelay.edits.values import Change, Done

_CONTENT: Final = 0x0040A730
# Referenced Content Item Identifier: 1 is the document itself, then which item of an item's Content Sequence, from 1.
_REFERENCE: Final = 0x0040DB73
_DOCUMENT: Final = (1,)
_Path = tuple[int, ...]
_Goes = Callable[[Item], bool]


def prune(tree: Item, goes: _Goes, *, is_little_endian: bool) -> tuple[Item, tuple[Change, ...]]:
    """A tree without the items that go; the one that was given stays as it is.

    An item that refers to one that goes, goes too, so that none comes to refer to another than it did. A Content Sequence without
    items goes; other sequences stay, and are empty.

    Parameters
    ----------
    goes : function
        Whether an item of a sequence is to go, with all that is in it.
    """
    order = "<" if is_little_endian else ">"
    pruner = _Pruner(goes, order, _left(tree, goes, order))
    made = pruner.item(tree, (), _DOCUMENT)
    return made, tuple(pruner.changes)


class _Pruner:
    """Rebuilds a tree; what nothing is taken from stays the same object."""

    def __init__(self, goes: _Goes, order: str, left: dict[_Path, _Path]) -> None:
        self._goes = goes
        self._order = order
        self._left = left
        self.changes: list[Change] = []

    def item(self, item: Item, place: Place, path: _Path) -> Item:
        """An item of the document at a path; () of what is no part of it."""
        made: dict[int, Node] = {}
        for tag, node in item.elements.items():
            after: Node | None = node
            if isinstance(node, Sequence):
                after = self._sequence(node, (*place, tag), path if tag == _CONTENT else ())
            elif tag == _REFERENCE and path and isinstance(node, Leaf):
                after = self._reference(node)
            if after is not None:
                made[tag] = after
            if after is not node and not isinstance(after, Sequence):
                done = Done.REMOVED if after is None else Done.REPLACED
                self.changes.append(Change((*place, tag), done))
        is_same = all(made.get(tag) is node for tag, node in item.elements.items())
        return item if is_same else Item(made, item.is_undefined)

    def _sequence(self, node: Sequence, place: Place, parent: _Path) -> Sequence | None:
        paths = [(*parent, number) if parent else () for number, _ in enumerate(node.items, 1)]
        kept = [
            (each, path)
            for each, path in zip(node.items, paths, strict=True)
            if (path in self._left if path else not self._goes(each))
        ]
        if not kept and node.items and node.tag == _CONTENT:
            return None
        items = tuple(self.item(each, place, path) for each, path in kept)
        if len(items) != len(node.items):
            self.changes.append(Change(place, Done.REPLACED if items else Done.EMPTIED))
        elif all(one is other for one, other in zip(items, node.items, strict=True)):
            return node
        return Sequence(node.tag, node.vr, items, node.is_undefined)

    def _reference(self, leaf: Leaf) -> Leaf:
        before = _path_of(leaf, self._order)
        after = self._left.get(before, before)
        if after == before:
            return leaf
        return Leaf(leaf.tag, leaf.vr, struct.pack(f"{self._order}{len(after)}I", *after))


def _left(tree: Item, goes: _Goes, order: str) -> dict[_Path, _Path]:
    """The paths of the document's items that stay, and what they become."""
    items: dict[_Path, Item] = {}
    _walk(tree, _DOCUMENT, items)
    gone = {path for path, item in items.items() if path != _DOCUMENT and goes(item)}
    if not gone:
        return {path: path for path in items}
    referrers: dict[_Path, list[_Path]] = {}
    for path, item in items.items():
        reference = item.elements.get(_REFERENCE)
        if isinstance(reference, Leaf) and path != _DOCUMENT:
            target = _path_of(reference, order)
            if target not in items:
                gone.add(path)  # it refers to nothing, and might come to refer to something
            referrers.setdefault(target, []).append(path)
    waiting = list(gone)
    while waiting:
        path = waiting.pop()
        inside = ((*path, number) for number, _ in enumerate(items[path].items(_CONTENT), 1))
        found = {*inside, *referrers.get(path, ())} - gone
        gone |= found
        waiting += found
    made: dict[_Path, _Path] = {_DOCUMENT: _DOCUMENT}
    counts: dict[_Path, int] = {}
    for path in items:  # an item comes before what is in it
        if path == _DOCUMENT or path in gone:
            continue
        counts[path[:-1]] = number = counts.get(path[:-1], 0) + 1
        made[path] = (*made[path[:-1]], number)
    return made


def _walk(item: Item, path: _Path, found: dict[_Path, Item]) -> None:
    found[path] = item
    for number, inner in enumerate(item.items(_CONTENT), 1):
        _walk(inner, (*path, number), found)


def _path_of(leaf: Leaf, order: str) -> _Path:
    count = len(leaf.value) // 4
    return struct.unpack(f"{order}{count}I", leaf.value[: 4 * count])
