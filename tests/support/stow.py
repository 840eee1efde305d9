"""What the tests of storing over the web send, and what they find in the spool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool, SpoolRecord
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT

BOUNDARY = "a-b_c.7"
MULTIPART = {"content-type": f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'}
FAILED, STORED, OTHERS = "00081198", "00081199", "0008119A"


def settings_of(home: Path, **more: object) -> Settings:
    """Of a streamer on a free port of a home, with no low-water mark unless it is given."""
    sections: dict[str, object] = {"gateway": {"min_free_bytes": 0}, **more}
    sections["streamer"] = {"port": free_ports(1)[0], **(more.get("streamer") or {})}  # type: ignore[dict-item]
    return Settings.model_validate({"home": home, **sections})


def part10(
    uid: str = "1.2.3",
    *,
    sop_class: str = CT_IMAGE_STORAGE,
    syntax: str = EXPLICIT,
    data_set: bytes | None = None,
) -> bytes:
    """A file: the smallest instance of study 1.2.3.4, or any bytes that its meta says are one."""
    if data_set is None:
        data_set = ENCODERS[EXPLICIT].identity(uid)
    return (
        encode_file_meta(FileMeta(sop_class_uid=sop_class, sop_instance_uid=uid, transfer_syntax_uid=syntax))
        + data_set
    )


def body_of(files: Iterable[bytes], *, kind: str = "application/dicom", end: bytes = b"--\r\n") -> bytes:
    """A multipart body with those parts."""
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + each + b"\r\n" for each in files) + f"--{BOUNDARY}".encode() + end


def spooled(home: Path) -> dict[str, tuple[SpoolRecord, bytes]]:
    """By SOP Instance UID: what waits in the spool, and its data set; every digest is held against its bytes."""
    with Spool(home / "spool") as spool:
        found = {}
        for batch in spool.arrival_batches(1000):
            for record in batch:
                path = home / "spool" / "new" / f"{record.id}.dcm"
                content = path.read_bytes()[record.data_set_offset :]
                assert hashlib.sha256(content).hexdigest() == record.digest
                found[record.sop_instance_uid] = record, content
        return found


def begun(home: Path) -> list[Path]:
    """Files of instances that are not whole, with something in them."""
    return [path for path in (home / "spool" / "new").glob("*.part") if path.stat().st_size]


def reasons(answer: Mapping[str, Any], tag: str = FAILED) -> list[int]:
    """The failure reasons of a store response."""
    return [item["00081197"]["Value"][0] for item in answer.get(tag, {"Value": []})["Value"]]


def names(answer: Mapping[str, Any], tag: str = STORED) -> list[str]:
    """The SOP Instance UIDs of a store response."""
    return [item["00081155"]["Value"][0] for item in answer.get(tag, {"Value": []})["Value"]]
