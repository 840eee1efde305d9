"""Identifiers to bytes and back (PS3.4 Annex C.1.1.3). pydicom does the work; the bounds around it are ours.

What a peer sends is limited before it is decoded, and nothing that is raised here quotes a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.identifier_bounds import require_few_elements
from dicomrelay.errors import ConfigurationError, MalformedDataSet

# Sequences in sequences; the deepest that a model defines is three.
MAX_DEPTH: Final = 16


def encode_identifier(identifier: Dataset, transfer_syntax_uid: str) -> bytes:
    """The bytes of an identifier, in implicit or explicit VR little endian.

    Text goes in the character set that (0008,0005) of the identifier names.

    Raises
    ------
    ConfigurationError
        The character set is unknown, or a text has characters that it lacks.
    """
    with _unchecked():
        _require_charset(identifier)
        buffer = DicomBytesIO()
        buffer.is_little_endian = True
        buffer.is_implicit_VR = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "error"
                )  # pydicom would send question marks in place of what does not fit
                write_dataset(buffer, identifier)
        except (UserWarning, UnicodeError, LookupError) as error:
            charset = identifier.get("SpecificCharacterSet") or "the default repertoire"
            raise ConfigurationError(
                f"a key has characters that {charset} lacks; leave SpecificCharacterSet out, and UTF-8 is used"
            ) from error
    return bytes(buffer.getvalue())


def decode_identifier(raw: bytes, transfer_syntax_uid: str, *, max_elements: int | None = None) -> Dataset:
    """The data set of an identifier, every element of it decoded.

    A character set that is unknown or wrong costs the characters, not the answer.

    Parameters
    ----------
    max_elements : int, optional
        Elements and items at most, wherever they stand; an answer may have any number.

    Raises
    ------
    TooManyElements
        Before any of them is decoded.
    MalformedDataSet
        The bytes are no data set or not a whole one, or nest deeper than `MAX_DEPTH` sequences.
    """
    if max_elements is not None:
        require_few_elements(raw, transfer_syntax_uid, max_elements)
    # pydicom takes a value that is cut off; a key may be a list of UIDs (PS3.4 Section C.2.2.2.2)
    scanner = HeaderScanner(transfer_syntax_uid, whole=True, may_list=True)
    scanner.feed(memoryview(raw))
    scanner.finish()
    try:
        with _unchecked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            found = read_dataset(
                BytesIO(raw),
                is_implicit_VR=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
                is_little_endian=True,
                bytelength=len(raw),
            )
            _settle(found, 0)
    except (MalformedDataSet, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever its parsers do; its words quote values
        raise MalformedDataSet(f"an identifier that cannot be read ({type(error).__name__})") from None
    return found


def failed_instances(identifier: Dataset) -> list[str]:
    """Failed SOP Instance UID List (0008,0058) of a final response, without what are no UIDs (PS3.4 Section C.4.2.3.2)."""
    value = identifier.get("FailedSOPInstanceUIDList") or []
    return [str(uid) for uid in ([value] if isinstance(value, str) else value) if is_tolerable_uid(str(uid))]


def _settle(data_set: Dataset, depth: int) -> None:
    """Decode every element now, where it is looked after, and not one by one in the hands of the caller."""
    if depth > MAX_DEPTH:
        raise MalformedDataSet(f"an identifier with sequences more than {MAX_DEPTH} deep")
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                _settle(item, depth + 1)
    data_set.decode()


def _require_charset(identifier: Dataset) -> None:
    named = identifier.get("SpecificCharacterSet")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            convert_encodings(named or [])
    except (UserWarning, LookupError) as error:
        raise ConfigurationError(
            f"SpecificCharacterSet={named}: no such character set (PS3.3 Section C.12.1.1.2)"
        ) from error


@contextmanager
def _unchecked() -> Iterator[None]:
    """pydicom without its checks of values: a key may hold wildcards and ranges, a peer may answer anything."""
    with config.disable_value_validation():
        yield
