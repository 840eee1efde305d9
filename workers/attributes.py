"""Attributes that rules ask for, from the head of a data set: bounded, tolerant, and with no word about a value in a log."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import IS, DSdecimal, DSfloat

from archive.attributes import UNREADABLE, clean
from dicomrelay.dicom.transfer_syntaxes import TransferSyntax, transfer_syntax
from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.rules")
# Where most data sets have what stands before their pixel data, and how far is looked at all.
_HEADS: Final = (65_536, 4 << 20)
_PIXELS: Final = 0x7FE00000
MAX_VALUES: Final = 64
MAX_CHARACTERS: Final = 1024


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
        All tags, also where the file cannot be read: then none has a value, and the log says why without quoting one.
    """
    if not tags:
        return {}
    found: dict[int, tuple[str, ...]] = dict.fromkeys(tags, ())
    syntax = transfer_syntax(transfer_syntax_uid)
    try:
        data_set = _head(path, data_set_offset, syntax, tags)
    except UNREADABLE as error:
        _log.warning(
            "attributes cannot be read, the rules take them for missing",
            action="rules.unreadable",
            reason=type(error).__name__,
        )
        return found
    for tag in tags:
        found[tag] = tuple(_values(data_set, tag))
    return found


def _head(path: Path, offset: int, syntax: TransferSyntax, tags: Collection[int]) -> Dataset:
    data_set = Dataset()
    for size in _HEADS:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            head = _bytes(file, size, deflated=syntax.is_deflated)
        data_set, is_enough = _read(head, syntax, tags)
        if is_enough or len(head) < size:
            return data_set
    # What stands last may be cut off.
    last = max((int(tag) for tag in data_set.keys()), default=None)  # noqa: SIM118 - a data set is no dictionary
    if last is not None:
        del data_set[last]
    return data_set


def _bytes(file: io.FileIO, size: int, *, deflated: bool) -> bytes:
    head = file.read(size) or b""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, size) if deflated else head


def _read(head: bytes, syntax: TransferSyntax, tags: Collection[int]) -> tuple[Dataset, bool]:
    """What is in the head, and whether all that is asked for stands before its end."""
    end = min(max(tags) + 1, _PIXELS)
    passed = False

    def stop(tag: Any, _vr: str | None, _length: int) -> bool:
        nonlocal passed
        passed = bool(tag >= end)
        return passed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = read_dataset(
            io.BytesIO(head),
            syntax.is_implicit_vr,
            syntax.is_little_endian,
            stop_when=stop,
            # Its character set says how to read the others.
            specific_tags=[0x00080005, *tags],
        )
    return data_set, passed


def _values(data_set: Dataset, tag: int) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if tag not in data_set:
                return
            element = data_set[tag]
            raw = element.value
            many = raw if isinstance(raw, MultiValue | list) else [raw]
            texts = [_text(element, each) for each in many[:MAX_VALUES]]
    except UNREADABLE:
        return
    if any(texts):
        yield from texts


def _text(element: DataElement, value: Any) -> str:
    if value is None or element.VR == "SQ":
        return ""
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip(" \0") if element.VR == "UN" else ""
    elif isinstance(value, DSfloat | DSdecimal | IS):
        value = getattr(value, "original_string", None) or value
    return clean(str(value))[:MAX_CHARACTERS]
