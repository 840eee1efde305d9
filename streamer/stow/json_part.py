"""Data sets in the DICOM JSON model as instances to store (PS3.18 Annex F): read, written as Explicit VR Little Endian.

For what is small and has no pixels: reports, key objects, presentation states. A value that stands elsewhere
(BulkDataURI) is refused with its instance, for a value that is missing would be a wrong instance.
"""

from __future__ import annotations

import io
import json
import struct
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from dicomrelay.dicom.status import Status
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import RelayError
from dicomrelay.net.replies import reply_to
from dicomrelay.net.service import StoreReply, finish
from dicomrelay.spool import SpoolRecord
from streamer.stow.file_part import Begin
from streamer.stow.json_values import NotStorable, storable
from streamer.stow.outcomes import Failed, Outcome, Stored

MOST_JSON_BYTES: Final = 4 * 1024 * 1024
_MOST_DEPTH: Final = 32
_UTF_8: Final = "ISO_IR 192"
_CHARACTER_SET: Final = 0x00080005
# Objects of pydicom take many times the bytes of the text: one such text at a time.
_ONE_AT_A_TIME: Final = threading.Lock()
# What pydicom raises on what it cannot write; OSError too, though no disk is asked.
_NOT_MADE: Final = (
    ValueError, TypeError, AttributeError, LookupError, NotImplementedError, RecursionError, OverflowError, OSError,
    struct.error,
)  # fmt: skip


class JsonPart:
    """Takes the bytes of one JSON text: an array of data sets, or one. For one thread at a time."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._text = bytearray()
        self._is_too_long = False

    def write(self, pieces: Sequence[memoryview]) -> None:
        """Take the next bytes. What goes wrong is told at the end."""
        for piece in pieces:
            if len(self._text) + len(piece) > MOST_JSON_BYTES:
                self._is_too_long = True
                self._text.clear()
            if not self._is_too_long:
                self._text += piece

    def finish(self) -> Callable[[], list[Outcome]]:
        """The text is whole. What is left to do: make its instances durable, and say what became of each."""
        return self._outcomes

    def _outcomes(self) -> list[Outcome]:
        if self._is_too_long:
            return [_failed(f"DICOM JSON of more than {MOST_JSON_BYTES >> 20} MiB: send Part 10 files")]
        text, self._text = bytes(self._text), bytearray()
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._stored(text)

    def abandon(self) -> None:
        """It will never be whole: forget it."""
        self._text.clear()

    def _stored(self, text: bytes) -> list[Outcome]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return [_failed("the text is no JSON in UTF-8")]
        listed = found if isinstance(found, list) else [found]
        if not listed:
            return [_failed("the array has no data set")]
        return [self._one(each) for each in listed]

    def _one(self, model: Any) -> Outcome:
        uids = _uid(model, "00080016"), _uid(model, "00080018")
        try:
            encoded = _encoded(_checked(model, 0))
        except NotStorable as error:
            return _failed(str(error), *uids)
        except _NOT_MADE:
            # The message of pydicom may quote a value.
            return _failed("an attribute's value is not one of its VR", *uids)
        records: list[SpoolRecord] = []
        begun = self._begin(*uids, EXPLICIT_VR_LITTLE_ENDIAN, records.append)
        if isinstance(begun, StoreReply):
            return Failed(begun.status, begun.comment, *uids)
        try:
            begun.write([memoryview(encoded)])
        except (RelayError, OSError) as error:
            begun.abandon()
            reply = reply_to(error)
        else:
            reply = finish(begun)
        if reply.status != Status.SUCCESS or not records:
            return Failed(reply.status, reply.comment, *uids)
        return Stored(*uids, records[0].study_instance_uid, records[0].series_instance_uid)


def _failed(words: str, sop_class_uid: str = "", sop_instance_uid: str = "") -> Failed:
    return Failed(Status.CANNOT_UNDERSTAND, words, sop_class_uid, sop_instance_uid)


def _uid(model: Any, tag: str) -> str:
    try:
        value = model[tag]["Value"][0]
    except (LookupError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def _checked(model: Any, depth: int) -> dict[str, Any]:
    """The data set as it will be stored. Raises NotStorable: it is none in the model, or not whole."""
    if depth > _MOST_DEPTH:
        raise NotStorable(f"sequences are nested more than {_MOST_DEPTH} deep")
    if not isinstance(model, dict):
        raise NotStorable("a data set is no JSON object")
    found: dict[str, Any] = {}
    for name, element in model.items():
        tag = name.upper()
        if len(tag) != 8 or not all(digit in "0123456789ABCDEF" for digit in tag):
            raise NotStorable("an attribute is not named by its tag: eight hexadecimal digits")
        if tag in found:
            raise NotStorable(f"{tag} stands there twice")
        if not isinstance(element, dict) or not isinstance(element.get("vr"), str):
            raise NotStorable(f"{tag} has no vr")
        if "BulkDataURI" in element:
            raise NotStorable(f"{tag} stands elsewhere (BulkDataURI): send a file")
        found[tag] = _sequence(tag, element, depth) if element["vr"] == "SQ" else storable(tag, element)
    return found


def _sequence(tag: str, element: dict[str, Any], depth: int) -> dict[str, Any]:
    items = element.get("Value", [])
    if not isinstance(items, list) or "InlineBinary" in element:
        raise NotStorable(f"{tag} has no list of items")
    return {"vr": "SQ", "Value": [_checked(item, depth + 1) for item in items]}


def _encoded(model: dict[str, Any]) -> bytes:
    data_set = Dataset.from_json(
        {tag: element for tag, element in model.items() if tag[:4] not in {"0000", "0002"}}
    )
    _say_utf_8(data_set, is_needed=not json.dumps(model, ensure_ascii=False).isascii())
    written = io.BytesIO()
    target = DicomFileLike(written)
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, data_set)
    return written.getvalue()


def _say_utf_8(data_set: Dataset, *, is_needed: bool) -> None:
    """JSON is UTF-8, whatever the data set said of itself before (PS3.18 Section F.2)."""
    if is_needed:
        data_set.SpecificCharacterSet = _UTF_8
    for element in data_set:
        if element.tag == Tag(_CHARACTER_SET) and element.value:
            element.value = _UTF_8
        elif element.VR == "SQ":
            for item in element.value:
                _say_utf_8(item, is_needed=False)
