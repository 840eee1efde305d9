"""A seeded mutator: changes that break parsers, on bytes and on sequences of PDUs."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Final

# Lengths and counts that somebody once got wrong.
_NUMBERS: Final = (0, 1, 2, 3, 5, 6, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000,
                   0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
_BYTES: Final = (0, 1, 4, 7, 8, 0x20, 0x2E, 0x2F, 0x5C, 0x7F, 0x80, 0xFE, 0xFF)
_MAX_BYTES: Final = 1 << 17


class Mutator:
    """Makes one input from samples; everything it does comes from `chance`.

    Parameters
    ----------
    samples : sequence of bytes
        Where pieces are taken from.
    """

    def __init__(self, chance: random.Random, samples: Sequence[bytes]) -> None:
        self._chance = chance
        self._samples = samples
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._set_byte,
            self._set_number,
            self._set_number,
            self._add_to_number,
            self._cut,
            self._shorten,
            self._double,
            self._insert,
            self._splice,
            self._zero,
        )

    def mutate(self, sample: bytes) -> bytes:
        """The sample with one to eight changes, few more often than many; now and then as it is."""
        data = bytearray(sample)
        if self._chance.random() < 0.02:
            return bytes(data)
        for _ in range(1 + int(8 * self._chance.random() ** 3)):
            if not data:
                break
            self._chance.choice(self._changes)(data)
        return bytes(data[:_MAX_BYTES])

    def mutate_sequence(self, pdus: Sequence[bytes]) -> bytes:
        """A sequence of PDUs with some of them changed, left out, doubled, swapped or taken from elsewhere."""
        chance, found = self._chance, list(pdus)
        for _ in range(chance.randrange(3)):
            if not found:
                break
            at = chance.randrange(len(found))
            kind = chance.randrange(4)
            if kind == 0:
                del found[at]
            elif kind == 1:
                found.insert(at, found[chance.randrange(len(found))])
            elif kind == 2:
                found.insert(at, chance.choice(self._samples))
            else:
                other = chance.randrange(len(found))
                found[at], found[other] = found[other], found[at]
        if found and chance.random() < 0.85:
            at = chance.randrange(len(found))
            changed = self._mutate_pdv(found[at]) if chance.random() < 0.2 else self.mutate(found[at])
            # Half the time the length field is right again, so that the change gets past the header.
            if len(changed) >= 6 and chance.random() < 0.5:
                changed = changed[:2] + struct.pack(">I", len(changed) - 6) + changed[6:]
            found[at] = changed
        return b"".join(found)

    def _mutate_pdv(self, pdu: bytes) -> bytes:
        """Another presentation context or control header (PS3.8 Annex E.2) in front of the data; other PDUs as they are."""
        if pdu[:1] != b"\4" or len(pdu) < 12:
            return pdu
        data = bytearray(pdu)
        if self._chance.random() < 0.6:
            data[10] = self._chance.choice((0, 1, 2, 3, 5, 7, 255))
        if self._chance.random() < 0.6:
            data[11] = self._chance.choice((0, 1, 2, 3, 4, 255))
        return bytes(data)

    def cuts(self, size: int) -> list[int]:
        """Where to cut an input of `size` bytes for delivery in pieces; ascending, without the ends."""
        count = self._chance.choice((0, 1, 2, 8, 64))
        return sorted({self._chance.randrange(size) for _ in range(count)} - {0}) if size else []

    # ---- the changes

    def _at(self, data: bytearray) -> int:
        # Structure stands in front: most changes are made there.
        return self._chance.randrange(min(len(data), self._chance.choice((16, 96, len(data)))))

    def _flip(self, data: bytearray) -> None:
        data[self._at(data)] ^= 1 << self._chance.randrange(8)

    def _set_byte(self, data: bytearray) -> None:
        data[self._at(data)] = self._chance.choice(_BYTES)

    def _set_number(self, data: bytearray) -> None:
        at, size = self._at(data), self._chance.choice((1, 2, 4))
        number = self._chance.choice(_NUMBERS) & (1 << 8 * size) - 1
        data[at : at + size] = number.to_bytes(size, self._chance.choice(("big", "little")))

    def _add_to_number(self, data: bytearray) -> None:
        at, size = self._at(data), self._chance.choice((1, 2, 4))
        order = self._chance.choice(("big", "little"))
        number = int.from_bytes(data[at : at + size], order) + self._chance.randrange(-8, 9)
        data[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, order)

    def _cut(self, data: bytearray) -> None:
        at = self._at(data)
        del data[at : at + 1 + int(64 * self._chance.random() ** 2)]

    def _shorten(self, data: bytearray) -> None:
        del data[self._at(data) :]

    def _double(self, data: bytearray) -> None:
        at = self._at(data)
        piece = data[at : at + 1 + self._chance.randrange(64)]
        data[at:at] = piece * self._chance.choice((1, 1, 2, 16, 200))

    def _insert(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._chance.randbytes(1 + self._chance.randrange(16))

    def _splice(self, data: bytearray) -> None:
        other = self._chance.choice(self._samples)
        if other:
            begin, at = self._chance.randrange(len(other)), self._at(data)
            piece = other[begin : begin + 1 + self._chance.randrange(256)]
            data[at : at + self._chance.choice((0, len(piece)))] = piece

    def _zero(self, data: bytearray) -> None:
        at = self._at(data)
        count = 1 + self._chance.randrange(32)
        data[at : at + count] = bytes(min(count, len(data) - at))
