"""Which private elements may stay (PS3.5 Section 7.8, PS3.15 Section E.3.10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dicomrelay.edits.text import stripped
from dicomrelay.edits.tree import Item, Leaf, is_private
from dicomrelay.edits.values import SafePrivate

_CHARACTERISTICS: Final = 0x00080300
_GROUP, _CREATOR, _STATUS, _SAFE_ONES = 0x00080301, 0x00080302, 0x00080303, 0x00080304


@dataclass(frozen=True, slots=True)
class SafeElements:
    """What is known not to say who the patient is.

    Attributes
    ----------
    listed : frozenset of SafePrivate
        Elements.
    blocks : frozenset of (int, str)
        Whole blocks: group and creator.
    """

    listed: frozenset[SafePrivate] = frozenset()
    blocks: frozenset[tuple[int, str]] = frozenset()

    @classmethod
    def of(cls, tree: Item, listed: frozenset[SafePrivate], *, is_little_endian: bool) -> SafeElements:
        """What the settings list, and what the data set says of its own blocks in (0008,0300)."""
        order = "little" if is_little_endian else "big"
        elements, blocks = set(listed), set()
        for said in tree.items(_CHARACTERISTICS):
            group = int.from_bytes(said.leaf(_GROUP)[:2], order)  # type: ignore[arg-type]
            creator = _text(said.leaf(_CREATOR))
            status = _text(said.leaf(_STATUS))
            if status == "SAFE":
                blocks.add((group, creator))
            elif status == "MIXED":
                numbers = said.leaf(_SAFE_ONES)
                for at in range(0, len(numbers) - 1, 2):
                    number = int.from_bytes(numbers[at : at + 2], order)  # type: ignore[arg-type]
                    elements.add(SafePrivate(group, number & 0xFF, creator))
        return cls(frozenset(elements), frozenset(blocks))

    def kept(self, item: Item) -> frozenset[int]:
        """The private tags of an item that may stay, with the creators that they need."""
        if not self.listed and not self.blocks:
            return frozenset()
        return frozenset(self._kept(item))

    def _kept(self, item: Item) -> Iterator[int]:
        for tag in item.elements:
            group, block, number = tag >> 16, tag >> 8 & 0xFF, tag & 0xFF
            if not is_private(tag) or not block:
                continue
            creator_tag = group << 16 | block
            found = item.elements.get(creator_tag)
            if not isinstance(found, Leaf):
                continue
            creator = _text(found.value)
            if (group, creator) in self.blocks or SafePrivate(group, number, creator) in self.listed:
                yield tag
                yield creator_tag


def _text(value: bytes) -> str:
    return stripped(value.decode("latin-1"))
