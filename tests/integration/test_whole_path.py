"""Real files by DCMTK's storescu through a whole `dicomrelay up` to two DCMTK destinations, the archive and the streamer."""

from __future__ import annotations

import copy
import hashlib
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import AttentionKind
from dicomrelay.runtime.home import ledger_url
from tests.support.data_sets import real_files
from tests.support.house import House, Storescp, a_home, require, storescp, wait_for

pytestmark = [pytest.mark.dcmtk, pytest.mark.slow, pytest.mark.timeout(600)]

# storescp 3.6.7 refuses these with +xa, and dcmtk knows nothing of what is newer than itself.
_NOT_WITH_DCMTK = frozenset(
    {
        *(f"1.2.840.10008.1.2.4.{n}" for n in (53, 55, 57, 110, 111, 112, 201, 202, 203)),
        "1.2.840.10008.1.2.8.1",
    }
)


@dataclass(frozen=True)
class Sent:
    """What was acknowledged: one file for each SOP Instance UID, the one that came first, and how many came after."""

    first: dict[str, Path]
    others: int


def _data_set_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content[parse_file_meta(content[:HEAD_BYTES]).data_set_offset :]).hexdigest()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, list[Storescp]]]:
    """A house with two destinations, up."""
    folder = tmp_path_factory.mktemp("destinations")
    with (
        storescp("ONE", folder / "one") as one,
        storescp("TWO", folder / "two") as two,
        a_home(one.toml("one") + two.toml("two"), whole=True) as house,
    ):
        house.start()
        yield house, [one, two]
        assert house.stop() == 0


