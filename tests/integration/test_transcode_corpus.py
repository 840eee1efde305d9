"""Real files of every transfer syntax into every native one, held against programs that are not ours."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.multival import MultiValue

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta, parse_file_meta
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode import Source, TranscodeLimits, producible
from dicomrelay.transcode.change import change
from tests.support.data_sets import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, real_files
from tests.support.house import require

_NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)
# The others with DCMTK alone in `make test`.
_PLAIN = {IMPLICIT, EXPLICIT}
_J2K = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91))
_HTJ2K = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
# DCMTK's own decoders: libijg, CharLS of its own, and its RLE.
_DCMTK = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)), ("dcmdjpeg", "+cn", "+px")),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), ("dcmdjpls",)),
    "1.2.840.10008.1.2.5": ("dcmdrle",),
}
# What is refused of the whole corpus, and why.
_REFUSED = {
    "liver_deflate.dcm": "1 bits stored",
    "liver_j2k.dcm": "1 bits stored",
    "liver_nonbyte_aligned_j2k.dcm": "1 bits stored",
    "liver_nonbyte_aligned_rle.dcm": "1 bits stored",
    "liver_rle.dcm": "1 bits stored",
    "SC_rgb_jpeg.dcm": "has no VR",  # explicit in name, implicit in fact
    "rtdose_expb.dcm": "32-bit samples",
    "rtdose_expb_1frame.dcm": "32-bit samples",
}
_NOT_READ = {("JPEGLosslessP14SV1_1s_1f_u_16_16.dcm", IMPLICIT)}
# Enough to see what becomes of values; the image has tests of its own.
_LARGE = 1_000_000
_LARGE_TO_DEFLATE = (
    200_000  # that is slow, and tells nothing more of values; large ones go there and back below
)
# They hold the image, or what describes its encoding.
_ABOUT_PIXELS = {0x7FE00010, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0x00280004, 0x00280006}


def _files(*, compressed: bool | None = None) -> Iterator[tuple[Path, Source]]:
    for path, row in real_files("corpus"):
        if row["parse"] != "part10" or row["expect"] not in {"clean", "quirk"}:
            continue
        meta = parse_file_meta(path.read_bytes()[:65_536])
        length = path.stat().st_size - meta.data_set_offset
        if compressed is None or compressed == (meta.transfer_syntax_uid not in _NATIVE):
            yield path, Source(path, meta.data_set_offset, length, meta.transfer_syntax_uid)


def _copy(source: Source, syntax: str, folder: Path) -> Path:
    """A whole file of the copy."""
    copy = folder / "copy"
    copy.unlink(missing_ok=True)
    change(source, syntax, copy, TranscodeLimits())
    whole = folder / "copy.dcm"
    whole.write_bytes(encode_file_meta(FileMeta("1.2.3", "1.2.3", syntax)) + copy.read_bytes())
    return whole


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """pydicom has something to say of most real files."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _elements(data_set: Dataset) -> dict[int, Any]:
    """Values as they are read, in sequences too; group lengths and the image apart."""
    found: dict[int, Any] = {}
    for element in data_set:
        tag = int(element.tag)
        if tag in _ABOUT_PIXELS or tag & 0xFFFF == 0:
            continue
        if element.tag.is_private:
            found[tag] = "private"  # bytes to whoever does not know the VR
        elif tag == 0x00283006 and element.VR == "US":  # LUT Data is "US or OW"
            found[tag] = np.array(element.value or [], "<u2").tobytes().rstrip(b"\0 ")
        elif element.VR == "SQ":
            found[tag] = [_elements(item) for item in element.value]
        else:
            found[tag] = _plain(_words(element) if data_set.original_encoding[1] is False else element.value)
    return found


