"""Look-up tables of a data set: Modality and VOI LUTs, palettes (PS3.3 Sections C.11.1.1.1, C.7.6.3.1.5, C.7.9.2)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from archive.renditions.colour import Palette
from archive.renditions.gray import LookUpTable
from dicomrelay.errors import NotTranscodable

COLOURS: Final = ("Red", "Green", "Blue")
_MOST: Final = 65_536
_DISCRETE, _LINEAR, _INDIRECT = range(3)


def table(item: Dataset | None, *, is_signed: bool) -> LookUpTable | None:
    """A Modality or VOI LUT, its entries in 8 or 16 bits; None when there is none, or none that makes sense.

    Parameters
    ----------
    is_signed : bool
        Whether the first value that it maps may be below 0.
    """
    if item is None:
        return None
    with suppress(Exception):  # pydicom converts when it is asked, and raises what it likes
        count, first, bits = _integers(item.get("LUTDescriptor"))
        count = (count % _MOST) or _MOST
        entries = _entries(item, item.get("LUTData"), count)
        if len(entries) and 0 < bits <= 16:
            first = _signed(first) if is_signed else first
            return LookUpTable(first, entries.astype(np.float64), max(bits, int(entries.max()).bit_length()))
    return None


def palette(ds: Dataset, *, is_signed: bool) -> Palette:
    """The colours of PALETTE COLOR.

    Raises
    ------
    NotTranscodable
        There are none, or they contradict themselves.
    """
    first, columns = 0, []
    for colour in COLOURS:
        descriptor = _integers(ds.get(f"{colour}PaletteColorLookupTableDescriptor"))
        if len(descriptor) != 3:
            raise NotTranscodable(f"there is no palette for {colour.lower()}")
        count, first, bits = descriptor
        first = _signed(first) if is_signed else first
        columns.append(_upper_bytes(_palette_entries(ds, colour, (count % _MOST) or _MOST, bits), bits))
    length = min(map(len, columns))
    if not length:
        raise NotTranscodable("a palette is empty")
    return Palette(first, np.stack([column[:length] for column in columns], axis=1))


def expanded(words: Sequence[int], *, entry_bytes: int) -> list[int]:
    """A segmented palette written out, up to 65,536 entries.

    Parameters
    ----------
    entry_bytes : int
        1 or 2: how the segments are written.

    Raises
    ------
    NotTranscodable
        A segment is of no known kind, is cut off, or refers to what is none.
    """
    out: list[int] = []
    at = 0
    while at + 2 < len(words) and len(out) < _MOST:
        is_indirect = words[at] == _INDIRECT
        at = _indirect(words, at, out, entry_bytes) if is_indirect else _segment(words, at, out)
    return out[:_MOST]


def _segment(words: Sequence[int], at: int, out: list[int]) -> int:
    """Write out one discrete or linear segment; where the next one begins."""
    if at + 2 >= len(words):
        raise NotTranscodable("a segmented palette refers to what is not there")
    kind, length = words[at], words[at + 1]
    if kind == _DISCRETE:
        out += words[at + 2 : at + 2 + length]
        return at + 2 + length
    if kind != _LINEAR or not out or not length:
        raise NotTranscodable("a segmented palette is malformed")
    last, end = out[-1], words[at + 2]
    out += (int(value) for value in np.around(last + (end - last) * np.arange(1, length + 1) / length))
    return at + 3


def _indirect(words: Sequence[int], at: int, out: list[int], entry_bytes: int) -> int:
    """Write out the segments that an indirect one refers to; they are none themselves (PS3.3 Section C.7.9.2.3)."""
    count, size = words[at + 1], 4 // entry_bytes
    place = words[at + 2 : at + 2 + size]
    if len(place) < size:
        raise NotTranscodable("a segmented palette is cut off")
    # In bytes from the beginning of the table, the least significant entry first.
    where = sum(word << (8 * entry_bytes * n) for n, word in enumerate(place)) // entry_bytes
    for _ in range(count):
        if len(out) >= _MOST:
            break
        where = _segment(words, where, out)
    return at + 2 + size


def _palette_entries(ds: Dataset, colour: str, count: int, bits: int) -> NDArray[Any]:
    plain = ds.get(f"{colour}PaletteColorLookupTableData")
    if plain is not None:
        return _entries(ds, plain, count)
    segmented = ds.get(f"Segmented{colour}PaletteColorLookupTableData")
    if segmented is None:
        raise NotTranscodable(f"there is no palette for {colour.lower()}")
    entry_bytes = 1 if bits <= 8 else 2
    words = [int(word) for word in _numbers(ds, segmented, entry_bytes)]
    return np.array(expanded(words, entry_bytes=entry_bytes)[:count], np.uint16)


def _entries(ds: Dataset, value: Any, count: int) -> NDArray[Any]:
    """`count` entries: two bytes each when there are so many bytes, else one."""
    is_short = isinstance(value, bytes) and len(value) < 2 * count
    return _numbers(ds, value, 1 if is_short else 2)[:count]


def _numbers(ds: Dataset, value: Any, entry_bytes: int) -> NDArray[Any]:
    if value is None:
        return np.empty(0, np.uint16)
    if isinstance(value, int):
        value = [value]
    if not isinstance(value, bytes):
        return np.array([int(number) % _MOST for number in value], np.uint16)
    data = np.frombuffer(value[: len(value) // 2 * 2], "<u2")
    if ds.original_encoding[1] is False:
        data = data.byteswap()  # words of 16 bits, whatever is in them (PS3.5 Section 6.2, OW)
    return data.view("u1") if entry_bytes == 1 else data


def _upper_bytes(entries: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Entries of 16 bits by their upper byte; some equipment says 16 and writes 8."""
    if bits > 8 and len(entries) and entries.max() > 255:
        return (entries >> 8).astype(np.uint8)
    return entries.astype(np.uint8)


def _signed(first: int) -> int:
    """A first value mapped of 16 bits: signed where the pixels are, whatever the VR of the descriptor says."""
    return first - _MOST if first > 32767 else first


def _integers(value: Any) -> list[int]:
    with suppress(Exception):
        if isinstance(value, bytes):
            return [int(number) for number in np.frombuffer(value[:6], "<u2")]
        return [int(number) for number in value]
    return []
