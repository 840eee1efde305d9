"""The folder that a C-GET fills."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.cli import retrieved
from dicomrelay.cli.receiving.sink import FolderSink
from dicomrelay.cli.retrieved import RetrievedFolder
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.service import StoreReply, finish
from dicomrelay.spool.operations import Operations
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, Encoder
from tests.support.disk import Disk
from tests.support.evil_strings import EVIL

UID = "1.2.3"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RetrievedFolder]:
    opened = _folder(tmp_path)
    yield opened
    opened.close()
    assert not (opened.root / ".receiving").exists()


def _folder(path: Path, operations: Operations | None = None) -> RetrievedFolder:
    return RetrievedFolder(path / "out", peer_ae_title="PEER", own_ae_title="US", operations=operations)


def _data_set(uid: str = UID, tail: bytes = b"x" * 50) -> bytes:
    return Encoder().identity(uid) + Encoder().element(0x7FE00010, b"OW", tail)


def _begin(folder: RetrievedFolder, uid: str = UID, sop_class: str = CT_IMAGE_STORAGE) -> FolderSink:
    sink = folder.begin_store(CStoreRequest(1, sop_class, uid), EXPLICIT)
    assert isinstance(sink, FolderSink)
    return sink


def _store(folder: RetrievedFolder, data: bytes, uid: str = UID) -> StoreReply:
    sink = _begin(folder, uid)
    for at in range(0, len(data), 7):
        sink.write([memoryview(data)[at : at + 7]])
    return finish(sink)


def _names(folder: RetrievedFolder) -> list[str]:
    return sorted(path.name for path in folder.root.rglob("*") if path.name not in {".receiving", "lock"})


def test_a_file_holds_what_came_byte_for_byte(folder: RetrievedFolder) -> None:
    """Behind a file meta of ours, for its owner only, and no temporary file is left."""
    data = _data_set()
    assert _store(folder, data).status == 0
    (name,) = _names(folder)
    path = folder.root / name
    raw = path.read_bytes()
    meta = parse_file_meta(raw)
    assert path.name == f"{UID}.dcm"
    assert raw[meta.data_set_offset :] == data
    assert (meta.transfer_syntax_uid, meta.sop_instance_uid) == (EXPLICIT, UID)
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("PEER", "US")
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert folder.tally.bytes == len(data)


def test_the_same_bytes_again_are_there_already_and_others_are_kept_beside(folder: RetrievedFolder) -> None:
    """No file is written over, and nothing that came is lost."""
    first, second = _data_set(), _data_set(tail=b"y" * 50)
    assert [_store(folder, data).status for data in (first, first, second, second)] == [0] * 4
    plain, beside = sorted(_names(folder), key=len)
    assert plain == f"{UID}.dcm"
    assert (folder.root / plain).read_bytes().endswith(first)
    assert (folder.root / beside).read_bytes().endswith(second)
    assert (folder.tally.stored, folder.tally.already_there, folder.tally.beside) == (2, 2, [beside])


def test_a_file_that_is_no_dicom_is_not_written_over(folder: RetrievedFolder) -> None:
    """Whatever else has the name."""
    (folder.root / f"{UID}.dcm").write_bytes(b"a letter")
    assert _store(folder, _data_set()).status == 0
    assert (folder.root / f"{UID}.dcm").read_bytes() == b"a letter"
    assert len(folder.tally.beside) == 1


@pytest.mark.parametrize("uid", [*EVIL, "1.2.3/../../x", "../x", "1" * 65])
def test_a_uid_that_is_none_reaches_no_path(folder: RetrievedFolder, tmp_path: Path, uid: str) -> None:
    """It is refused with 0117 before a file is made; nothing is outside the folder either."""
    reply = folder.begin_store(CStoreRequest(1, CT_IMAGE_STORAGE, uid), EXPLICIT)
    if isinstance(reply, FolderSink):  # leading zeros and the like: digits and dots only
        reply.abandon()
        assert set(uid) <= set("0123456789.")
    else:
        assert reply.status == 0x0117
    assert _names(folder) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (_data_set("1.2.4"), 0xA900),
        (_data_set()[:-10], 0),  # cut off behind the UIDs: kept as it came, as the gateway does
        (b"\0" * 40, 0xC000),
        (b"", 0xC000),
        (b"not a data set at all, but a letter to somebody", 0xC000),
    ],
)
def test_a_data_set_that_is_not_what_its_command_says_is_not_kept(
    folder: RetrievedFolder, data: bytes, status: int
) -> None:
    """A peer that mixes instances up would have us file one under the name of another."""
    assert _store(folder, data).status == status
    assert len(_names(folder)) == (status == 0)
    assert len(folder.tally.refused) == (status != 0)


def test_what_is_abandoned_leaves_no_file(folder: RetrievedFolder) -> None:
    """The association died in the data set."""
    sink = _begin(folder)
    sink.write([memoryview(_data_set()[:20])])
    assert len(_names(folder)) == 1
    sink.abandon()
    assert _names(folder) == []


def test_a_disk_that_is_nearly_full_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A700, before a byte is written."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1 << 80, 0, 0))
    monkeypatch.setattr(retrieved, "_MIN_FREE_BYTES", 1 << 70)
    folder = _folder(tmp_path)
    reply = folder.begin_store(CStoreRequest(1, CT_IMAGE_STORAGE, UID), EXPLICIT)
    assert isinstance(reply, StoreReply)
    assert reply.status == 0xA700
    assert _names(folder) == []
    assert "bytes are free" in folder.tally.refused[UID]
    folder.close()


def test_a_link_that_leads_out_of_the_folder_is_not_followed(folder: RetrievedFolder, tmp_path: Path) -> None:
    """Somebody has put a symbolic link where our file goes."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (folder.root / f"{UID}.dcm").symlink_to(victim)
    sink = _begin(folder)
    sink.write([memoryview(_data_set())])
    assert finish(sink).status == 0x0110
    assert "leads out" in folder.tally.refused[UID]
    assert victim.read_bytes() == b"untouched"
    assert _names(folder) == [f"{UID}.dcm"]


