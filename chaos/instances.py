"""Small CT instances made up on the spot, each with a SOP Instance UID of its own."""

from __future__ import annotations

import hashlib
import itertools
import random
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.net.requestor import StoreItem

CT_IMAGE_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True, slots=True)
class Instance:
    """A file to send, and the SHA-256 of its data set."""

    item: StoreItem
    digest: str


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    padded = value + (b"\0" if vr == b"UI" else b" ") * (len(value) & 1)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    long_form = vr in {b"OW", b"OB"}
    return (
        head + (struct.pack("<HI", 0, len(padded)) if long_form else struct.pack("<H", len(padded))) + padded
    )


def encode_data_set(sop_instance_uid: str, study_uid: str, pixels: bytes, *, patient: str = "") -> bytes:
    """A data set in explicit VR little endian with what a scan looks for, and `pixels`; a patient by name where given."""
    named = (
        (
            _element(0x00080050, b"SH", f"{patient}ACC".encode()),
            _element(0x00081030, b"LO", f"{patient} STUDY".encode()),
            _element(0x00100010, b"PN", f"{patient}^NAME".encode()),
            _element(0x00100020, b"LO", f"{patient}ID".encode()),
        )
        if patient
        else ()
    )
    return b"".join(
        (
            _element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()),
            _element(0x00080018, b"UI", sop_instance_uid.encode()),
            _element(0x00080060, b"CS", b"CT"),
            *named,
            _element(0x0020000D, b"UI", study_uid.encode()),
            _element(0x0020000E, b"UI", f"{study_uid}.1".encode()),
            _element(0x7FE00010, b"OW", pixels),
        )
    )


def make_instances(
    folder: Path, seed: int, *, per_study: int = 0, size: int = 0, patient: str = ""
) -> Iterator[Instance]:
    """Instances without end, of 2 kB to 300 kB, most of them small; each file is written as it is asked for.

    Parameters
    ----------
    per_study : int
        Instances of a study, after which another begins; 0: all are of one.
    size : int
        Bytes of pixels of each, an even number; 0 for the mixture.
    patient : str
        Upper case letters that name the patient, the study and the accession number; "": none of these is there.
    """
    chance = random.Random(seed)
    root = f"2.25.{uuid.UUID(int=chance.getrandbits(128), version=4).int}"
    noise = chance.randbytes(max(300_000, size))
    for number in itertools.count(1):
        uid = f"{root}.{number}"
        study = f"{root}.0.{(number - 1) // per_study}" if per_study else root
        length = size or int(2_000 * 150 ** chance.random() ** 2) & ~1
        data_set = encode_data_set(
            uid, study, number.to_bytes(4, "little") + noise[: length - 4], patient=patient
        )
        meta = encode_file_meta(
            FileMeta(
                sop_class_uid=CT_IMAGE_STORAGE,
                sop_instance_uid=uid,
                transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            )
        )
        path = folder / f"{number}.dcm"
        path.write_bytes(meta + data_set)
        item = StoreItem(CT_IMAGE_STORAGE, uid, EXPLICIT_VR_LITTLE_ENDIAN, path, len(meta), len(data_set))
        yield Instance(item, hashlib.sha256(data_set).hexdigest())
