"""What `get` keeps: the sub-operations of a C-GET, each in a file of the output folder that `receive` writes too."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomrelay.cli.receiving.folder import Keeping, OutputFolder
from dicomrelay.cli.receiving.sink import FolderSink, Received
from dicomrelay.dicom.part10 import FileMeta
from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Status, status_name
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import SpoolError
from dicomrelay.net.replies import reply_to
from dicomrelay.net.service import StoreReply
from dicomrelay.spool.operations import Operations

# Of the disk so much stays free: the same as when the archive inflates.
_MIN_FREE_SHARE: Final = 20
_MIN_FREE_BYTES: Final = 1 << 30


@dataclass
class Tally:
    """What became of the instances that came."""

    stored: int = 0
    already_there: int = 0
    beside: list[str] = field(default_factory=list)  # names of files put beside one with other bytes
    refused: dict[str, str] = field(default_factory=dict)  # SOP Instance UID to our reason
    bytes: int = 0


class RetrievedFolder:
    """A receiver of sub-operations that keeps each in a file. `close` it.

    Parameters
    ----------
    root : Path
        Made if need be, mode 0700.
    peer_ae_title, own_ae_title : str
        For the file meta.
    operations : Operations, optional
        The system calls of a commit, for tests that make them fail.

    Raises
    ------
    ConfigurationError
        It cannot be made or written, is no folder, or another `get` or `receive` has it.
    """

    def __init__(
        self, root: Path, *, peer_ae_title: str, own_ae_title: str, operations: Operations | None = None
    ) -> None:
        self._folder = OutputFolder(
            root, min_free_bytes=_min_free_bytes(root.absolute()), operations=operations
        )
        self.root = self._folder.root
        self.tally = Tally()
        self._titles = (peer_ae_title, own_ae_title)

    def close(self) -> None:
        """No instance is under way any more."""
        self._folder.close()

    def begin_store(self, request: CStoreRequest, transfer_syntax_uid: str) -> FolderSink | StoreReply:
        """A file for the data set that follows, unless its UID is none or the disk is nearly full."""
        peer, own = self._titles
        if not is_tolerable_uid(request.sop_instance_uid):
            return self._refuse(request, StoreReply(Status.INVALID_SOP_INSTANCE, "no UID"))
        meta = FileMeta(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            sending_ae_title=peer,
            receiving_ae_title=own,
        )
        try:
            part = self._folder.begin(meta)
        except SpoolError as error:
            return self._refuse(request, reply_to(error), str(error))
        return FolderSink(self._folder, part, request, transfer_syntax_uid, self._ended)

    def _refuse(self, request: CStoreRequest, reply: StoreReply, fault: str = "") -> StoreReply:
        self._ended(Received(request, Header(), reply, None, 0, 0.0, fault))
        return reply

    def _ended(self, received: Received) -> None:
        tally, kept = self.tally, received.kept
        if kept is None:
            reply = received.reply
            tally.refused[received.request.sop_instance_uid] = (
                received.fault or reply.comment or status_name(reply.status)
            )
        elif kept.keeping is Keeping.AGAIN:
            tally.already_there += 1
        else:
            tally.stored += 1
            tally.bytes += received.data_set_bytes
            if kept.keeping is Keeping.BESIDE:
                tally.beside.append(kept.relative)


def _min_free_bytes(root: Path) -> int:
    """The mark for the file system of a folder, which may be still to make."""
    there = next(path for path in (root, *root.parents) if os.path.exists(path))  # noqa: PTH110 - never raises
    return min(shutil.disk_usage(there).total // _MIN_FREE_SHARE, _MIN_FREE_BYTES)
