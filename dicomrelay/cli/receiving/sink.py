"""The data set of one C-STORE request on its way into the output folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomrelay.cli.receiving.folder import Kept, OutputFolder
from dicomrelay.cli.receiving.part_file import PartFile
from dicomrelay.dicom.scan import Header, HeaderScanner
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import ArchiveError, DataSetError, RelayError, SpoolError
from dicomrelay.net.service import Commit, StoreReply
from scp_gateway.replies import STORED, mismatch, reply_to


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


class FolderSink:
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
        self._folder = folder
        self._part = part
        self._request = request
        self._ended = ended
        self._began_at = time.monotonic()
        self._scanner = HeaderScanner(transfer_syntax_uid)
        self._scanning = True
        self._refusal: StoreReply | None = None

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Take the next bytes; after a refusal they are thrown away."""
        if self._refusal is not None:
            return
        try:
            if self._scanning:
                self._scanning = not any(self._scanner.feed(fragment) for fragment in fragments)
            self._part.write(fragments)
        except (DataSetError, SpoolError) as error:
            self._refuse(reply_to(error), error)

    def finish(self) -> StoreReply | Commit:
        """What is wrong with the data set, or the commit that is left to do."""
        if self._refusal is not None:
            return self._refusal
        try:
            header = self._scanner.finish()
        except DataSetError as error:
            return self._refuse(reply_to(error), error)
        wrong = mismatch(
            header,
            sop_class_uid=self._request.sop_class_uid,
            sop_instance_uid=self._request.sop_instance_uid,
        )
        if wrong is not None:
            return self._refuse(wrong)
        return lambda: self._commit(header)

    def abandon(self) -> None:
        """The association died first."""
        self._part.discard()

    def _commit(self, header: Header) -> StoreReply:
        size = self._part.data_set_bytes
        try:
            kept = self._folder.keep(self._part, header)
        except (SpoolError, ArchiveError) as error:
            return self._refuse(reply_to(error), error)
        self._tell(STORED, header, kept, size)
        return STORED

    def _refuse(self, reply: StoreReply, error: RelayError | None = None) -> StoreReply:
        size = self._part.data_set_bytes
        self._refusal = reply
        self._part.discard()
        self._tell(reply, self._scanner.header, None, size, fault=str(error) if error else "")
        return reply

    def _tell(
        self, reply: StoreReply, header: Header, kept: Kept | None, size: int, *, fault: str = ""
    ) -> None:
        seconds = round(time.monotonic() - self._began_at, 6)
        self._ended(Received(self._request, header, reply, kept, size, seconds, fault))
