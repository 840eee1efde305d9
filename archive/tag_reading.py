"""Some elements of a data set, read by pydicom from its head: of a file, deflated or not."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from dicomrelay.dicom.transfer_syntaxes import transfer_syntax

_INFLATED_BYTES: Final = 16 * 1024 * 1024


@contextmanager
def reading_tags(
    path: Path,
    offset: int,
    transfer_syntax_uid: str,
    *,
    end: int,
    tags: Collection[int | BaseTag] | None = None,
    defer_bytes: int | None = None,
    inflated_bytes: int = _INFLATED_BYTES,
) -> Iterator[Dataset]:
    """A data set, to be read from as long as the block lasts; pydicom's warnings are not told.

    Parameters
    ----------
    offset : int
        Where the data set begins, in bytes.
    end : int
        The first tag that is not read, nor anything behind it.
    tags : collection of int, optional
        Of the data set itself; by default all. A sequence comes with all that is in it.
    defer_bytes : int, optional
        Longer values are passed over, and read when they are asked for.
    inflated_bytes : int
        Of a deflated data set so much of the file is read, and so much of what comes out of it.

    Raises
    ------
    Exception
        One of `archive.attributes.UNREADABLE`, here or when a value is asked for.
    """
    syntax = transfer_syntax(transfer_syntax_uid)
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.seek(offset)
        source: BinaryIO = file
        if syntax.is_deflated:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            source = io.BytesIO(inflater.decompress(file.read(inflated_bytes), inflated_bytes))
        yield read_dataset(
            source,
            syntax.is_implicit_vr,
            syntax.is_little_endian,
            stop_when=lambda tag, _vr, _length: tag >= end,
            defer_size=defer_bytes,
            specific_tags=None if tags is None else [*tags],
        )
