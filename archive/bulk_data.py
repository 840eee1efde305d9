"""Where one value of a stored data set lies, so that it can be sent without the rest (PS3.18 Section 10.4.1.1.5)."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from archive.attributes import UNREADABLE
from archive.values import StoredInstance
from dicomrelay.dicom.transfer_syntaxes import TransferSyntax, transfer_syntax
from dicomrelay.errors import ArchiveError, InstanceNotFound
from dicomrelay.transcode.representations import dictionary_vr, width

# What a data set may inflate to here, and what its sequences may have in memory.
INFLATED_BYTES: Final = 64 * 1024 * 1024
SEQUENCE_BYTES: Final = 16 * 1024 * 1024
# Longer values stay on the disk.
DEFERRED_BYTES: Final = 65_536
UNDEFINED_LENGTH: Final = 0xFFFFFFFF
PIXEL_GROUP: Final = 0x7FE0
# Float, Double Float and plain Pixel Data; what of the group is before them are tables of a few bytes a frame.
PIXEL_TAGS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
_LONG_VRS: Final = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"})
_FIRST_PIXEL_TAG: Final = 0x7FE00001
_MOST_OF_GROUP: Final = 16


@dataclass(frozen=True, slots=True)
class BulkValue:
    """A value and how it is read.

    Attributes
    ----------
    offset, length : int
        Where it lies in the file, in bytes; length is `UNDEFINED_LENGTH` of compressed pixel data.
    unit : int
        Bytes of one number that are turned around as it is read, from big endian; 1 for none.
    data : bytes, optional
        The value itself, little endian, where it does not lie in the file as it is.
    """

    vr: str
    offset: int
    length: int
    unit: int = 1
    data: bytes | None = None

    @property
    def is_encapsulated(self) -> bool:
        """Whether it is frames in fragments."""
        return self.length == UNDEFINED_LENGTH


def plain_data_set(file: BinaryIO, stored: StoredInstance, syntax: TransferSyntax) -> BinaryIO:
    """A file positioned at the data set; of a deflated one the first 64 MiB, inflated in memory. Raises zlib.error, OSError."""
    file.seek(stored.data_set_offset)
    if not syntax.is_deflated:
        return file
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    return io.BytesIO(inflater.decompress(file.read(INFLATED_BYTES), INFLATED_BYTES))


def read_before_pixels(
    source: BinaryIO, syntax: TransferSyntax, *, last_tag: int = _FIRST_PIXEL_TAG
) -> Dataset:
    """The data set up to a tag or its pixel data, values over 64 KiB left where they are, sequences whole within 16 MiB."""
    stop_at = min(last_tag + 1, _FIRST_PIXEL_TAG)
    data_set = read_dataset(
        source,
        syntax.is_implicit_vr,
        syntax.is_little_endian,
        stop_when=lambda tag, _vr, _length: tag >= stop_at,
        defer_size=DEFERRED_BYTES,
    )
    end = source.tell()
    _read_sequences(source, data_set)
    source.seek(end)
    return data_set


def pixel_value(source: BinaryIO, syntax: TransferSyntax) -> tuple[int, BulkValue] | None:
    """Tag and place of the pixel data, from where `read_before_pixels` stopped; None when there is none."""
    order = "<" if syntax.is_little_endian else ">"
    for _ in range(_MOST_OF_GROUP):
        head = source.read(8)
        if len(head) < 8:
            return None
        group, element, vr, length = struct.unpack(f"{order}HH2sH", head)
        if group != PIXEL_GROUP:
            return None
        tag = group << 16 | element
        # Their first letters are odd numbers and lengths are even: what looks like a VR is one, whatever the syntax says.
        if vr in _LONG_VRS:
            (length,) = struct.unpack(f"{order}I", source.read(4).ljust(4, b"\0"))
        else:
            vr = PIXEL_TAGS.get(tag, "OW").encode()
            (length,) = struct.unpack(f"{order}I", head[4:])
        if tag in PIXEL_TAGS:
            return tag, _placed(vr.decode("latin-1"), source.tell(), length, syntax)
        if length == UNDEFINED_LENGTH:
            return None
        source.seek(length, io.SEEK_CUR)
    return None


def find_value(path: Path, stored: StoredInstance, address: Sequence[int]) -> BulkValue:
    """Where a value lies.

    Parameters
    ----------
    address : sequence of int
        Its tag; or the tag of a sequence, the number of the item from 1, a tag, and so on.

    Raises
    ------
    InstanceNotFound
        There is no such value, or it is a sequence.
    ArchiveError
        The data set cannot be read.
    OSError
        The file cannot be read.
    """
    syntax = transfer_syntax(stored.transfer_syntax_uid)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = plain_data_set(file, stored, syntax)
            data_set = read_before_pixels(source, syntax, last_tag=address[0])
            if address[0] in PIXEL_TAGS:
                found = pixel_value(source, syntax)
                value = found[1] if found is not None and found[0] == address[0] else None
            else:
                value = _value(data_set, address, syntax)
            if value is not None and value.data is None and not value.is_encapsulated:
                if value.offset + value.length > source.seek(0, io.SEEK_END):
                    raise ArchiveError(f"the data set of {stored.sop_instance_uid} ends inside a value")
                if syntax.is_deflated:
                    source.seek(value.offset)
                    value = BulkValue(value.vr, 0, value.length, data=source.read(value.length))
    except OSError:
        raise
    except UNREADABLE as error:
        raise ArchiveError(
            f"the attributes of {stored.sop_instance_uid} cannot be read ({type(error).__name__})"
        ) from error
    if value is None:
        raise InstanceNotFound(f"instance {stored.sop_instance_uid} has no such value")
    return value


def turned(chunks: Iterator[bytes], unit: int) -> Iterator[bytes]:
    """Chunks with the bytes of each number turned around; each chunk but the last is a multiple of `unit` long."""
    for chunk in chunks:
        whole = len(chunk) - len(chunk) % unit
        made = bytearray(chunk)
        for byte in range(unit):
            made[byte:whole:unit] = chunk[unit - 1 - byte : whole : unit]
        yield bytes(made)


def as_read(data_set: Dataset) -> list[tuple[BaseTag, Any]]:
    """Tags and elements; of those left on the disk too, which pydicom would go and read from a file that it does not know."""
    return [*data_set.items()]


def vr_of(element: Any) -> str:
    """The VR of an element as it was read; by the dictionary where it has none (PS3.6)."""
    if element.VR:
        return str(element.VR)
    vr = dictionary_vr(element.tag)
    return "OW" if " or " in vr else vr


def _value(data_set: Dataset, address: Sequence[int], syntax: TransferSyntax) -> BulkValue | None:
    tag, rest = BaseTag(address[0]), address[1:]
    element = dict(as_read(data_set)).get(tag)
    if element is None:
        return None
    if rest:
        is_there = vr_of(element) == "SQ" and element.value is not None
        items = data_set[tag].value if is_there else ()
        if len(rest) < 2 or not 1 <= rest[0] <= len(items):
            return None
        return _value(items[rest[0] - 1], rest[1:], syntax)
    vr = vr_of(element)
    if vr == "SQ":
        return None
    if isinstance(element, RawDataElement) and element.value is None and element.length:
        return _placed(vr, element.value_tell, element.length, syntax)
    data = element.value
    if not isinstance(data, bytes):
        return None
    unit = 1 if syntax.is_little_endian else width(vr.encode()) or 1
    return BulkValue(vr, 0, len(data), data=b"".join(turned(iter([data]), unit)))


def _placed(vr: str, offset: int, length: int, syntax: TransferSyntax) -> BulkValue:
    unit = 1 if syntax.is_little_endian else width(vr.encode()) or 1
    return BulkValue(vr, offset, length, unit)


def _read_sequences(source: BinaryIO, data_set: Dataset) -> None:
    """Put in the sequences of known length that were left on the disk, as long as they fit."""
    left = SEQUENCE_BYTES
    for tag, element in as_read(data_set):
        if not isinstance(element, RawDataElement) or element.value is not None:
            continue
        if vr_of(element) == "SQ" and 0 < element.length <= left:
            left -= element.length
            source.seek(element.value_tell)
            data_set[tag] = element._replace(value=source.read(element.length))
