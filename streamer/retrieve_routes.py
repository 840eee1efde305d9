"""The routes of retrieval: instances, metadata, bulk data, WADO-URI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from archive import Archive
from archive.renditions.renditions import Renditions
from streamer.conditions import Caching
from streamer.contents import Contents
from streamer.kept_metadata import KeptMetadata
from streamer.metadata import BulkData, Metadata
from streamer.open_frames import FrameCache
from streamer.retrieve import Retrieve
from streamer.transcoding import Transcoding
from streamer.wado_uri import Render, WadoUri

Routes = tuple[tuple[str, Callable[[Request], Response]], ...]
_STUDY: Final = "/studies/{study}"
_SERIES: Final = _STUDY + "/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"


class Retrieval:
    """What is retrieved, at which paths. `close` ends the children that transcode.

    Parameters
    ----------
    caching : Caching
        What clients may keep.
    copies : Path, optional
        Where copies in other transfer syntaxes are made.
    render : callable, optional
        Makes the images of WADO-URI.
    renditions : Renditions, optional
        Makes compressed copies, and keeps metadata of many instances beside them.
    """

    def __init__(
        self,
        archive: Archive,
        cache: FrameCache,
        *,
        caching: Caching,
        copies: Path | None = None,
        render: Render | None = None,
        renditions: Renditions | None = None,
    ) -> None:
        self.transcoding = Transcoding(copies, renditions=renditions)
        retrieve = Retrieve(archive, Contents(archive, self.transcoding), caching)
        kept = KeptMetadata(renditions.cache if renditions is not None else None)
        metadata, bulk_data = Metadata(archive, caching, kept), BulkData(archive, cache, caching)
        self.routes: Routes = (
            (_STUDY, retrieve.several),
            (_STUDY + "/metadata", metadata.show),
            (_SERIES, retrieve.several),
            (_SERIES + "/metadata", metadata.show),
            (_INSTANCE, retrieve.instance),
            (_INSTANCE + "/metadata", metadata.show),
            (_INSTANCE + "/bulkdata/{address:path}", bulk_data.show),
            ("/wado", WadoUri(archive, retrieve, render).show),
        )

    def close(self) -> None:
        """End what was started."""
        self.transcoding.close()
