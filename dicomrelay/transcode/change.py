"""One change of transfer syntax, from a file to a file. Runs in the child process (`child`)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dicomrelay.dicom.elements import UNDEFINED_LENGTH, ElementSyntax
from dicomrelay.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntax,
)
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.deflate import deflate, inflate
from dicomrelay.transcode.image import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    Image,
    read_image,
)
from dicomrelay.transcode.reader import ITEM, SEQUENCE_END, Element, Reader
from dicomrelay.transcode.representations import PIXEL_DATA
from dicomrelay.transcode.rewrite import Changes, Rewriter
from dicomrelay.transcode.syntaxes import COMPRESSED, NATIVE, compressible, producible
from dicomrelay.transcode.values import Copy, Source, TranscodeLimits
from dicomrelay.transcode.writer import Writer, digest_of, swapped

# Total length of encapsulated pixel data: of no meaning once it is native (PS3.3 Section C.7.6.3).
_TOTAL_LENGTH = 0x7FE00003
_OF_FRAGMENTS = frozenset({EXTENDED_OFFSETS, EXTENDED_LENGTHS, _TOTAL_LENGTH})
_MAX_TABLE_BYTES = 1 << 26


def change(source: Source, transfer_syntax_uid: str, path: Path, limits: TranscodeLimits) -> Copy:
    """Make a copy of a data set in another transfer syntax, without loss.

    Parameters
    ----------
    path : Path
        Where the copy is to be; what may lie beside it meanwhile has the same name and a suffix.

    Raises
    ------
    NotTranscodable
        It cannot be done without loss or within the limits; the message says why and names no value.
    OSError
        A file cannot be read or written.
    """
    if transfer_syntax_uid not in (
        *producible(source.transfer_syntax_uid),
        *compressible(source.transfer_syntax_uid),
    ):
        raise NotTranscodable(f"{transfer_syntax(source.transfer_syntax_uid).name} cannot be decoded here")
    plain = transfer_syntax_uid
    if plain == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN or plain in COMPRESSED:
        plain = EXPLICIT_VR_LITTLE_ENDIAN
    with (
        source.path.open("rb") as file,
        path.open("x+b") as out,
        _inflated(source, file, path, limits) as native,
    ):
        if plain == transfer_syntax_uid:
            _rewrite(native, plain, out, limits)
        else:
            with _beside(path, ".plain") as between:
                _rewrite(native, plain, between, limits)
                between.flush()
                length = os.fstat(between.fileno()).st_size
                between.seek(0)
                if transfer_syntax_uid in COMPRESSED:
                    _compress(
                        _Native(path, between, 0, length, EXPLICIT_VR_LITTLE_ENDIAN),
                        transfer_syntax_uid,
                        out,
                        limits,
                    )
                else:
                    deflate(between, length, out)
        out.flush()
        return Copy(path, os.fstat(out.fileno()).st_size, digest_of(out), transfer_syntax_uid)


@contextmanager
def _beside(path: Path, suffix: str) -> Iterator[BinaryIO]:
    """A file that has no name any more when it is used."""
    beside = path.with_suffix(suffix)
    with beside.open("x+b") as file:
        beside.unlink()
        yield file


class _Native:
    """Where a data set lies once it is not deflated; `path` is of one that never was."""

    def __init__(self, path: Path, file: BinaryIO, begin: int, length: int, transfer_syntax_uid: str) -> None:
        self.path = path
        self.file = file
        self.begin = begin
        self.end = begin + length
        self.transfer_syntax_uid = transfer_syntax_uid


@contextmanager
def _inflated(source: Source, file: BinaryIO, path: Path, limits: TranscodeLimits) -> Iterator[_Native]:
    if not transfer_syntax(source.transfer_syntax_uid).is_deflated:
        yield _Native(source.path, file, source.offset, source.length, source.transfer_syntax_uid)
        return
    with _beside(path, ".inflated") as whole:
        file.seek(source.offset)
        length = inflate(file, source.length, whole, limits)
        whole.flush()
        yield _Native(source.path, whole, 0, length, EXPLICIT_VR_LITTLE_ENDIAN)


def _rewrite(native: _Native, transfer_syntax_uid: str, out: BinaryIO, limits: TranscodeLimits) -> None:
    image = read_image(_reader(native, limits))
    changes = Changes()
    if image.is_encapsulated:
        if native.transfer_syntax_uid in NATIVE:
            raise NotTranscodable("the pixel data are compressed, and the transfer syntax says they are not")
        changes = _decoded(native, image, transfer_syntax_uid, limits)
    Rewriter(_reader(native, limits), Writer(out, _elements(transfer_syntax_uid)), image, changes).rewrite()


def _decoded(native: _Native, image: Image, transfer_syntax_uid: str, limits: TranscodeLimits) -> Changes:
    """Native pixel data in place of fragments, and what the data set has to say of them then."""
    from dicomrelay.transcode.pixels import Frames  # noqa: PLC0415 - half a second that native data need not wait

    image.check(limits)
    little_endian = transfer_syntax(transfer_syntax_uid).is_little_endian
    if image.bits_allocated > 16 and not little_endian:
        raise NotTranscodable("32-bit samples in OW: programs differ in how they turn the bytes around")
    frames = Frames(native.path, image, native.transfer_syntax_uid, _offsets(native, image))
    decoded = iter(frames)
    # The first frame says what colour space the others are in too, which stands before them in the data set.
    first = next(decoded)

    def write(writer: Writer) -> None:
        length = image.frame_bytes * image.number_of_frames
        vr = b"OW" if image.bits_allocated > 8 else b"OB"
        writer.head(PIXEL_DATA, vr, length + length % 2)
        for frame in itertools.chain([first], decoded):
            writer.write(frame if little_endian or vr == b"OB" else swapped(frame, 2))
        writer.write(b"\0" * (length % 2))

    replaced = {PHOTOMETRIC_INTERPRETATION: (b"CS", frames.photometric_interpretation.encode("ascii"))}
    if image.samples_per_pixel > 1:
        replaced[PLANAR_CONFIGURATION] = (b"US", b"\0\0")  # by pixel; zero in either byte order
    return Changes(replaced, _OF_FRAGMENTS, write)


def _compress(native: _Native, transfer_syntax_uid: str, out: BinaryIO, limits: TranscodeLimits) -> None:
    """A copy of native little endian data with its frames compressed, one fragment each (PS3.5 Annex A.4)."""
    from dicomrelay.transcode.compress import Compressor  # noqa: PLC0415 - as in _decoded

    image = read_image(_reader(native, limits))
    compressor = Compressor(native.file, image, transfer_syntax_uid, limits)

    def write(writer: Writer) -> None:
        writer.head(PIXEL_DATA, b"OB", UNDEFINED_LENGTH)
        writer.head(ITEM, b"", 0)  # the Basic Offset Table, empty
        for frame in compressor:
            writer.head(ITEM, b"", len(frame) + len(frame) % 2)
            writer.write(frame + b"\0" * (len(frame) % 2))
        writer.head(SEQUENCE_END, b"", 0)

    replaced = {PHOTOMETRIC_INTERPRETATION: (b"CS", compressor.photometric_interpretation.encode("ascii"))}
    if image.samples_per_pixel > 1:
        replaced[PLANAR_CONFIGURATION] = (b"US", b"\0\0")
    changes = Changes(replaced, _OF_FRAGMENTS, write)
    writer = Writer(out, _elements(EXPLICIT_VR_LITTLE_ENDIAN))
    Rewriter(_reader(native, limits), writer, image, changes).rewrite()


def _offsets(native: _Native, image: Image) -> tuple[bytes, bytes] | None:
    """The extended offset table, where there is one (PS3.3 Section C.7.6.3.1.8)."""

    def value(element: Element) -> bytes:
        if element.length > _MAX_TABLE_BYTES or element.length != 8 * image.number_of_frames:
            raise NotTranscodable("the extended offset table has another size than the number of frames")
        native.file.seek(element.value)
        return native.file.read(element.length)

    if image.extended_offsets is None or image.extended_lengths is None:
        return None
    return value(image.extended_offsets), value(image.extended_lengths)


def _reader(native: _Native, limits: TranscodeLimits) -> Reader:
    return Reader(
        native.file,
        begin=native.begin,
        end=native.end,
        syntax=_elements(native.transfer_syntax_uid),
        limits=limits,
    )


def _elements(transfer_syntax_uid: str) -> ElementSyntax:
    syntax = transfer_syntax(transfer_syntax_uid)
    return ElementSyntax.of(implicit=syntax.is_implicit_vr, little_endian=syntax.is_little_endian)
