"""Attributes that rules ask for, from the head of a data set: bounded, tolerant, and with no word about a value in a log."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import IS, DSdecimal, DSfloat

from archive.attributes import UNREADABLE, clean
from dicomrelay.dicom.transfer_syntaxes import TransferSyntax, transfer_syntax
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.rules")
# Where most data sets have what stands before their pixel data, and how far is looked at all.
_HEADS: Final = (65_536, 4 << 20)
# Items of sequences in it: of more, what stands behind the first bytes is not looked for. Each one is an object when it is read.
_MOST_ITEMS: Final = 20_000
_ITEM: Final = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}
_PIXELS: Final = 0x7FE00000
MAX_VALUES: Final = 64
MAX_CHARACTERS: Final = 1024
# Of a value no more is decoded, whatever its escape sequences say.
_VALUE_BYTES: Final = 16_384
_CHARACTER_SET: Final = 0x00080005
_CHARACTER_SET_BYTES: Final = 1024
# Memory is no matter of the bytes.
_NO_DATA_SET: Final = tuple(kind for kind in UNREADABLE if kind is not MemoryError)


def read_attributes(
    path: Path, *, data_set_offset: int, transfer_syntax_uid: str, tags: Collection[int]
) -> dict[int, tuple[str, ...]]:
    """Values of the tags as texts, in UTF-8 whatever their character set; no values where one is missing or empty.

    Parameters
    ----------
    data_set_offset : int
        Where the data set begins in the file, in bytes. At most 4 MiB of it are looked at, inflated where it is deflated.

    Returns
    -------
    dict
        All tags, also where the file is gone or is no data set: what stands behind the place where it cannot be read has no
        value, and the log says why without quoting one.

    Raises
    ------
    ServiceUnavailable
        The file cannot be read now: no word about what is in it.
    """
    if not tags:
        return {}
    found: dict[int, tuple[str, ...]] = dict.fromkeys(tags, ())
    syntax = transfer_syntax(transfer_syntax_uid)
    try:
        data_set = _head(path, data_set_offset, syntax, tags)
        for tag in tags:
            found[tag] = tuple(_values(data_set, tag))
    except FileNotFoundError as error:
        _tell(error)
    except (OSError, MemoryError) as error:
        why = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise ServiceUnavailable(f"the head of an instance cannot be read: {why}") from error
    return found


def _tell(error: Exception) -> None:
    _log.warning(
        "attributes cannot be read, the rules take them for missing",
        action="rules.unreadable",
        reason=type(error).__name__,
    )


def _head(path: Path, offset: int, syntax: TransferSyntax, tags: Collection[int]) -> Dataset:
    """What is asked for, as far as it can be read. Raises OSError of the file, and MemoryError."""
    reader = _Reader(syntax, tags)
    is_too_much = False
    for size in _HEADS:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            raw = file.read(size) or b""
        head, is_cut = _inflated(raw, size) if syntax.is_deflated else (raw, len(raw) == size)
        if size > _HEADS[0] and head.count(_ITEM[syntax.is_little_endian]) > _MOST_ITEMS:
            is_too_much = True
            break
        data_set = reader.read(head)
        # What is cut off, in the middle of a sequence as between two elements, may go on in the next one.
        if reader.is_enough or not is_cut:
            break
    if is_too_much:
        _tell(reader.problem or ValueError())
    elif reader.problem is not None and not reader.is_enough:
        _tell(reader.problem)
    if reader.problem is None and not reader.is_enough and is_cut:
        # What stands last may be cut off.
        last = max((int(tag) for tag in data_set.keys()), default=None)  # noqa: SIM118 - a data set is no dictionary
        if last is not None:
            del data_set[last]
    return data_set


def _inflated(raw: bytes, size: int) -> tuple[bytes, bool]:
    """What that much of a deflated data set is, at most `size` bytes, and whether there is more."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        head = inflater.decompress(raw, size)
    except zlib.error:
        return b"", False
    return head, not inflater.eof and (len(raw) == size or len(head) == size)


class _Reader:
    """Reads heads of one data set; then knows whether all that is asked for stands before its end, and what was wrong."""

    def __init__(self, syntax: TransferSyntax, tags: Collection[int]) -> None:
        self._syntax = syntax
        self._tags = tags
        self._end = min(max(tags) + 1, _PIXELS)
        self._at = 0
        self.is_enough = False
        self.problem: Exception | None = None

    def read(self, head: bytes) -> Dataset:
        """What is asked for; up to where the head cannot be read."""
        self.problem, self._at = None, 0
        end = self._end
        try:
            data_set = self._read(head, end)
        except _NO_DATA_SET as error:
            self.problem, self.is_enough = error, False
            # Once more, without the element that it is.
            try:
                data_set = self._read(head, self._at)
            except _NO_DATA_SET:
                data_set = Dataset()
            self.is_enough = False
        for tag in self._tags:
            _shorten(data_set, tag, head)
        return data_set

    def _read(self, head: bytes, end: int) -> Dataset:
        def stop(tag: Any, _vr: str | None, length: int) -> bool:
            self._at = int(tag)
            self.is_enough = bool(tag >= end)
            if tag == _CHARACTER_SET and not self.is_enough and length > _CHARACTER_SET_BYTES:
                raise ValueError("no character set is that long")
            return self.is_enough

        self.is_enough = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_dataset(
                io.BytesIO(head),
                self._syntax.is_implicit_vr,
                self._syntax.is_little_endian,
                stop_when=stop,
                defer_size=_VALUE_BYTES,
                # Its character set says how to read the others.
                specific_tags=[_CHARACTER_SET, *self._tags],
            )


def _shorten(data_set: Dataset, tag: int, head: bytes) -> None:
    """Give a long value its first bytes: no more of it is decoded."""
    element: Any = data_set.get_item(tag, keep_deferred=True) if tag in data_set else None
    if not isinstance(element, RawDataElement) or element.value is not None or not element.length:
        return
    begin = element.value_tell
    value = head[begin : begin + min(element.length, _VALUE_BYTES)]
    data_set[element.tag] = element._replace(value=value, length=len(value))


def _values(data_set: Dataset, tag: int) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if tag not in data_set or _is_sequence(data_set.get_item(tag)):
                return
            element = data_set[tag]
            raw = element.value
            many = raw if isinstance(raw, MultiValue | list) else [raw]
            texts = [_text(element, each) for each in many[:MAX_VALUES]]
    except _NO_DATA_SET:
        return
    if any(texts):
        yield from texts


def _is_sequence(element: Any) -> bool:
    return element is not None and element.VR == "SQ"


def _text(element: DataElement, value: Any) -> str:
    if value is None or element.VR == "SQ":
        return ""
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip(" \0") if element.VR == "UN" else ""
    elif isinstance(value, DSfloat | DSdecimal | IS):
        value = getattr(value, "original_string", None) or value
    return clean(str(value))[:MAX_CHARACTERS]
