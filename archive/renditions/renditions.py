"""Renditions of an archive: kept ones at once, others made by a few child processes."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, TypeVar

from archive.archive import Archive
from archive.frame_header import FrameIndexHeader, FrameLayout
from archive.frame_index import FrameIndex
from archive.renditions.cache import RenditionCache
from archive.renditions.darkroom import Darkroom
from archive.renditions.request import PictureRequest, Region
from archive.values import StoredInstance
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.errors import (
    ArchiveError,
    ConfigurationError,
    FramesNotAddressable,
    InstanceNotFound,
    NotTranscodable,
    ServiceUnavailable,
)
from dicomrelay.transcode.syntaxes import DECODABLE
from dicomrelay.transcode.values import Source
from dicomrelay.transcode.workshop import Workshop

# Of what makes them: another number makes all of them anew.
_VERSION: Final = 1
_TRIES: Final = 4
_LISTED: Final = 4096
# There may be room again later.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_W = TypeVar("_W", bound=Workshop)
_T = TypeVar("_T")


class Renditions:
    """Pictures and copies of stored instances. Threads may share it: each that makes something has a child of its own.

    Parameters
    ----------
    cache : RenditionCache
    """

    def __init__(self, archive: Archive, cache: RenditionCache) -> None:
        self.cache = cache
        self._archive = archive
        self._lock = threading.Lock()
        self._darkrooms: list[Darkroom] = []
        self._workshops: list[Workshop] = []

    # ---- pictures

    def kept_picture(self, stored: StoredInstance, frame: int, wanted: PictureRequest) -> bytes | None:
        """A picture that was made already."""
        return self.cache.read(picture_key(stored, frame, wanted))

    def picture(self, stored: StoredInstance, frame: int, wanted: PictureRequest) -> bytes:
        """A picture of a frame; takes as long as decoding takes when it is not kept.

        Parameters
        ----------
        frame : int
            From 1; `REPRESENTATIVE` or `MIDDLE`.

        Raises
        ------
        NotTranscodable
            It cannot be shown.
        ConfigurationError
            This frame cannot be shown in that way: a region outside of it, a window for colour.
        FrameError
            There is no such frame.
        ArchiveError, ServiceUnavailable
            The file cannot be read, its frames cannot be indexed, or there is no room.
        """
        key = picture_key(stored, frame, wanted)
        try:
            with self.cache.one_maker(key):
                kept = self.cache.read(key)
                return self._developed(stored, frame, wanted, key) if kept is None else kept
        except OSError as error:
            raise _without_path(stored, error) from None

    def _developed(self, stored: StoredInstance, frame: int, wanted: PictureRequest, key: str) -> bytes:
        self._archive.prepare_frames_of(stored)
        layout = self._archive.layout
        index = layout.resolve(
            layout.frames(stored.study_instance_uid, stored.series_instance_uid, stored.sop_instance_uid)
        )
        header = _header(index, frame)
        _check(header, wanted)

        def made(darkroom: Darkroom, data: Path) -> bytes:
            path = darkroom.picture(stored, wanted, frame=frame, index=index, data=data)
            try:
                picture = path.read_bytes()
                self.cache.keep(key, path)
                return picture
            finally:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

        if header.data_path != header.stored_path:
            return self._with(
                self._darkrooms, Darkroom, lambda room: made(room, layout.resolve(header.data_path))
            )
        with self._archive.reading(stored) as data:
            return self._with(self._darkrooms, Darkroom, lambda room: made(room, data))

    def shown_in(self, study_uid: str, series_uid: str = "") -> list[StoredInstance]:
        """The instances that may stand for a series or a study, the best first, at most four.

        Raises
        ------
        InstanceNotFound
            The archive has none.
        """
        listed = self._archive.listing(study_uid, series_uid, most=_LISTED)
        if not listed:
            raise InstanceNotFound(
                f"no {'series' if series_uid else 'study'} {series_uid or study_uid} in the archive"
            )
        by_series: dict[str, list[str]] = {}
        for each in listed:
            by_series.setdefault(each.series_instance_uid, []).append(each.sop_instance_uid)
        chosen = [(series, uids[len(uids) // 2]) for series, uids in by_series.items()]
        if series_uid:
            ((_, uids),) = by_series.items()
            chosen += [(series_uid, uid) for uid in (uids[0], uids[-1])]
        found = []
        for series, uid in [*dict.fromkeys(chosen)][:_TRIES]:
            with suppress(InstanceNotFound):  # removed meanwhile
                found.append(self._archive.find(study_uid, series, uid))
        return found

    # ---- copies

    def copy(self, stored: StoredInstance, transfer_syntax_uid: str) -> tuple[int, int]:
        """An instance's data set in a compressed transfer syntax, without loss: a descriptor and its length. Close it.

        Raises
        ------
        NotTranscodable
            It cannot be done without loss, or not within the limits.
        ArchiveError, ServiceUnavailable
            The file cannot be read, or there is no room.
        """
        key = _key("copy", stored.digest, stored.transfer_syntax_uid, transfer_syntax_uid)
        try:
            with self.cache.one_maker(key):
                return self.cache.open(key) or self._copied(stored, transfer_syntax_uid, key)
        except OSError as error:
            raise _without_path(stored, error) from None

    def _copied(self, stored: StoredInstance, transfer_syntax_uid: str, key: str) -> tuple[int, int]:
        def made(workshop: Workshop, source: Source) -> tuple[int, int]:
            copy = workshop.copy(source, transfer_syntax_uid)
            try:
                descriptor = os.open(copy.path, os.O_RDONLY | os.O_CLOEXEC)
                self.cache.keep(key, copy.path)
            finally:
                workshop.discard(copy)
            return descriptor, copy.length

        with self._archive.reading(stored) as path:
            source = Source(path, stored.data_set_offset, stored.data_set_bytes, stored.transfer_syntax_uid)
            return self._with(self._workshops, Workshop, lambda workshop: made(workshop, source))

    # ---- children

    def close(self) -> None:
        """End the children and remove what is left of their work."""
        with self._lock:
            idle: list[Workshop] = [*self._darkrooms, *self._workshops]
            self._darkrooms, self._workshops = [], []
        for each in idle:
            with suppress(OSError):
                each.close()

    def _with(self, idle: list[_W], kind: type[_W], work: Callable[[_W], _T]) -> _T:
        with self._lock:
            room = idle.pop() if idle else None
        if room is None:
            room = kind(self.cache.making)
        try:
            return work(room)
        finally:
            with self._lock:
                idle.append(room)


def picture_key(stored: StoredInstance, frame: int, wanted: PictureRequest) -> str:
    """The name of a picture in the cache; 64 hexadecimal digits."""
    return _key("picture", stored.digest, str(frame), wanted.key)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join((str(_VERSION), *parts)).encode()).hexdigest()


def _header(index: Path, frame: int) -> FrameIndexHeader:
    """The head of a frame index that has the frame. Raises FrameError."""
    with closing(FrameIndex.open(index)) as opened:
        header = opened.header
        if header.layout is FrameLayout.NONE or not header.frame_count:
            raise FramesNotAddressable(
                f"instance {header.sop_instance_uid} has no picture: {header.reason or 'it has no frames'}"
            )
        opened.locate(max(1, frame))
        return header


def _check(header: FrameIndexHeader, wanted: PictureRequest) -> None:
    """Say what cannot be before a child is asked. Raises ConfigurationError, NotTranscodable."""
    geometry, region = header.geometry, wanted.region
    if header.layout is FrameLayout.FRAGMENTS and header.transfer_syntax_uid not in DECODABLE:
        raise NotTranscodable(f"{transfer_syntax(header.transfer_syntax_uid).name} is not decoded here")
    if wanted.window is not None and not geometry.photometric_interpretation.startswith("MONOCHROME"):
        raise ConfigurationError("window: this image is in colour, which has none")
    if region is not None and _is_outside(region, geometry.columns, geometry.rows):
        raise ConfigurationError(
            f"viewport: the region lies outside of the image, which has {geometry.columns} × {geometry.rows} pixels"
        )


def _is_outside(region: Region, columns: int, rows: int) -> bool:
    return not region.is_fraction and (region.x >= columns or region.y >= rows)


def _without_path(stored: StoredInstance, error: OSError) -> ServiceUnavailable | ArchiveError:
    # Not from it: its path may hold the patient id, and a traceback would show that.
    kind = ServiceUnavailable if error.errno in _NO_ROOM else ArchiveError
    return kind(f"renditions of {stored.sop_instance_uid}: {error.strerror or type(error).__name__}")