def _words(element: DataElement) -> Any:
    """pydicom leaves the bytes of OW and its kin as they are, in big endian too."""
    width = {"OW": 2, "OB or OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(element.VR)
    if width and isinstance(element.value, bytes):
        return np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()
    return element.value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.rstrip(b"\0 ")
    if value is None:
        return ""
    return [str(each) for each in value] if isinstance(value, list | tuple | MultiValue) else str(value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "syntax", [each if each in _PLAIN else pytest.param(each, marks=pytest.mark.long) for each in _NATIVE]
)
def test_pydicom_reads_the_same_values(tmp_path: Path, syntax: str) -> None:
    """Of every file that can be changed; what cannot is known by name and reason."""
    refused: dict[str, str] = {}
    changed = 0
    largest = _LARGE_TO_DEFLATE if syntax == DEFLATED else _LARGE
    for path, source in _files():
        if syntax not in producible(source.transfer_syntax_uid) or source.length > largest:
            continue
        try:
            whole = _copy(source, syntax, tmp_path)
        except NotTranscodable as error:
            refused[path.name] = str(error)
            continue
        changed += 1
        try:
            before, after = _elements(dcmread(path, force=True)), _elements(dcmread(whole))
        except TypeError:
            # pydicom's own: it cannot tell "US or OW" in implicit VR when the LUT Descriptor beside it is empty.
            assert (path.name, syntax) in _NOT_READ, path
            continue
        assert after == before, path
    assert changed > 200
    if syntax == BIG_ENDIAN:
        refused = {name: reason for name, reason in refused.items() if "32-bit samples" not in reason}
    assert {name: reason for name, reason in refused.items() if _REFUSED.get(name, "?") not in reason} == {}


def _samples(data_set: Dataset) -> NDArray[np.uint32]:
    """Samples by pixel, without the bits that are not stored."""
    bits = data_set.BitsAllocated
    samples, planar = data_set.SamplesPerPixel, data_set.get("PlanarConfiguration", 0)
    frames, rows, columns = int(data_set.get("NumberOfFrames") or 1), data_set.Rows, data_set.Columns
    flat = np.frombuffer(data_set.PixelData, f"<u{bits // 8}")[: frames * rows * columns * samples]
    shape = (frames, samples, rows, columns) if planar else (frames, rows, columns, samples)
    array = flat.reshape(shape)
    array = array.transpose(0, 2, 3, 1) if planar else array
    return array.astype(np.uint32) & ((1 << data_set.BitsStored) - 1)


@pytest.mark.dcmtk
@pytest.mark.filterwarnings("ignore")
def test_dcmtk_decodes_the_same_samples(tmp_path: Path) -> None:
    """JPEG, JPEG-LS and RLE, to the bit, with the same photometric interpretation."""
    held = 0
    for path, source in _files(compressed=True):
        tool = _DCMTK.get(source.transfer_syntax_uid)
        if tool is None or path.name in _REFUSED:
            continue
        ours = dcmread(_copy(source, EXPLICIT, tmp_path))
        theirs = tmp_path / "dcmtk.dcm"
        theirs.unlink(missing_ok=True)
        program, *options = tool
        if subprocess.run(
            [require(program), *options, str(path), str(theirs)], capture_output=True
        ).returncode:
            continue  # what DCMTK does not decode cannot be held against it
        expected = dcmread(theirs)
        assert np.array_equal(_samples(ours), _samples(expected)), path
        assert ours.PhotometricInterpretation == expected.PhotometricInterpretation, path
        held += 1
    assert held > 90


@pytest.mark.filterwarnings("ignore")
def test_another_decoder_decodes_the_same_samples(tmp_path: Path) -> None:
    """JPEG 2000 by another build of OpenJPEG, HTJ2K by OpenJPH."""
    held = 0
    for path, source in _files(compressed=True):
        if source.transfer_syntax_uid not in _J2K + _HTJ2K or path.name in _REFUSED:
            continue
        decode = imagecodecs.jpeg2k_decode if source.transfer_syntax_uid in _J2K else imagecodecs.htj2k_decode
        ours, before = dcmread(_copy(source, EXPLICIT, tmp_path)), dcmread(path)
        frames = generate_frames(before.PixelData, number_of_frames=int(before.get("NumberOfFrames") or 1))
        mask = np.uint32((1 << before.BitsStored) - 1)
        for mine, frame in zip(_samples(ours), frames, strict=True):
            decoded = decode(frame).astype(np.int64).astype(np.uint32) & mask
            # The irreversible transform is of real numbers, and rounds as its builder pleases.
            apart = np.abs(mine.reshape(decoded.shape).astype(np.int64) - decoded).max()
            assert apart <= (source.transfer_syntax_uid == _J2K[1]), path
        assert not ours.PhotometricInterpretation.startswith(("YBR_RCT", "YBR_ICT"))
        held += 1
    assert held > 40


@pytest.mark.dcmtk
@pytest.mark.parametrize("syntax", _NATIVE)
def test_dcmtk_reads_every_copy(tmp_path: Path, syntax: str) -> None:
    """To its end, and says it is in that syntax: a sample of each kind of source."""
    seen: dict[str, int] = {}
    for path, source in _files():
        kind = source.transfer_syntax_uid
        if syntax not in producible(kind) or path.name in _REFUSED or seen.get(kind, 0) >= 5:
            continue
        seen[kind] = seen.get(kind, 0) + 1
        whole = _copy(source, syntax, tmp_path)
        done = subprocess.run([require("dcmdump"), "-q", "+E", str(whole)], capture_output=True, text=True)
        assert done.returncode == 0, (path, done.stderr)
        assert "E: " not in done.stderr, (path, done.stderr)
    assert len(seen) >= 12


def test_an_instance_changed_and_changed_back_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """Explicit to implicit loses private VRs, so: deflated and back, big endian and back where all VRs are known."""
    held = 0
    for path, source in _files(compressed=False):
        if source.transfer_syntax_uid != EXPLICIT:
            continue
        before = path.read_bytes()[source.offset :]
        for way in (DEFLATED, BIG_ENDIAN):
            copy, back = tmp_path / "there", tmp_path / "back"
            copy.unlink(missing_ok=True)
            back.unlink(missing_ok=True)
            try:
                made = change(source, way, copy, TranscodeLimits())
            except NotTranscodable:
                continue
            change(Source(copy, 0, made.length, way), EXPLICIT, back, TranscodeLimits())
            held += back.read_bytes() == before
    assert held > 300
