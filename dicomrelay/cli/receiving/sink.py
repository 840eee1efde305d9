"""The data set of one C-STORE request on its way into the output folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dicomrelay.cli.receiving.folder import Kept, OutputFolder
from dicomrelay.cli.receiving.part_file import PartFile
from dicomrelay.dicom.scan import Header
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import RelayError
from dicomrelay.net.scanning_sink import ScanningSink
from dicomrelay.net.service import StoreReply
from dicomrelay.net.stored import STORED


@dataclass(frozen=True, slots=True)
class Received:
    """How one request ended; `kept` is None when it was refused."""

    request: CStoreRequest
    header: Header
    reply: StoreReply
    kept: Kept | None
    data_set_bytes: int
    seconds: float
    fault: str = ""  # the words of an error of ours: for our log, not for the peer


class FolderSink(ScanningSink):
    """Scans and writes as the fragments come; kept, and durable if asked for, before it answers.

    Parameters
    ----------
    ended : callable
        Told how it ended, before the peer is.
    """

    def __init__(
        self,
        folder: OutputFolder,
        part: PartFile,
        request: CStoreRequest,
        transfer_syntax_uid: str,
        ended: Callable[[Received], None],
    ) -> None:
        super().__init__(request, transfer_syntax_uid, write=part.write, forget=part.discard)
        self._folder = folder
        self._part = part
        self._ended = ended
        self._began_at = time.monotonic()

    def keep(self, header: Header) -> None:
        """Give it its name, and tell."""
        self._tell(STORED, header, self._folder.keep(self._part, header))

    def refused(self, reply: StoreReply, error: RelayError | None) -> None:
        """Tell."""
        self._tell(reply, self._scanner.header, None, fault=str(error) if error else "")

    def _tell(self, reply: StoreReply, header: Header, kept: Kept | None, *, fault: str = "") -> None:
        seconds = round(time.monotonic() - self._began_at, 6)
        size = self._part.data_set_bytes
        self._ended(Received(self._request, header, reply, kept, size, seconds, fault))
