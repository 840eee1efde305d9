"""What a frame should look like, by pydicom and numpy alone: no code of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array


def of_every_kind(paths: list[Path], *, largest: int) -> list[Path]:
    """One image of each kind: transfer syntax, photometric interpretation, bits, signs, samples, tables, windows, groups."""
    found: dict[tuple[Any, ...], Path] = {}
    for path in paths:
        if path.stat().st_size > largest:
            continue
        try:
            ds = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        if "Rows" in ds:
            found.setdefault(_kind(ds), path)
    return [*found.values()]


def _kind(ds: Dataset) -> tuple[Any, ...]:
    names = ("PhotometricInterpretation", "BitsAllocated", "PixelRepresentation", "PlanarConfiguration")
    tables = ("VOILUTSequence", "ModalityLUTSequence", "WindowCenter", "SharedFunctionalGroupsSequence")
    shallow = ds.get("BitsStored", 0) < ds.get("BitsAllocated", 0)
    said = (str(ds.get(name)) for name in names)
    return (str(ds.file_meta.get("TransferSyntaxUID")), shallow, *said, *(name in ds for name in tables))


def expected_picture(ds: Dataset, number: int = 1) -> np.ndarray:
    """Frame `number` as 8 bits of gray, or of red, green and blue, exactly."""
    values = pixel_array(ds, index=number - 1)
    stored = ds.get("BitsStored", 64)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, ds)
        return (values >> 8 if values.max() > 255 else values).astype("u1")
    if values.ndim == 3:
        return values if stored <= 8 else (values >> (stored - 8)).astype("u1")
    groups = [ds[name][at] for name, at in _groups_of(number) if name in ds and len(ds[name].value) > at]
    rescale = _macro(groups, "PixelValueTransformationSequence") or ds
    real = apply_modality_lut(values, rescale)
    is_plain = np.array_equal(real, values)
    real = real.astype("f8")
    voi = _macro(groups, "FrameVOILUTSequence") or ds
    if voi.get("VOILUTSequence"):
        shown = _by_table(real, voi.VOILUTSequence[0])
    elif voi.get("WindowCenter") not in (None, ""):
        center, width = (_first(voi[name].value) for name in ("WindowCenter", "WindowWidth"))
        shown = (
            ((real - (center - 0.5)) / (width - 1) + 0.5) * 255
            if width > 1
            else (real > center - 0.5) * 255.0
        )
    elif stored <= 8 and not ds.get("PixelRepresentation") and is_plain:
        shown = real * 255 / ((1 << stored) - 1)
    else:
        seen = real[values != ds.PixelPaddingValue] if "PixelPaddingValue" in ds else real
        low, high = seen.min(), seen.max()
        shown = (real - low) * 255 / (high - low) if high > low else (real > low) * 255.0
    shown = np.rint(np.clip(shown, 0, 255)).astype("u1")
    turned = ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"
    return 255 - shown if turned else shown


def _groups_of(number: int) -> tuple[tuple[str, int], ...]:
    """Of one frame, then of all."""
    return (("PerFrameFunctionalGroupsSequence", number - 1), ("SharedFunctionalGroupsSequence", 0))


def _macro(groups: list[Dataset], name: str) -> Dataset | None:
    return next((group[name][0] for group in groups if group.get(name)), None)


def _by_table(real: np.ndarray, item: Dataset) -> np.ndarray:
    count, first, bits = item.LUTDescriptor
    data = item["LUTData"].value
    entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
    place = np.clip(real - first, 0, (count or 65536) - 1).astype(int)
    return entries[place] * 255 / ((1 << bits) - 1)


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
