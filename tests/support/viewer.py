"""What a person sees in the viewer, held against what pydicom makes of the same frame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, convert_color_space, pixel_array
from pydicom.uid import UID

from tests.support.browser import Browser

BLOCKS = 12


def shown_by_pydicom(ds: Dataset, frame_index: int = 0) -> np.ndarray:
    """A frame through its first window, as rows, columns and red, green, blue from 0 to 255."""
    array = pixel_array(ds, index=frame_index, raw=True)
    photometric = ds.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, ds)
        return (array >> 8 if array.dtype.itemsize > 1 and array.max() > 255 else array).astype(float)
    if ds.SamplesPerPixel == 3:
        if photometric.startswith("YBR_FULL"):
            array = convert_color_space(array, photometric, "RGB")
        return (array >> max(ds.BitsStored - 8, 0)).astype(float)
    values = apply_modality_lut(array, ds).astype(float)
    low, high = _window(ds, values)
    gray = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255
    if photometric == "MONOCHROME1":
        gray = 255 - gray
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def _window(ds: Dataset, values: np.ndarray) -> tuple[float, float]:
    """PS3.3 Section C.11.2.1.2.1; all values where there is no window."""
    center, width = (_first(ds.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or not width:
        return float(values.min()), float(values.max())
    return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2


def _first(value: object) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)  # type: ignore[arg-type]


def image_on(browser: Browser, picture: np.ndarray) -> np.ndarray:
    """The part of a screenshot that the image covers, by the corners that the page says."""
    left, top, right, bottom = browser.run(
        "const image = document.querySelector('.image'), at = image.getBoundingClientRect();"
        "const [a, b, c, d] = image.dataset.corners.split(',').map(Number);"
        "return [a + at.x, b + at.y, c + at.x, d + at.y]"
    )
    return picture[round(top) : round(bottom), round(left) : round(right)]


def blocks(picture: np.ndarray, count: int = BLOCKS) -> np.ndarray:
    """Means over a grid of blocks: what is left when two pictures of other sizes are compared."""
    rows = np.linspace(0, picture.shape[0], count + 1)
    columns = np.linspace(0, picture.shape[1], count + 1)
    return np.array(
        [[_mean(picture, rows[i : i + 2], columns[j : j + 2]) for j in range(count)] for i in range(count)]
    )


def _mean(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mean of a block whose edges may lie inside of pixels."""
    across = _weights(columns, picture.shape[1])
    down = _weights(rows, picture.shape[0])
    found: np.ndarray = np.einsum("r,c,rcb->b", down, across, picture.astype(float)) / (
        down.sum() * across.sum()
    )
    return found


def _weights(edges: np.ndarray, length: int) -> np.ndarray:
    at = np.arange(length)
    return np.clip(np.minimum(at + 1, edges[1]) - np.maximum(at, edges[0]), 0, 1)


def instance(source: Dataset, *, study: str, number: int, description: str) -> Dataset:
    """A data set as the only instance of a series of its own."""
    ds = copy.deepcopy(source)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.{number}"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{study}.{number}.1"
    ds.PatientName, ds.PatientID, ds.StudyDate = "Doe^Jane", "4711", "20300101"
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = number, description, 1
    return ds


def compressed(source: Dataset, syntax_uid: str, encode: Callable[[np.ndarray], bytes]) -> Dataset:
    """A data set whose one frame an encoder packed."""
    ds = copy.deepcopy(source)
    ds.PixelData = encapsulate([encode(source.pixel_array)])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = UID(syntax_uid)
    return ds


def dark_high(source: Dataset) -> Dataset:
    """The same pixels, the highest of which are black."""
    ds = copy.deepcopy(source)
    ds.PhotometricInterpretation = "MONOCHROME1"
    return ds


def many_frames(source: Dataset, count: int) -> Dataset:
    """A native data set with its frame so many times, each moved by a row more."""
    ds = copy.deepcopy(source)
    rolled = [np.roll(source.pixel_array, number, axis=0).tobytes() for number in range(count)]
    ds.PixelData, ds.NumberOfFrames, ds.CineRate = b"".join(rolled), count, 50
    return ds
