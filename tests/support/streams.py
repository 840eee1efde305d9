"""Studies to stream, and a client that speaks the protocol word by word."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian
from websockets.sync.client import ClientConnection, connect

from archive import Archive, StoreOutcome
from streamer.streams.wire import HEADER_BYTES, SUBPROTOCOL, RecordHeader, decode_header
from tests.support.archive import pydicom_file, request_for

STUDY = "1.2.826.0.1.3680043.8.498.1"
SLICES = f"{STUDY}.1"
VOLUME = f"{STUDY}.2"


def slice_uid(number: int) -> str:
    """The SOP Instance UID of a slice, from 1."""
    return f"{SLICES}.{number}"


def make_study(
    folder: Path, *, slices: int = 40, frames: int = 30, rows: int = 64, columns: int = 64
) -> list[Path]:
    """A series of single slices, and a series of one instance with several frames; each frame is full of its number."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *(_write(folder, SLICES, slice_uid(n), n, [n], rows, columns) for n in range(1, slices + 1)),
        *([_write(folder, VOLUME, f"{VOLUME}.1", 1, [*range(1, frames + 1)], rows, columns)] if frames else []),
    ]  # fmt: skip


def store(home: Path, paths: list[Path]) -> None:
    """Put files into the archive of a home."""
    with closing(Archive.open(home / "archive")) as archive:
        results = archive.store([request_for(path) for path in paths])
    assert all(result.outcome is StoreOutcome.STORED for result in results)


def _write(
    folder: Path, series: str, uid: str, number: int, values: list[int], rows: int, columns: int
) -> Path:
    ds = dcmread(pydicom_file("CT_small.dcm"))
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = STUDY, series, uid
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SeriesNumber, ds.InstanceNumber = series.rpartition(".")[2], number
    ds.Rows, ds.Columns = rows, columns
    if len(values) > 1:
        ds.NumberOfFrames = len(values)
    ds.PixelData = b"".join(filled(value, rows, columns) for value in values)
    path = folder / f"{uid}.dcm"
    dcmwrite(path, ds)
    return path


def filled(value: int, rows: int = 64, columns: int = 64) -> bytes:
    """The bytes of a frame of that study."""
    return np.full((rows, columns), value, "<u2").tobytes()


class RawStream:
    """A WebSocket stream without the client's help: words out, words and pieces in."""

    def __init__(self, base_url: str, **options: Any) -> None:
        url = base_url.replace("http://", "ws://").rstrip("/") + "/streams"
        self._stack = ExitStack()
        self.socket: ClientConnection = self._stack.enter_context(
            connect(url, subprotocols=[SUBPROTOCOL], compression=None, max_size=2**25, proxy=None, **options)
        )

    def say(self, **words: Any) -> None:
        self.socket.send(json.dumps(words))

    def receive(self, timeout: float = 10) -> dict[str, Any] | tuple[RecordHeader, bytes]:
        message = self.socket.recv(timeout)
        if isinstance(message, str):
            return dict(json.loads(message))
        return decode_header(message), message[HEADER_BYTES:]

    def until(self, event: str) -> tuple[list[tuple[RecordHeader, bytes]], list[dict[str, Any]]]:
        """All pieces and words until some words, which are the last."""
        pieces, words = [], []
        while True:
            record = self.receive()
            if isinstance(record, tuple):
                pieces.append(record)
            else:
                words.append(record)
                if record["event"] == event:
                    return pieces, words

    def __enter__(self) -> RawStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
