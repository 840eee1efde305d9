"""Pictures by a child process, as a workshop has copies made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from archive.renditions.request import PictureRequest
from archive.values import StoredInstance
from dicomrelay.transcode.workshop import Workshop


class Darkroom(Workshop):
    """A workshop that makes pictures. Not for several threads at once."""

    module: ClassVar[str] = "archive.renditions.child"

    def picture(
        self,
        stored: StoredInstance,
        wanted: PictureRequest,
        *,
        frame: int,
        index: Path,
        data: Path,
    ) -> Path:
        """Make a picture: a file that is the caller's now.

        Parameters
        ----------
        frame : int
            From 1; 0 for the representative one, -1 for the middle one.
        index, data : Path
            The frame index, and the file that its offsets are of.

        Raises
        ------
        NotTranscodable
            It cannot be shown, or not within the limits, or the decoder died over it.
        OSError
            A file cannot be read, or there is no room.
        """
        path = self.new_path("picture")
        asked = {
            "index": os.fspath(index),
            "data": os.fspath(data),
            "offset": stored.data_set_offset,
            "frame": frame,
            "picture": wanted.as_json(),
        }
        self.ask(asked, path, reads_bytes=0)
        return path
