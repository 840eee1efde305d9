"""Compresses native frames without loss, one at a time; every one is decompressed again and held against what it was made of.

For the child process only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.encoders.base import get_encoder

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.image import Image
from dicomrelay.transcode.pixels import Frames
from dicomrelay.transcode.syntaxes import JPEG_LS_LOSSLESS
from dicomrelay.transcode.values import TranscodeLimits

# Start of codestream (2 bytes), SIZ with its length (4), capabilities, sizes and offsets (34), components (2): then Ssiz of the
# first component (ITU-T T.800 Annex A.5.1).
_COMPONENTS_AT: Final = 40
_PRECISION_AT: Final = 42
_SIGNED: Final = 0x80


class Compressor:
    """The frames of native little endian pixel data in a compressed transfer syntax.

    Attributes
    ----------
    photometric_interpretation : str
        Of what comes out.

    Raises
    ------
    NotTranscodable
        The pixel data are none that can be compressed so; while iterating, a frame would lose something.
    """

    def __init__(
        self, file: BinaryIO, image: Image, transfer_syntax_uid: str, limits: TranscodeLimits
    ) -> None:
        self._file = file
        self._image = image
        self._syntax = transfer_syntax_uid
        if image.pixel_data is None:
            raise NotTranscodable("there are no pixel data to compress")
        image.check(limits)
        if image.bits_allocated not in {8, 16}:
            raise NotTranscodable(f"samples of {image.bits_allocated} bits are not compressed")
        length = image.frame_bytes * image.number_of_frames
        if image.pixel_data.length != length + length % 2:
            raise NotTranscodable(f"the pixel data have {image.pixel_data.length} bytes, not {length}")
        self._is_htj2k = transfer_syntax_uid != JPEG_LS_LOSSLESS
        is_rgb = self._is_htj2k and image.photometric_interpretation == "RGB"
        self.photometric_interpretation = "YBR_RCT" if is_rgb else image.photometric_interpretation

    def __iter__(self) -> Iterator[bytes]:
        image = self._image
        assert image.pixel_data is not None  # noqa: S101 - looked at before
        made = replace(
            image, planar_configuration=0, photometric_interpretation=self.photometric_interpretation
        )
        for number in range(1, image.number_of_frames + 1):
            self._file.seek(image.pixel_data.value + (number - 1) * image.frame_bytes)
            native = self._by_pixel(self._file.read(image.frame_bytes))
            try:
                frame = self._htj2k(native) if self._is_htj2k else self._jpeg_ls(native)
            except (NotTranscodable, MemoryError):
                raise
            except Exception as error:  # whatever an encoder raises
                raise NotTranscodable(
                    f"frame {number} cannot be compressed: {type(error).__name__}"
                ) from error
            if Frames(Path(), made, self._syntax, None).decoded(frame, number) != native.tobytes():
                raise NotTranscodable(f"frame {number} would not come back as it is")
            yield frame

    def _by_pixel(self, data: bytes) -> NDArray[Any]:
        image = self._image
        kind = "i" if image.pixel_representation == 1 else "u"
        values = np.frombuffer(data, f"<{kind}{image.bits_allocated // 8}")
        shaped: NDArray[Any]
        if image.samples_per_pixel == 1:
            shaped = values.reshape(image.rows, image.columns)
        elif image.planar_configuration == 1:
            shaped = values.reshape(3, image.rows, image.columns).transpose(1, 2, 0)
        else:
            shaped = values.reshape(image.rows, image.columns, 3)
        stored = image.bits_stored
        low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if kind == "i" else (0, (1 << stored) - 1)
        if shaped.min() < low or shaped.max() > high:
            raise NotTranscodable("values in bits that are not stored: they would be lost")
        return np.ascontiguousarray(shaped)

    def _htj2k(self, values: NDArray[Any]) -> bytes:
        if values.ndim == 3:
            if self._image.bits_stored != self._image.bits_allocated or values.dtype.kind != "u":
                raise NotTranscodable("colour of this depth is not compressed")
            if self.photometric_interpretation != "YBR_RCT":
                raise NotTranscodable(f"{self.photometric_interpretation} is not compressed to HTJ2K")
            return bytes(imagecodecs.htj2k_encode(values, rgb=True, tlm=True))
        # The encoder knows the precision of types only. Signed numbers have no level shift, so that those of fewer bits are
        # coded as they are, unsigned ones after the shift of their own precision; the precision is then put right.
        stored = self._image.bits_stored
        is_signed = values.dtype.kind == "i"
        shifted = values if is_signed else values.astype(np.int32) - (1 << (stored - 1))
        frame = bytearray(imagecodecs.htj2k_encode(shifted.astype(np.int16), tlm=True))
        if frame[2:4] != b"\xff\x51" or frame[_COMPONENTS_AT:_PRECISION_AT] != b"\0\1":
            raise NotTranscodable("the encoder writes another codestream than is known")
        frame[_PRECISION_AT] = (stored - 1) | (_SIGNED if is_signed else 0)
        return bytes(frame)

    def _jpeg_ls(self, values: NDArray[Any]) -> bytes:
        options = {**self._image.plugin_options, "planar_configuration": 0}
        return get_encoder(self._syntax).encode(values.tobytes(), encoding_plugin="pyjpegls", **options)