@pytest.fixture(scope="module")
def sent(relay: tuple[House, list[Storescp]], tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """All real files through dcmsend, and the end of all work awaited."""
    house, _ = relay
    paths = [path for path, row in real_files("corpus", "studies") if row["dcmtk_cstore"] == "stored"]
    first: dict[str, Path] = {}
    acknowledged = 0
    for number, start in enumerate(range(0, len(paths), 300)):
        report = tmp_path_factory.mktemp("dcmsend") / f"{number}.txt"
        for uid, path in _dcmsend(house, paths[start : start + 300], report):
            first.setdefault(uid, path)
            acknowledged += 1
    assert acknowledged > 1200
    ledger = Ledger.open(ledger_url(house.settings))

    def done() -> bool:
        studies = ledger.studies(limit=1000)
        kept = sum(study.instances for study in studies)
        return (
            kept == len(first)
            and all(study.archived == study.framed == study.instances for study in studies)
            and all(to.pending == to.failed == 0 for study in studies for to in study.destinations)
        )

    wait_for(done, timeout_s=120, what="every instance is delivered, archived and framed")
    ledger.dispose()
    return Sent(first, acknowledged - len(first))


def _dcmsend(house: House, paths: list[Path], report: Path) -> Iterator[tuple[str, Path]]:
    """SOP Instance UID and file of what the gateway answered with Success; every file that was sent must be."""
    gateway = house.settings.gateway
    argv = [require("dcmsend"), "-dn", "-nh", "+crf", str(report), "-aec", gateway.ae_title]
    subprocess.run(
        [*argv, "127.0.0.1", str(gateway.port), *map(str, paths)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    path = ""
    for line in report.read_text("utf-8").splitlines():
        key, _, value = (part.strip() for part in line.partition(" : "))
        if key == "Filename":
            path = value
        elif key == "DIMSE Status":
            if value == "0x0000 (Success)":
                yield _sop_instance_uid(Path(path)), Path(path)
            else:
                assert _is_beyond_dcmsend(Path(path)), (path, value)


def _sop_instance_uid(path: Path) -> str:
    """Of the data set: dcmsend reports the one of the file meta, which differs in a hundred of the files."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID).strip()


def _is_beyond_dcmsend(path: Path) -> bool:
    """Whether the UIDs have VR UN, which dcmsend 3.6.7 sends as the number of their first byte."""
    return pydicom.dcmread(path, stop_before_pixels=True).get_item("SOPClassUID").VR == "UN"


def test_every_instance_is_at_both_destinations_byte_for_byte(
    relay: tuple[House, list[Storescp]], sent: Sent
) -> None:
    """The data set that arrived is the data set that was forwarded."""
    ledger = Ledger.open(ledger_url(relay[0].settings))
    received = _received_digests(relay[0])
    for destination in relay[1]:
        there = Counter(_data_set_digest(path) for path in destination.files())

        assert set(there) == set(received.values())
    assert set(received) == set(sent.first)
    assert not [row for row in ledger.needs_attention() if row.kind is not AttentionKind.CONFLICT]
    ledger.dispose()


def _received_digests(house: House) -> dict[str, str]:
    """Digest of the data set as it came to us, by SOP Instance UID, from the archive's own bytes."""
    return {path.stem: _data_set_digest(path) for path in (house.home / "archive" / "data").rglob("*.dcm")}


def test_what_dcmtk_sent_bit_for_bit_is_what_the_file_held(
    relay: tuple[House, list[Storescp]], sent: Sent
) -> None:
    """Most files leave dcmsend as they are; those prove that nothing is changed from the file to the archive."""
    received = _received_digests(relay[0])
    same = sum(received[uid] == _data_set_digest(path) for uid, path in sent.first.items())

    assert same > len(sent.first) // 2, (same, len(sent.first))


def test_the_same_uid_with_other_bytes_is_set_aside_and_listed(
    relay: tuple[House, list[Storescp]], sent: Sent
) -> None:
    """Nothing is dropped: both are kept."""
    house, _ = relay
    status = house.run("status", "--json")

    assert sent.others > 0
    assert status.returncode == 1
    assert '"kind": "conflict"' in status.stdout
    assert len(list((house.home / "spool" / "aside").iterdir())) > 0


def test_every_frame_decodes_to_what_pydicom_makes_of_the_same_bytes(
    relay: tuple[House, list[Storescp]], sent: Sent
) -> None:
    """Over HTTP, for every instance with pixel data."""
    house, _ = relay
    checked = decoded = 0
    base = f"http://127.0.0.1:{house.settings.streamer.port}"
    accept = 'application/octet-stream; transfer-syntax="*"'
    with httpx.Client(base_url=base, headers={"Accept": accept}, timeout=30) as client:
        for path in sorted((house.home / "archive" / "data").rglob("*.dcm")):
            ds = pydicom.dcmread(path)
            frames = _frames(ds)
            if not frames:
                continue
            pixels = _pixels(ds)
            series, study = path.parent.name, path.parent.parent.name
            for number, expected in enumerate(frames[:20], start=1):
                url = f"/studies/{study}/series/{series}/instances/{path.stem}/frames/{number}"
                answer = client.get(url)
                assert answer.status_code == 200, (url, answer.text)
                # pytest would take minutes to tell how large ones differ.
                is_same = _without_padding(answer.content) == _without_padding(expected)
                assert is_same, (url, path)
                checked += 1
                if pixels is not None:
                    one = pixels[number - 1] if len(frames) > 1 else pixels
                    assert np.array_equal(_pixels(_only_frame(ds, answer.content)), one), (url, path)
                    decoded += 1
    assert checked > 200
    assert decoded > 100


def _frames(ds: pydicom.Dataset) -> list[bytes]:
    """The frames of a stored file as pydicom finds them; none when it has none that stand alone on whole bytes."""
    syntax = transfer_syntax(str(ds.file_meta.TransferSyntaxUID))
    if "PixelData" not in ds or "Rows" not in ds or syntax.is_video:
        return []
    count = int(ds.get("NumberOfFrames") or 1)
    if syntax.is_encapsulated:
        return list(generate_frames(ds.PixelData, number_of_frames=count))
    bits = int(ds.Rows) * int(ds.Columns) * int(ds.SamplesPerPixel) * int(ds.BitsAllocated)
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits * 2 // 3
    size = bits // 8
    whole = [ds.PixelData[start : start + size] for start in range(0, size * count, size)]
    return whole if bits % 8 == 0 and all(len(frame) == size for frame in whole) else []


def _pixels(ds: pydicom.Dataset) -> np.ndarray | None:
    """pydicom's decode; None where it has no decoder for it, or the file is one that it cannot decode."""
    try:
        return ds.pixel_array
    except Exception:
        return None


def _only_frame(ds: pydicom.Dataset, frame: bytes) -> pydicom.Dataset:
    """The same instance with one frame: the bytes that the streamer gave."""
    alone = copy.deepcopy(ds)
    alone.NumberOfFrames = 1
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in alone:
            delattr(alone, keyword)
    encapsulated = transfer_syntax(str(ds.file_meta.TransferSyntaxUID)).is_encapsulated
    alone["PixelData"].value = encapsulate([frame]) if encapsulated else frame
    return alone


def _without_padding(frame: bytes) -> bytes:
    """An encapsulated frame may end in one NUL that makes it even (PS3.5 Annex A.4)."""
    return frame[:-1] if frame.endswith(b"\0") else frame