def test_an_output_that_is_a_file_is_an_error_of_usage(tmp_path: Path) -> None:
    """Named by its option."""
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="--output"):
        _folder(tmp_path)


def test_a_folder_without_links_is_filled_all_the_same(
    folder: RetrievedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT, where link(2) is not permitted."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    assert _store(folder, _data_set()).status == 0
    assert _store(folder, _data_set(tail=b"y" * 50)).status == 0
    assert (folder.root / f"{UID}.dcm").read_bytes().endswith(_data_set())
    assert (folder.tally.stored, len(folder.tally.beside)) == (2, 1)


@pytest.mark.parametrize("failing", ["create", "head", "write", "sync_data", "sync_directory"])
def test_a_disk_that_fails_leaves_nothing_half(tmp_path: Path, failing: str) -> None:
    """At the first write as at the last flush; the peer is answered, and the user is told why."""
    disk = Disk(failing, errno.ENOSPC)
    folder = _folder(tmp_path, disk)
    sink = folder.begin_store(CStoreRequest(1, CT_IMAGE_STORAGE, UID), EXPLICIT)
    if not isinstance(sink, StoreReply):
        sink.write([memoryview(_data_set())])
        sink = finish(sink)
    assert sink.status == 0xA700
    # A whole file stays where only its name may not be durable: somebody else may have been answered for it.
    assert _names(folder) == ([f"{UID}.dcm"] if failing == "sync_directory" else [])
    assert "out" in folder.tally.refused[UID]  # the path, and what the system said
    folder.close()


def test_a_dead_fetch_leaves_parts_that_the_next_removes(tmp_path: Path) -> None:
    """It was killed in a data set."""
    folder = _folder(tmp_path)
    (folder.root / ".receiving" / "7.part").write_bytes(b"half")
    folder.close()
    assert _names(folder) == ["7.part"]
    _folder(folder.root.parent).close()
    assert list(folder.root.iterdir()) == []


def test_the_same_bytes_in_another_transfer_syntax_are_another_version(folder: RetrievedFolder) -> None:
    """The meta says how a data set is to be read, so it is kept too."""
    data = _data_set()
    assert _store(folder, data).status == 0
    path = folder.root / f"{UID}.dcm"
    path.write_bytes(path.read_bytes().replace(EXPLICIT.encode() + b"\0", IMPLICIT.encode() + b"\0\0\0"))
    assert _store(folder, data).status == 0
    assert len(folder.tally.beside) == 1
