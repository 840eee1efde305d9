"""Some attributes of one stored instance as a data set, for who asks for what the index has not."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from archive.attributes import UNREADABLE
from archive.values import StoredInstance
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax

_INFLATED_BYTES: Final = 16 * 1024 * 1024


def read_head(path: Path, stored: StoredInstance, tags: Collection[int]) -> Dataset | None:
    """These attributes of a stored file, decoded; None when its data set cannot be read.

    Parameters
    ----------
    tags : collection of int
        Of the data set itself; a sequence comes with all that is in it. Nothing behind the last of them is read.
    """
    syntax = transfer_syntax(stored.transfer_syntax_uid)
    last = max(tags)
    wanted: list[BaseTag | int] = [*tags]
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.seek(stored.data_set_offset)
            source: BinaryIO = file
            if syntax.is_deflated:
                inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                source = io.BytesIO(inflater.decompress(file.read(_INFLATED_BYTES), _INFLATED_BYTES))
            found = read_dataset(
                source,
                syntax.is_implicit_vr,
                syntax.is_little_endian,
                stop_when=lambda tag, _vr, _length: tag > last,
                specific_tags=wanted,
            )
            found.decode()
    except UNREADABLE:
        return None
    return found
