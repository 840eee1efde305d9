"""The folder that a C-GET fills."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from dicomrelay.cli.retrieved import FileSink, Folder
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.service import StoreReply
from tests.support.data_sets import CT_IMAGE_STORAGE, EXPLICIT, Encoder
from tests.support.evil_strings import EVIL

UID = "1.2.3"


def _folder(path: Path) -> Folder:
    return Folder(path / "out", peer_ae_title="PEER", own_ae_title="US")


def _data_set(uid: str = UID, tail: bytes = b"x" * 50) -> bytes:
    return Encoder().identity(uid) + Encoder().element(0x7FE00010, b"OW", tail)


def _begin(folder: Folder, uid: str = UID, sop_class: str = CT_IMAGE_STORAGE) -> FileSink:
    sink = folder.begin_store(CStoreRequest(1, sop_class, uid), EXPLICIT)
    assert isinstance(sink, FileSink)
    return sink


def _store(folder: Folder, data: bytes, uid: str = UID) -> StoreReply:
    sink = _begin(folder, uid)
    for at in range(0, len(data), 7):
        sink.write([memoryview(data)[at : at + 7]])
    return sink.finish()


def _names(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.layout.root.iterdir())


def test_a_file_holds_what_came_byte_for_byte(tmp_path: Path) -> None:
    """Behind a file meta of ours, for its owner only, and no temporary file is left."""
    folder = _folder(tmp_path)
    data = _data_set()
    assert _store(folder, data).status == 0
    (path,) = folder.layout.root.iterdir()
    raw = path.read_bytes()
    meta = parse_file_meta(raw)
    assert path.name == f"{UID}.dcm"
    assert raw[meta.data_set_offset :] == data
    assert (meta.transfer_syntax_uid, meta.sop_instance_uid) == (EXPLICIT, UID)
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("PEER", "US")
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.layout.root.stat().st_mode & 0o777 == 0o700
    assert folder.tally.bytes == len(data)


def test_the_same_bytes_again_are_there_already_and_others_are_kept_beside(tmp_path: Path) -> None:
    """No file is written over, and nothing that came is lost."""
    folder = _folder(tmp_path)
    first, second = _data_set(), _data_set(tail=b"y" * 50)
    assert [_store(folder, data).status for data in (first, first, second, second)] == [0] * 4
    plain, beside = sorted(_names(folder), key=len)
    assert plain == f"{UID}.dcm"
    assert (folder.layout.root / plain).read_bytes().endswith(first)
    assert (folder.layout.root / beside).read_bytes().endswith(second)
    assert (folder.tally.stored, folder.tally.already_there, folder.tally.beside) == (2, 2, [beside])


def test_a_file_that_is_no_dicom_is_not_written_over(tmp_path: Path) -> None:
    """Whatever else has the name."""
    folder = _folder(tmp_path)
    (folder.layout.root / f"{UID}.dcm").write_bytes(b"a letter")
    assert _store(folder, _data_set()).status == 0
    assert (folder.layout.root / f"{UID}.dcm").read_bytes() == b"a letter"
    assert len(folder.tally.beside) == 1


@pytest.mark.parametrize("uid", [*EVIL, "1.2.3/../../x", "../x", "1" * 65])
def test_a_uid_that_is_none_reaches_no_path(tmp_path: Path, uid: str) -> None:
    """It is refused with 0117 before a file is made; nothing is outside the folder either."""
    folder = _folder(tmp_path)
    reply = folder.begin_store(CStoreRequest(1, CT_IMAGE_STORAGE, uid), EXPLICIT)
    if isinstance(reply, FileSink):  # leading zeros and the like: digits and dots only
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
    tmp_path: Path, data: bytes, status: int
) -> None:
    """A peer that mixes instances up would have us file one under the name of another."""
    folder = _folder(tmp_path)
    assert _store(folder, data).status == status
    assert len(_names(folder)) == (status == 0)
    assert len(folder.tally.refused) == (status != 0)


def test_what_is_abandoned_leaves_no_file(tmp_path: Path) -> None:
    """The association died in the data set."""
    folder = _folder(tmp_path)
    sink = _begin(folder)
    sink.write([memoryview(_data_set()[:20])])
    assert len(_names(folder)) == 1
    sink.abandon()
    assert _names(folder) == []


def test_a_disk_that_is_nearly_full_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A700, before a byte is written."""
    folder = _folder(tmp_path)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12 - 10**8, 10**8))
    reply = folder.begin_store(CStoreRequest(1, CT_IMAGE_STORAGE, UID), EXPLICIT)
    assert isinstance(reply, StoreReply)
    assert reply.status == 0xA700
    assert _names(folder) == []


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """Somebody has put a symbolic link where our file goes."""
    folder = _folder(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (folder.layout.root / f"{UID}.dcm").symlink_to(victim)
    sink = _begin(folder)
    sink.write([memoryview(_data_set())])
    with pytest.raises(Exception, match="leads out"):
        sink.finish()
    assert victim.read_bytes() == b"untouched"
    assert _names(folder) == [f"{UID}.dcm"]


def test_an_output_that_is_a_file_is_an_error_of_usage(tmp_path: Path) -> None:
    """Named by its option."""
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="--output"):
        _folder(tmp_path)
