"""How many frames a second are served over HTTP, and does it matter which, and of how many?"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import RLELossless, generate_uid

from benchmarks.archives import serving
from benchmarks.contest import turns
from benchmarks.data_sets import LOADS, MULTI_FRAME_GRAYSCALE_WORD_STORAGE, write
from benchmarks.figures import Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.frame_servers import (
    BARE,
    MULTIPART,
    NGINX,
    ORTHANC,
    SERVERS,
    STREAMER,
    TWO_PROCESSES,
    Asked,
    frame_bytes,
    frame_path,
)
from benchmarks.peers import RunFailed, require
from benchmarks.run import Run
from benchmarks.wrk import CONNECTIONS, fetched, requests_a_second

TITLE = "Frames over HTTP"
MANY_FRAMES = 200_000
_OF_NGINX, _OF_ORTHANC, _OF_ORTHANC_INSIDE, _OF_FIRST = 0.6, 5.0, 500.0, 0.9
_SECONDS, _QUICK_SECONDS = 5.0, 1.0
# It answers two or three requests a second for a frame inside a large object.
_ORTHANC_SECONDS = 15.0
_NOTE = (
    f"By wrk, {CONNECTIONS} connections, one worker or process each; the same frame again and again, so that all of it is in the "
    "page cache. What each sends was compared with the file before."
)

_CORES = "Orthanc answers each connection in a thread, on every core: two processes of ours are beside it, one beside nginx."


def measure(run: Run) -> Iterator[Section]:
    """Single frames beside nginx and Orthanc; frames inside a large object beside Orthanc; the last of very many."""
    require(
        {"wrk"} if run.only_ours else {"wrk", *(need for each in SERVERS.values() for need in each.needs)}
    )
    if "ct" in run.loads:
        yield _single(run)
    if "big" in run.loads:
        yield _inside(run)
        yield _of_many(run)


def _single(run: Run) -> Section:
    asked = [
        Asked("dicomrelay", STREAMER, BARE),
        Asked("dicomrelay, multipart", STREAMER, MULTIPART),
        Asked("dicomrelay, two processes, multipart", TWO_PROCESSES, MULTIPART),
        Asked("nginx, a file", NGINX, {}),
        Asked("Orthanc DICOMweb, multipart", ORTHANC, MULTIPART, prefix="/dicom-web"),
    ]
    with emptied(run.disk) as folder:
        source = folder / "source"
        write(replace(LOADS["ct"], instances=1), source)
        [path] = source.iterdir()
        rows = _contest(run, folder, path, [(each, 1) for each in asked])
    bars = (
        *run.faster(rows, "a frame beside nginx and the same bytes in a file", ("dicomrelay",), "nginx, a file", _OF_NGINX),
        *run.faster(
            rows,
            "a frame beside Orthanc's DICOMweb",
            ("dicomrelay, two processes, multipart",),
            "Orthanc DICOMweb, multipart",
            _OF_ORTHANC,
        ),
    )  # fmt: skip
    return Section(
        "frames", f"{TITLE}: 512 kB each", "ct", Place.DISK, tuple(rows), bars=bars, notes=(_NOTE, _CORES)
    )


def _inside(run: Run) -> Section:
    load = replace(LOADS["big"], instances=1)
    middle, last = load.frames // 2, load.frames
    ours = Asked("dicomrelay", STREAMER, MULTIPART)
    orthanc = Asked("Orthanc DICOMweb", ORTHANC, MULTIPART, prefix="/dicom-web")
    with emptied(run.disk) as folder:
        source = folder / "source"
        write(load, source)
        [path] = source.iterdir()
        rows = _contest(run, folder, path, [(ours, 1), (ours, middle), (ours, last), (orthanc, middle)])
    bars = (
        *run.faster(
            rows,
            "a frame inside an object of 80 MB beside Orthanc's",
            (_name(ours, middle),),
            _name(orthanc, middle),
            _OF_ORTHANC_INSIDE,
        ),
        *run.faster(rows, "its last frame beside its first", (_name(ours, last),), _name(ours, 1), _OF_FIRST),
    )
    title = f"{TITLE}: one of {load.frames} in an object of 84 MB"
    return Section("frames", title, "big", Place.DISK, tuple(rows), bars=bars, notes=(_NOTE,))


def _of_many(run: Run) -> Section:
    ours = Asked("dicomrelay", STREAMER, BARE)
    with emptied(run.disk) as folder:
        source = folder / "source"
        source.mkdir()
        path = source / "many.dcm"
        _write_many(path)
        rows = _contest(run, folder, path, [(ours, 1), (ours, MANY_FRAMES)])
    bars = run.faster(
        rows,
        f"the last of {MANY_FRAMES} frames beside the first",
        (_name(ours, MANY_FRAMES),),
        _name(ours, 1),
        _OF_FIRST,
    )
    title = f"{TITLE}: one of {MANY_FRAMES} compressed ones"
    return Section("frames", title, "big", Place.DISK, tuple(rows), bars=bars, notes=(_NOTE,))


def _contest(run: Run, folder: Path, path: Path, asked: Sequence[tuple[Asked, int]]) -> list[Row]:
    taking_part = [
        (each, number)
        for each, number in asked
        if not (run.only_ours and each.server not in (STREAMER, TWO_PROCESSES))
    ]
    several = len({number for _, number in asked}) > 1
    seconds = _SECONDS if run.scale >= 1 else _QUICK_SECONDS
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(
                serving(SERVERS[name], stack.enter_context(emptied(folder)), path.parent, 0)
            )
            for name in dict.fromkeys(each.server for each, _ in taking_part)
        }
        for (each, number), counts in turns(taking_part, run.rounds, max(1, run.warm_up)):
            url = f"http://127.0.0.1:{ports[each.server]}{each.prefix}{frame_path(path, number)}"
            _verify(each, url, path, number)
            is_slow = each.server == ORTHANC and several
            rate = requests_a_second(
                url, each.headers, seconds=max(seconds, _ORTHANC_SECONDS) if is_slow else seconds
            )
            if counts:
                found.setdefault(_name(each, number) if several else each.name, []).append(rate)
    return [Row(name, tuple(values), unit="frames/s") for name, values in found.items()]


def _name(asked: Asked, number: int) -> str:
    return f"{asked.name}, frame {number}"


def _verify(asked: Asked, url: str, path: Path, number: int) -> None:
    """What comes has the frame in it, whole.

    Raises
    ------
    RunFailed
        It has not.
    """
    is_many = path.name == "many.dcm"
    if (_frame_of_many(number) if is_many else frame_bytes(path, number)) not in fetched(url, asked.headers):
        raise RunFailed(f"{asked.name}: what {url} answers is not frame {number}")


def _frame_of_many(number: int) -> bytes:
    return b"frame %09d " % number * 16


def _write_many(path: Path) -> None:
    """One fragment a frame; nobody decodes them."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = MULTI_FRAME_GRAYSCALE_WORD_STORAGE, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientID, ds.NumberOfFrames = "P1", MANY_FRAMES
    ds.Rows = ds.Columns = 16
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds.save_as(path, enforce_file_format=True)
    with path.open("ab") as file:
        file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
        file.write(struct.pack("<HHI", 0xFFFE, 0xE000, 0))
        for number in range(1, MANY_FRAMES + 1):
            frame = _frame_of_many(number)
            file.write(struct.pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame)
        file.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
