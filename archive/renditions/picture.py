"""One frame as a JPEG or PNG file: decoded, made visible, cut, scaled, encoded. For the child process."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom import Dataset

from archive.frame_index import FrameIndex
from archive.renditions.attributes import gray_look
from archive.renditions.colour import as_bytes, rgb_of_ybr
from archive.renditions.frame_pixels import frame_pixels
from archive.renditions.gray import brightness
from archive.renditions.request import JPEG, PictureRequest, Region
from archive.renditions.tables import palette
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode.values import TranscodeLimits

_GRAY = frozenset({"MONOCHROME1", "MONOCHROME2"})
_RGB = frozenset({"RGB", "YBR_RCT", "YBR_ICT"})
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})
_LONGEST_JPEG_SIDE = 65_500
# Fast; the last few percent of size cost three times as long.
_PNG_LEVEL = 3


def picture(
    ds: Dataset,
    index: FrameIndex,
    descriptor: int,
    number: int,
    wanted: PictureRequest,
    limits: TranscodeLimits,
) -> bytes:
    """A frame as a file.

    Parameters
    ----------
    ds : Dataset
        What the data set says about the image (`read_attributes`).
    descriptor : int
        The open data file.
    number : int
        Which frame, from 1.

    Raises
    ------
    NotTranscodable
        It cannot be shown.
    FrameError
        The index has no such frame.
    """
    pixels = visible(ds, index, descriptor, number, wanted, limits)
    return encoded(fitted(pixels, wanted), wanted)


def visible(
    ds: Dataset,
    index: FrameIndex,
    descriptor: int,
    number: int,
    wanted: PictureRequest,
    limits: TranscodeLimits,
) -> NDArray[np.uint8]:
    """A frame as rows × columns of brightness, or × 3 of red, green and blue. Raises as `picture`."""
    pixels, photometric = frame_pixels(index, descriptor, number, limits)
    geometry = index.header.geometry
    bits = geometry.bits_stored or geometry.bits_allocated
    if photometric == "PALETTE COLOR" and pixels.ndim == 2:
        _no_window(wanted)
        return palette(ds, is_signed=geometry.pixel_representation == 1)(pixels)
    if pixels.ndim == 2:
        if photometric and photometric not in _GRAY:
            raise NotTranscodable(f"one sample per pixel is not shown as {photometric}")
        return brightness(pixels, gray_look(ds, number, geometry, index.header.pixel_kind), wanted.window)
    _no_window(wanted)
    if photometric in _RGB:
        return as_bytes(pixels, bits)
    if photometric in _YBR:
        return rgb_of_ybr(as_bytes(pixels, bits))
    raise NotTranscodable(f"photometric interpretation {photometric or 'none'} is not shown")


def fitted(pixels: NDArray[np.uint8], wanted: PictureRequest) -> Pillow.Image:
    """Cut, mirrored and scaled."""
    image = Pillow.fromarray(np.ascontiguousarray(pixels))
    box: tuple[float, float, float, float] = (0, 0, image.width, image.height)
    if wanted.region is not None:
        box = _box(wanted.region, image)
    across, down = box[2] - box[0], box[3] - box[1]
    scale = 1.0
    if wanted.width:
        scale = min(wanted.width / across, wanted.height / down)
        scale = scale if wanted.enlarges else min(1.0, scale)
    size = max(1, round(across * scale)), max(1, round(down * scale))
    if size != image.size or box != (0, 0, *image.size):
        image = image.resize(size, Pillow.Resampling.BILINEAR, box=box)
    if wanted.region is not None:
        if wanted.region.mirror_x:
            image = image.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
        if wanted.region.mirror_y:
            image = image.transpose(Pillow.Transpose.FLIP_TOP_BOTTOM)
    return image


def encoded(image: Pillow.Image, wanted: PictureRequest) -> bytes:
    """The bytes of the file. Raises NotTranscodable."""
    out = io.BytesIO()
    options: dict[str, Any] = {"format": "PNG", "compress_level": _PNG_LEVEL}
    if wanted.media_type == JPEG:
        if max(image.size) > _LONGEST_JPEG_SIDE:
            raise NotTranscodable(
                f"{image.width} × {image.height} pixels are too many for JPEG: ask for image/png"
            )
        # Full colour resolution: edges of annotations burnt in keep their colour.
        options = {"format": "JPEG", "quality": wanted.quality, "subsampling": 0}
    image.save(out, **options)
    return out.getvalue()


def _box(region: Region, image: Pillow.Image) -> tuple[float, float, float, float]:
    scale_x, scale_y = (image.width, image.height) if region.is_fraction else (1, 1)
    left, top = region.x * scale_x, region.y * scale_y
    right = min(left + region.width * scale_x if region.width else image.width, image.width)
    bottom = min(top + region.height * scale_y if region.height else image.height, image.height)
    if right - left < 1e-3 or bottom - top < 1e-3:
        raise NotTranscodable(
            f"the region lies outside of the image, which has {image.width} × {image.height} pixels"
        )
    return left, top, right, bottom


def _no_window(wanted: PictureRequest) -> None:
    if wanted.window is not None:
        raise NotTranscodable("a window is for gray images: this one is in colour")
