"""One frame of a stored instance as an array. For the child process: decoders are C, and what they read is strangers'."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from archive.frame_header import FrameIndexHeader, FrameLayout, PixelKind
from archive.frame_index import FrameIndex
from archive.frame_reader import frame_chunks
from archive.renditions.colour import unfolded_422
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.codestream import read_jpeg_2000
from dicomrelay.transcode.image import Image
from dicomrelay.transcode.pixels import Frames
from dicomrelay.transcode.syntaxes import DECODABLE, DEFLATED_FRAMES, JPEG_2000, RLE_LOSSLESS
from dicomrelay.transcode.values import TranscodeLimits

_LARGEST_US: Final = 0xFFFF
_FLOAT_BITS: Final = {PixelKind.FLOAT: 32, PixelKind.DOUBLE_FLOAT: 64}
# What keeps every bit of a pixel's cell, used or not.
_BY_BIT: Final = frozenset({RLE_LOSSLESS, DEFLATED_FRAMES})


def frame_pixels(
    index: FrameIndex, descriptor: int, number: int, limits: TranscodeLimits
) -> tuple[NDArray[Any], str]:
    """A frame as rows × columns, or × 3, and its photometric interpretation now. Unused bits are gone, signs are right.

    Parameters
    ----------
    descriptor : int
        The open data file.
    number : int
        Which one, from 1.

    Raises
    ------
    NotTranscodable
        It cannot be decoded, or not within the limits; the sizes that are claimed are looked at first.
    FrameError, FrameOutOfRange, FramesNotAddressable
        The index has no such frame.
    """
    header = index.header
    location = index.locate(number)
    image = _image(header)
    _check(header, image, limits)
    if location.length_bytes > 2 * limits.max_frame_bytes:
        raise NotTranscodable(f"the frame has {location.length_bytes} bytes as it is stored")
    data = b"".join(frame_chunks(index, location, descriptor))
    photometric = image.photometric_interpretation
    if header.layout is FrameLayout.UNIFORM:
        return _native(data, header, image), photometric
    syntax = header.transfer_syntax_uid
    if syntax not in DECODABLE:
        raise NotTranscodable(f"{transfer_syntax(syntax).name} is not decoded here")
    if image.bits_allocated == 1:
        return _single_bits(data, image, syntax), photometric
    frames = Frames(Path(), image, syntax, None)
    decoded = np.frombuffer(frames.decoded(data, number), f"<u{image.bits_allocated // 8}")
    shape: tuple[int, ...] = (image.rows, image.columns)
    if image.samples_per_pixel > 1:
        shape = (*shape, image.samples_per_pixel)
    photometric = frames.photometric_interpretation
    if syntax in _BY_BIT:
        return _masked(decoded.reshape(shape), image, _unused_below(header)), photometric
    return _in_range(decoded.reshape(shape), image), photometric


def _image(header: FrameIndexHeader) -> Image:
    geometry = header.geometry
    return Image(
        samples_per_pixel=geometry.samples_per_pixel,
        photometric_interpretation=geometry.photometric_interpretation,
        planar_configuration=geometry.planar_configuration,
        rows=geometry.rows,
        columns=geometry.columns,
        bits_allocated=_FLOAT_BITS.get(header.pixel_kind, geometry.bits_allocated),
        bits_stored=geometry.bits_stored or geometry.bits_allocated,
        pixel_representation=geometry.pixel_representation,
    )


def _check(header: FrameIndexHeader, image: Image, limits: TranscodeLimits) -> None:
    if header.pixel_kind in _FLOAT_BITS or image.bits_allocated == 1:
        if image.rows * image.columns * max(8, image.bits_allocated) // 8 > limits.max_frame_bytes:
            raise NotTranscodable(f"a frame of {image.rows} × {image.columns} is beyond the limits")
        if image.samples_per_pixel != 1:
            raise NotTranscodable("pixels of several samples in this form are not shown")
    else:
        image.check(limits)
    if max(image.rows, image.columns) > _LARGEST_US:
        raise NotTranscodable("an image of more than 65,535 rows or columns is not shown")


def _native(data: bytes, header: FrameIndexHeader, image: Image) -> NDArray[Any]:
    rows, columns, samples = image.rows, image.columns, image.samples_per_pixel
    if header.pixel_kind in _FLOAT_BITS:
        return np.frombuffer(data, "<f4" if header.pixel_kind is PixelKind.FLOAT else "<f8").reshape(
            rows, columns
        )
    if image.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, "u1"), count=rows * columns, bitorder="little")
        return bits.reshape(rows, columns)
    values = np.frombuffer(data, f"<u{image.bits_allocated // 8}")
    if samples == 1:
        return _masked(values.reshape(rows, columns), image, _unused_below(header))
    if len(values) == rows * columns * 2:
        if columns % 2 or image.bits_allocated != 8:
            raise NotTranscodable("subsampled pixels of an odd number of columns, or of more than 8 bits")
        return unfolded_422(values, rows, columns)
    if image.planar_configuration == 1:
        values = values.reshape(samples, rows, columns).transpose(1, 2, 0)
    return _masked(values.reshape(rows, columns, samples), image, _unused_below(header))


def _unused_below(header: FrameIndexHeader) -> int:
    """Bits below those that are stored: old equipment has some (PS3.5 Section 8.1.1)."""
    geometry = header.geometry
    below = geometry.high_bit + 1 - (geometry.bits_stored or geometry.bits_allocated)
    return below if 0 < below < geometry.bits_allocated and geometry.high_bit < geometry.bits_allocated else 0


def _masked(values: NDArray[Any], image: Image, shift: int) -> NDArray[Any]:
    """The bits that are stored, as numbers with their sign."""
    allocated, stored = image.bits_allocated, image.bits_stored
    if shift:
        values = values >> shift
    if stored < allocated:
        values = values & ((1 << stored) - 1)
    if image.pixel_representation != 1 or image.samples_per_pixel != 1:
        return values
    signed = values.astype(f"<i{allocated // 8}")
    return (signed << (allocated - stored)) >> (allocated - stored)


def _in_range(values: NDArray[Any], image: Image) -> NDArray[Any]:
    """What a codec made of samples: signs put right where it knows none, and cut off where loss has led beyond what is stored."""
    stored = image.bits_stored
    if image.pixel_representation != 1 or image.samples_per_pixel != 1:
        return (
            np.minimum(values, values.dtype.type((1 << stored) - 1))
            if stored < image.bits_allocated
            else values
        )
    signed = values.view(f"<i{image.bits_allocated // 8}")
    half = 1 << (stored - 1)
    if stored < image.bits_allocated and signed.min() >= 0 and half <= signed.max() < 2 * half:
        return _masked(values, image, 0)
    inside: NDArray[Any] = np.clip(signed, -half, half - 1)
    return inside


def _single_bits(data: bytes, image: Image, syntax_uid: str) -> NDArray[Any]:
    """A compressed frame with Bits Allocated 1, its pixels as 0 and 1."""
    rows, columns = image.rows, image.columns
    if syntax_uid == DEFLATED_FRAMES:
        packed = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, rows * columns // 8 + 2)
        if len(packed) * 8 < rows * columns:
            raise NotTranscodable("a deflated frame is shorter than the data set says")
        bits = np.frombuffer(packed, "u1")
        return np.unpackbits(bits, count=rows * columns, bitorder="little").reshape(rows, columns)
    if syntax_uid not in JPEG_2000:
        raise NotTranscodable("single bits in this compression are not shown")
    stream = read_jpeg_2000(data)
    if (stream.rows, stream.columns, stream.samples) != (rows, columns, 1) or stream.precision > 8:
        raise NotTranscodable("a frame has another size than the data set says")
    options: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": image.photometric_interpretation,
        "bits_allocated": 1,
        "bits_stored": 1,
        "pixel_representation": 0,
        "pixel_keyword": "PixelData",
        "decoding_plugin": "pylibjpeg",
    }
    try:
        array, _ = get_decoder(syntax_uid).as_array(
            encapsulate([data], has_bot=False), index=0, raw=True, **options
        )
    except Exception as error:  # whatever a decoder raises
        raise NotTranscodable(f"the frame cannot be decoded: {type(error).__name__}") from error
    if array.shape != (rows, columns):
        raise NotTranscodable("a frame is decoded to something else than the data set says")
    seen: NDArray[Any] = np.minimum(array, array.dtype.type(1))
    return seen
