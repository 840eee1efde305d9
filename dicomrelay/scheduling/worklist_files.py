"""Files of orders: which kind one is, and what it asks (docs/design/worklist.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.dimse.identifier import decode_identifier
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.errors import MalformedDataSet, NotDicom
from dicomrelay.scheduling import worklist_csv, worklist_json
from dicomrelay.scheduling.worklist_building import Stations, of_data_set
from dicomrelay.scheduling.worklist_change import Record, UnreadableFile, told_apart
from dicomrelay.scheduling.worklist_item import MOST_ELEMENTS

MOST_BYTES: Final = 64 * 1024**2
MOST_DICOM_BYTES: Final = 1024**2
_HL7: Final = re.compile(rb"\s*(\xef\xbb\xbf)?\x0b?(MSH|FHS|BHS)[^A-Za-z0-9\s]")


class Kind(StrEnum):
    """Kinds of files."""

    DICOM = "dicom"
    JSON = "json"
    CSV = "csv"
    HL7 = "hl7"


_SUFFIXES: Final = {
    ".wl": Kind.DICOM,
    ".dcm": Kind.DICOM,
    ".json": Kind.JSON,
    ".csv": Kind.CSV,
    ".tsv": Kind.CSV,
    ".hl7": Kind.HL7,
}
SUFFIXES: Final = frozenset(_SUFFIXES)


def read_file(path: Path, stations: Stations, kind: Kind | None = None) -> Sequence[Record]:
    """What a file asks.

    Parameters
    ----------
    kind : Kind, optional
        None: what its contents look like, else what its name says.

    Raises
    ------
    UnreadableFile
        It is too large, cannot be read, or none of its kind.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(error.strerror or "cannot be read") from error
    if len(raw) > MOST_BYTES:
        raise UnreadableFile(f"more than {MOST_BYTES} bytes: import it in parts")
    return read_bytes(raw, kind or kind_of(raw, path.suffix), stations)


def kind_of(raw: bytes, suffix: str) -> Kind:
    """What bytes look like, else what a name's ending says. Raises UnreadableFile when neither does."""
    if raw[128:132] == b"DICM":
        return Kind.DICOM
    if _HL7.match(raw[:64]):
        return Kind.HL7
    if (known := _SUFFIXES.get(suffix.lower())) is not None:
        return known
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return Kind.JSON
    raise UnreadableFile("no .wl, .json, .csv or .hl7: say which with --format")


def read_bytes(raw: bytes, kind: Kind, stations: Stations) -> Sequence[Record]:
    """What the bytes of a file ask. Raises UnreadableFile as `read_file`."""
    if kind is Kind.DICOM:
        return [*told_apart([_dicom(raw)])]
    if kind is Kind.HL7:
        from dicomrelay.scheduling import worklist_hl7  # noqa: PLC0415 - its library for those who have such files

        return worklist_hl7.records(raw, stations)
    read = worklist_json.records if kind is Kind.JSON else worklist_csv.records
    return read(_text(raw), stations)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"byte {error.start} is no UTF-8: save it as UTF-8") from None


def _dicom(raw: bytes) -> Record:
    if len(raw) > MOST_DICOM_BYTES:
        raise UnreadableFile(f"a DICOM file of more than {MOST_DICOM_BYTES} bytes is no worklist item")
    try:
        meta = parse_file_meta(raw)
        if meta.transfer_syntax_uid not in IDENTIFIER_TRANSFER_SYNTAXES:
            raise UnreadableFile("its transfer syntax is neither implicit nor explicit VR little endian")
        data_set = decode_identifier(
            raw[meta.data_set_offset :], meta.transfer_syntax_uid, max_elements=MOST_ELEMENTS
        )
    except NotDicom:
        raise UnreadableFile("no DICOM file") from None
    except MalformedDataSet as error:
        raise UnreadableFile(str(error)) from None
    return of_data_set("", data_set)
