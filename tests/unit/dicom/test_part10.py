"""File meta: ours is by the book, other people's is read as it is."""

from __future__ import annotations

import io
import struct
import warnings

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from dicomrelay.dicom.part10 import FileMeta, describe, encode_file_meta, parse_file_meta
from dicomrelay.dicom.uids import IMPLEMENTATION_CLASS_UID
from dicomrelay.errors import MalformedDataSet, NotDicom
from tests.support.data_sets import BIG_ENDIAN, CT_IMAGE_STORAGE, ENCODERS, EXPLICIT, IMPLICIT

LE = ENCODERS[EXPLICIT]
META = FileMeta(
    sop_class_uid=CT_IMAGE_STORAGE,
    sop_instance_uid="1.2.3",
    transfer_syntax_uid=EXPLICIT,
    source_ae_title="MODALITY",
    sending_ae_title="SENDER",
    receiving_ae_title="US",
    private_information_creator_uid="1.2.999",
    private_information=b"odd",
)


def test_what_we_write_is_read_by_pydicom() -> None:
    """An independent reader finds every element, and a group length that is right (PS3.10 Section 7.1)."""
    data = encode_file_meta(META) + LE.identity()
    read = pydicom.dcmread(io.BytesIO(data))
    meta = read.file_meta
    assert data[:128] == bytes(128)
    assert (meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == ("1.2.3", EXPLICIT)
    assert (meta.SourceApplicationEntityTitle, meta.SendingApplicationEntityTitle) == ("MODALITY", "SENDER")
    assert (meta.ReceivingApplicationEntityTitle, meta.ImplementationClassUID) == (
        "US",
        IMPLEMENTATION_CLASS_UID,
    )
    assert (meta.PrivateInformationCreatorUID, meta.PrivateInformation) == ("1.2.999", b"odd\0")
    assert meta.FileMetaInformationGroupLength == len(encode_file_meta(META)) - 144
    assert read.SOPInstanceUID == "1.2.3"


def test_what_we_write_we_read() -> None:
    """All but the identification, which is always ours, and the padding."""
    encoded = encode_file_meta(META)
    found = parse_file_meta(encoded + LE.identity())
    assert found.data_set_offset == len(encoded)
    assert (found.sending_ae_title, found.private_information) == ("SENDER", b"odd\0")
    assert "private_information" not in describe(found)


@pytest.mark.parametrize("length", [0, 5, 0xFFFF, 0xFFFFFFFF])
def test_a_wrong_group_length_does_not_matter(length: int) -> None:
    """The meta ends where group 0002 ends."""
    good = encode_file_meta(META)
    bad = good[:140] + struct.pack("<I", length) + good[144:] + LE.identity()
    assert parse_file_meta(bad) == parse_file_meta(good + LE.identity())


def test_a_missing_group_length_or_preamble_does_not_matter() -> None:
    """Files without a preamble exist, with and without the prefix."""
    good = encode_file_meta(META) + LE.identity()
    for cut in (good[:132] + good[144:], good[128:], good[132:], good[144:]):
        found = parse_file_meta(cut)
        assert (found.sop_instance_uid, found.transfer_syntax_uid) == ("1.2.3", EXPLICIT)
        assert cut[found.data_set_offset :] == LE.identity()


def test_meta_in_implicit_vr_is_read() -> None:
    """Against PS3.10 Section 7.1, and met in the wild."""
    implicit = ENCODERS[IMPLICIT]
    meta = implicit.element(0x00020010, b"", IMPLICIT.encode() + b"\0")
    data = bytes(128) + b"DICM" + meta + implicit.identity()
    assert parse_file_meta(data).transfer_syntax_uid == IMPLICIT
    assert parse_file_meta(data).data_set_offset == 132 + len(meta)


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_a_data_set_alone_is_taken_and_its_syntax_guessed(transfer_syntax: str) -> None:
    """No preamble, no meta."""
    data = ENCODERS[transfer_syntax].identity()
    assert parse_file_meta(data) == FileMeta(transfer_syntax_uid=transfer_syntax)
    behind_prefix = parse_file_meta(bytes(128) + b"DICM" + data)
    assert behind_prefix == FileMeta(transfer_syntax_uid=transfer_syntax, data_set_offset=132)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"D",
        b"PK\3\4" + bytes(500),
        b"%PDF-1.7" + b"x" * 500,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"\x1f\x8b\x08\0" + b"\x12" * 500,
        b'{"00080018": {"vr": "UI"}}' * 20,
        bytes(1000),
        b"\xff" * 1000,
        b"\x08\0\0\0 is a number of something",
    ],
)
def test_what_is_not_dicom_is_told_so(data: bytes) -> None:
    """Not a fault: a folder holds other files too."""
    with pytest.raises(NotDicom):
        parse_file_meta(data)


def test_damaged_meta_is_malformed_and_names_the_element() -> None:
    """It is DICOM, so it must not be passed over as something else."""
    good = encode_file_meta(META)
    with pytest.raises(MalformedDataSet, match=r"\(0002,0002\) at byte \d+ goes beyond the 170 bytes"):
        parse_file_meta(good[:170])
    with pytest.raises(MalformedDataSet, match="ends after its prefix"):
        parse_file_meta(bytes(128) + b"DICM")
    long = bytes(128) + b"DICM" + LE.element(0x00020003, b"UI", b"1." * 200)
    with pytest.raises(MalformedDataSet, match=r"sop_instance_uid \(0002,0003\) has 400 bytes"):
        parse_file_meta(long)


def test_a_dicomdir_is_known_by_its_class() -> None:
    """Media Storage Directory Storage: nothing to send."""
    assert parse_file_meta(encode_file_meta(FileMeta(sop_class_uid="1.2.840.10008.1.3.10"))).is_directory
    assert not parse_file_meta(encode_file_meta(META)).is_directory


def test_pydicom_writes_meta_that_we_read() -> None:
    """A round trip through somebody else's writer."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT_IMAGE_STORAGE, "1.2.3.4"
    meta.TransferSyntaxUID, meta.ImplementationClassUID = EXPLICIT, "1.2.3"
    file = DicomBytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.filewriter.write_file_meta_info(file, meta)
    found = parse_file_meta(bytes(128) + b"DICM" + file.getvalue())
    assert (found.sop_instance_uid, found.data_set_offset) == ("1.2.3.4", 132 + len(file.getvalue()))
