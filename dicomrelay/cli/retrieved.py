"""The folder that a C-GET fills: Part 10 files, each whole or not there, none written over.

A name is made of a SOP Instance UID by `archive.layout.component`, the one function that turns a string from the wire into
part of a path, and is checked to lie in the folder. docs/design/query-retrieve-scu.md says what a crash leaves.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from archive.layout import Layout, component
from dicomrelay.dicom.part10 import HEAD_BYTES, FileMeta, encode_file_meta, parse_file_meta
from dicomrelay.dicom.scan import HeaderScanner
from dicomrelay.dicom.status import Status
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import ArchiveError, ConfigurationError, DataSetError
from dicomrelay.net.service import StoreReply, StoreSink
from dicomrelay.spool.operations import OperatingSystem
from scp_gateway.replies import mismatch, reply_to

# Of the disk so much stays free: the same as when the archive inflates.
_MIN_FREE_SHARE: Final = 20
_MIN_FREE_BYTES: Final = 1 << 30
_CHUNK_BYTES: Final = 1 << 20


@dataclass
class Tally:
    """What became of the instances that came."""

    stored: int = 0
    already_there: int = 0
    beside: list[str] = field(default_factory=list)  # names of files put beside one with other bytes
    refused: dict[str, str] = field(default_factory=dict)  # SOP Instance UID to our reason
    bytes: int = 0


class Folder:
    """A receiver of sub-operations that keeps each in a file.

    Parameters
    ----------
    root : Path
        Made if need be, mode 0700.
    peer_ae_title, own_ae_title : str
        For the file meta.

    Raises
    ------
    ConfigurationError
        It cannot be made, or is no folder.
    """

    def __init__(self, root: Path, *, peer_ae_title: str, own_ae_title: str) -> None:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--output {root}: {error.strerror}") from error
        self.layout = Layout(root)
        self.tally = Tally()
        self._titles = (peer_ae_title, own_ae_title)

    def begin_store(self, request: CStoreRequest, transfer_syntax_uid: str) -> StoreSink | StoreReply:
        """A file for the data set that follows, unless its UID is none or the disk is nearly full."""
        if not is_tolerable_uid(request.sop_instance_uid):
            return self.refuse(request, StoreReply(Status.INVALID_SOP_INSTANCE, "no UID"))
        disk = shutil.disk_usage(self.layout.root)
        if disk.free < min(disk.total // _MIN_FREE_SHARE, _MIN_FREE_BYTES):
            return self.refuse(request, StoreReply(Status.OUT_OF_RESOURCES, "disk space is low"))
        peer, own = self._titles
        meta = FileMeta(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            sending_ae_title=peer,
            receiving_ae_title=own,
        )
        return FileSink(self, request, meta)

    def refuse(self, request: CStoreRequest, reply: StoreReply) -> StoreReply:
        """Note a refusal, and answer it."""
        self.tally.refused[request.sop_instance_uid] = reply.comment
        return reply


class FileSink:
    """One data set on its way into a file: written, compared with its command, flushed, then named."""

    def __init__(self, folder: Folder, request: CStoreRequest, meta: FileMeta) -> None:
        self._folder = folder
        self._request = request
        self._scanner = HeaderScanner(meta.transfer_syntax_uid)
        self._refusal: StoreReply | None = None
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._part = folder.layout.root / f".{secrets.token_hex(16)}.part"
        self._system = OperatingSystem()
        self._file = os.fdopen(self._system.create(str(self._part)), "wb", buffering=0)
        self._write_all(encode_file_meta(meta))

    def write(self, fragments: Sequence[memoryview]) -> None:
        """See StoreSink; an OSError is answered A700."""
        if self._refusal is not None:
            return
        try:
            for fragment in fragments:
                self._scanner.feed(fragment)
                self._digest.update(fragment)
                self._bytes += len(fragment)
                self._write_all(fragment)
        except DataSetError as error:
            self._refuse(reply_to(error))

    def finish(self) -> StoreReply:
        """See StoreSink: the file is whole, durable and has its name before Success."""
        if self._refusal is not None:
            return self._refusal
        try:
            wrong = mismatch(
                self._scanner.finish(),
                sop_class_uid=self._request.sop_class_uid,
                sop_instance_uid=self._request.sop_instance_uid,
            )
            if wrong is not None:
                return self._refuse(wrong)
            self._system.sync_data(self._file.fileno())
            self._name()
        except DataSetError as error:
            return self._refuse(reply_to(error))
        except (OSError, ArchiveError):
            self._folder.tally.refused[self._request.sop_instance_uid] = "could not be written"
            raise
        finally:
            self._discard()
        return StoreReply(Status.SUCCESS)

    def abandon(self) -> None:
        """See StoreSink: nothing is left."""
        self._discard()

    def _name(self) -> None:
        """Give the file its name; a link, unlike a rename, never replaces what is there."""
        layout, tally = self._folder.layout, self._folder.tally
        name = component(self._request.sop_instance_uid)
        digest = self._digest.hexdigest()
        for candidate in (f"{name}.dcm", f"{name}~{digest[:12]}.dcm"):
            target = layout.resolve(candidate)
            try:
                os.link(self._part, target)
            except FileExistsError:
                if _digest_of(target) == digest:
                    tally.already_there += 1
                    return
                continue
            self._sync_names()
            tally.stored += 1
            tally.bytes += self._bytes
            if candidate != f"{name}.dcm":
                tally.beside.append(candidate)
            return
        raise FileExistsError(f"{name}: both of its names are taken by other bytes")

    def _sync_names(self) -> None:
        descriptor = os.open(self._folder.layout.root, os.O_RDONLY)
        try:
            self._system.sync_directory(descriptor)
        finally:
            os.close(descriptor)

    def _write_all(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _refuse(self, reply: StoreReply) -> StoreReply:
        self._refusal = self._folder.refuse(self._request, reply)
        self._discard()
        return reply

    def _discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def _digest_of(path: Path) -> str:
    """SHA-256 of the data set in a file; "" for a file that is no DICOM."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        try:
            file.seek(parse_file_meta(file.read(HEAD_BYTES)).data_set_offset)
        except DataSetError:
            return ""
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
