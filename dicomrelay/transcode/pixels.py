"""Decodes compressed frames, one at a time: memory holds one frame in a few forms.

For the child process only: the decoders are C code, and what they read is from strangers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.codestream import Codestream, read_jpeg, read_jpeg_2000
from dicomrelay.transcode.image import Image
from dicomrelay.transcode.syntaxes import DEFLATED_FRAMES, JPEG_2000, JPEG_LS, RLE_LOSSLESS

# Which of pydicom's plug-ins; JPEG is decoded by imagecodecs alone, since pydicom has none under a licence of ours for all of it.
_PLUGINS: Final = {
    **dict.fromkeys(JPEG_2000, "pylibjpeg"),
    **dict.fromkeys(JPEG_LS, "pyjpegls"),
    RLE_LOSSLESS: "pydicom",
}
# End of image, end of codestream: the same two bytes in the whole family.
_END: Final = b"\xff\xd9"
_END_WITHIN_BYTES: Final = 16
_FULL: Final = {"YBR_FULL_422": "YBR_FULL"}
_RETIRED: Final = frozenset({"YBR_PARTIAL_422", "YBR_PARTIAL_420", "ARGB", "CMYK", "HSV"})


class Frames:
    """The frames of encapsulated pixel data, decoded.

    Attributes
    ----------
    photometric_interpretation : str
        Of what comes out; known once the first frame was decoded.

    Raises
    ------
    NotTranscodable
        While iterating: a frame is damaged, other than the data set says, or of a kind that no decoder takes.
    """

    def __init__(
        self,
        path: Path,
        image: Image,
        transfer_syntax_uid: str,
        extended_offsets: tuple[bytes, bytes] | None,
    ) -> None:
        self.photometric_interpretation = ""
        self._path = path
        self._image = image
        self._syntax = transfer_syntax_uid
        self._extended_offsets = extended_offsets

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for frame in self._compressed():
            count += 1
            if count > self._image.number_of_frames:
                raise NotTranscodable(f"more frames than the {self._image.number_of_frames} that are said")
            yield self.decoded(frame, count)
        if count < self._image.number_of_frames:
            raise NotTranscodable(f"{count} frames, {self._image.number_of_frames} are said")

    def _compressed(self) -> Iterator[bytes]:
        if self._image.pixel_data is None:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._image.pixel_data.value)
                yield from generate_frames(
                    file,
                    number_of_frames=self._image.number_of_frames,
                    extended_offsets=self._extended_offsets,
                )
        except (ValueError, EOFError) as error:
            raise NotTranscodable("the frames cannot be told apart") from error

    def decoded(self, frame: bytes, number: int) -> bytes:
        """One compressed frame, counted from 1, in native form: little endian, by pixel. Raises NotTranscodable."""
        try:
            array, photometric = self._array(frame)
        except (NotTranscodable, MemoryError):
            raise
        except Exception as error:  # whatever a decoder raises
            raise NotTranscodable(f"frame {number} cannot be decoded: {type(error).__name__}") from error
        image = self._image
        shape = (image.rows, image.columns) + (
            (image.samples_per_pixel,) if image.samples_per_pixel > 1 else ()
        )
        if array.shape != shape or array.dtype.itemsize * 8 > image.bits_allocated:
            raise NotTranscodable(f"frame {number} is decoded to something else than the data set says")
        if self.photometric_interpretation not in {"", photometric}:
            raise NotTranscodable("the frames differ in photometric interpretation")
        self.photometric_interpretation = photometric
        kind = "i" if image.pixel_representation else "u"
        if array.dtype.kind == "u" and array.dtype.itemsize * 8 == image.bits_allocated:
            kind = "u"  # the same bits, whatever they stand for
        return array.astype(f"<{kind}{image.bits_allocated // 8}", copy=False).tobytes()

    def _array(self, frame: bytes) -> tuple[NDArray[Any], str]:
        image = self._image
        if self._syntax == DEFLATED_FRAMES:
            return self._inflated(frame), image.photometric_interpretation
        if self._syntax == RLE_LOSSLESS:
            return self._by_plugin(frame)
        stream = (read_jpeg_2000 if self._syntax in JPEG_2000 else read_jpeg)(frame)
        self._agree(stream, frame)
        if self._syntax in JPEG_LS:
            return self._jpeg_ls(frame, stream)
        if self._syntax in _PLUGINS:
            return self._by_plugin(frame)
        # The same colour space in and out: no transform, so that the samples are those that were compressed.
        colours = None if stream.samples == 1 else "rgb"
        array = imagecodecs.jpeg8_decode(frame, colorspace=colours, outcolorspace=colours)
        colour = {"YBR": "YBR_FULL"}.get(stream.colour, stream.colour) or image.photometric_interpretation
        return array, self._plain(colour)

    def _jpeg_ls(self, frame: bytes, stream: Codestream) -> tuple[NDArray[Any], str]:
        try:
            return self._by_plugin(frame)
        except RuntimeError:
            # A newer CharLS is more lenient; it knows no signed samples, so none may need their sign put right.
            if self._image.pixel_representation and stream.precision < self._image.bits_allocated:
                raise
            return imagecodecs.jpegls_decode(frame), self._plain(self._image.photometric_interpretation)

    def _agree(self, stream: Codestream, frame: bytes) -> None:
        """Before a decoder takes memory for what a stream claims."""
        image = self._image
        said = (image.rows, image.columns, image.samples_per_pixel)
        if (stream.rows, stream.columns, stream.samples) != said or stream.precision > image.bits_allocated:
            raise NotTranscodable(
                f"a frame is {stream.rows} × {stream.columns} × {stream.samples} of {stream.precision} bits, "
                f"the data set says {said[0]} × {said[1]} × {said[2]} in {image.bits_allocated}"
            )
        if _END not in frame[-_END_WITHIN_BYTES:]:
            raise NotTranscodable("a frame is cut off")

    def _by_plugin(self, frame: bytes) -> tuple[NDArray[Any], str]:
        options = {**self._image.plugin_options, "pixel_keyword": "PixelData"}
        if self._syntax == RLE_LOSSLESS:
            options["correct_unused_bits"] = False  # an overlay may be in them
        array, properties = get_decoder(self._syntax).as_array(
            encapsulate([frame], has_bot=False),
            index=0,
            raw=True,
            decoding_plugin=_PLUGINS[self._syntax],
            **options,
        )
        return array, self._plain(str(properties["photometric_interpretation"]))

    def _inflated(self, frame: bytes) -> NDArray[Any]:
        """PS3.5 Annex A.4.12: each frame is a deflated stream of its native bytes."""
        image = self._image
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, image.frame_bytes + 2)
        if len(data) not in {image.frame_bytes, image.frame_bytes + image.frame_bytes % 2}:
            raise NotTranscodable("a deflated frame has another size than the data set says")
        array = np.frombuffer(data[: image.frame_bytes], f"<u{image.bits_allocated // 8}")
        if image.samples_per_pixel == 1:
            return array.reshape(image.rows, image.columns)
        if image.planar_configuration:
            planes = array.reshape(image.samples_per_pixel, image.rows, image.columns)
            return planes.transpose(1, 2, 0)
        return array.reshape(image.rows, image.columns, image.samples_per_pixel)

    def _plain(self, photometric: str) -> str:
        """What the samples are once they all stand at full resolution (PS3.5 Section 8.2)."""
        if photometric in _RETIRED:
            raise NotTranscodable(f"photometric interpretation {photometric} is not decoded")
        return _FULL.get(photometric, photometric)
