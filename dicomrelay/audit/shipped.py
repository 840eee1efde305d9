"""How far the repository has heard, kept beside the trail."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.audit.trail import Segment
from dicomrelay.errors import AuditError

_NAME: Final = "shipped.json"


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """Behind which byte of which segment."""

    segment: Segment
    offset: int = 0


class Shipped:
    """Reads and writes the place."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def read(self) -> Place | None:
        """The place; None when there is none yet, or it cannot be read: then all is sent again."""
        try:
            found = json.loads(self._path.read_text("utf-8"))
            segment = Segment.of(found["segment"])
            offset = int(found["offset"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if segment is None or offset < 0 else Place(segment, offset)

    def write(self, place: Place) -> None:
        """Move on to there. A power cut may take it back to the place before: that is sent again.

        Raises
        ------
        AuditError
            It cannot be written.
        """
        temporary = ""
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{_NAME}.")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"segment": place.segment.name, "offset": place.offset}, file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).rename(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise AuditError(f"{self._path}: cannot be written: {error.strerror}") from None

    def is_behind(self, segment: Segment) -> bool:
        """Whether the repository has heard all of a segment."""
        place = self.read()
        return place is not None and place.segment > segment
