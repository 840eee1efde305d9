"""The multipart body: its bytes, its length, and what happens to a file that is not as it was."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.errors import SpoolCorrupt
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.web.body import Body, NotReadable
from tests.support.archive import pydicom_file
from tests.support.data_sets import CT_IMAGE_STORAGE, DEFLATED, EXPLICIT


def _item(
    path: Path, uid: str, *, offset: int = 0, length: int | None = None, syntax: str = EXPLICIT
) -> StoreItem:
    size = path.stat().st_size - offset if length is None else length
    return StoreItem(CT_IMAGE_STORAGE, uid, syntax, path, offset, size)


def test_a_body_is_as_long_as_it_says_and_holds_part_10_files(tmp_path: Path) -> None:
    """The data set byte for byte, the file meta anew, with who sends it; it may be sent twice."""
    source = pydicom_file("CT_small.dcm")
    meta = parse_file_meta(source.read_bytes()[:HEAD_BYTES])
    item = StoreItem(
        meta.sop_class_uid,
        meta.sop_instance_uid,
        meta.transfer_syntax_uid,
        source,
        meta.data_set_offset,
        source.stat().st_size - meta.data_set_offset,
    )
    paced: list[int] = []
    body = Body([item, item], calling_ae_title="US", boundary="b")

    content = b"".join(body.pieces(paced.append))

    assert b"".join(body.pieces(lambda _: None)) == content
    assert len(content) == body.length
    assert sum(paced) == 2 * item.data_set_bytes
    assert body.content_type == 'multipart/related; type="application/dicom"; boundary="b"'
    head = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n"
    first, second = content.removesuffix(b"\r\n--b--\r\n").split(head)[1:]
    assert first == second
    found = parse_file_meta(first[:HEAD_BYTES])
    assert first[found.data_set_offset :] == source.read_bytes()[meta.data_set_offset :]
    assert found.sending_ae_title == "US"
    assert dcmread(BytesIO(first)).SOPInstanceUID == meta.sop_instance_uid


def test_what_the_spool_wrote_into_its_file_stays_there(tmp_path: Path) -> None:
    """Its record names addresses."""
    path = tmp_path / "f"
    path.write_bytes(b"the record of the spool" + b"ab" * 10)
    content = b"".join(Body([_item(path, "1.2.3", offset=23)]).pieces(lambda _: None))
    assert b"record" not in content
    assert b"ab" * 10 in content


def test_a_deflated_stream_is_made_even(tmp_path: Path) -> None:
    """PS3.5 Annex A.5."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    body = Body([_item(path, "1.2.3", syntax=DEFLATED)], boundary="b")
    content = b"".join(body.pieces(lambda _: None))
    assert content.endswith(b"abc\0\r\n--b--\r\n")
    assert len(content) == body.length


@pytest.mark.parametrize("fault", ["gone", "short"])
def test_a_file_that_is_not_as_it_was_is_named(tmp_path: Path, fault: str) -> None:
    """So that the others of the request can go out without it."""
    whole, other = tmp_path / "whole", tmp_path / "other"
    whole.write_bytes(b"ab" * 100)
    if fault == "short":
        other.write_bytes(b"ab")
    body = Body([_item(whole, "1.2.3"), _item(other, "1.2.4", length=100)])
    with pytest.raises(NotReadable) as caught:
        list(body.pieces(lambda _: None))
    assert caught.value.number == 1
    assert isinstance(caught.value.error, FileNotFoundError if fault == "gone" else SpoolCorrupt)


def test_a_large_instance_costs_a_piece_of_memory(tmp_path: Path) -> None:
    """A hundred MiB go by, a quarter of one at a time."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    body = Body([_item(path, "1.2.3")])
    tracemalloc.start()
    try:
        assert sum(map(len, body.pieces(lambda _: None))) == body.length
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
