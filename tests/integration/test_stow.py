"""STOW-RS over HTTP: real files into a real spool, and requests that mean harm or are cut short."""

from __future__ import annotations

import io
import itertools
import json
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.ledger.evidence_chain import FactKind
from dicomrelay.ledger.values import Verdict
from dicomrelay.spool import Spool
from tests.support.archive import is_storable, pydicom_file, pydicom_files, shared_files
from tests.support.data_sets import DEFLATED, ENCODERS, EXPLICIT
from tests.support.processes import until
from tests.support.rooms import rooms_at
from tests.support.stow import (
    BOUNDARY,
    FAILED,
    MULTIPART,
    OTHERS,
    begun,
    body_of,
    names,
    part10,
    reasons,
    settings_of,
    spooled,
)
from tests.support.streamer import serving
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch

MIB = 1024 * 1024


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(tmp_path), stores=True) as client:
        yield client


def test_real_files_are_in_the_spool_as_they_are(tmp_path: Path) -> None:
    """Every file of the corpus: the data set byte for byte, and an answer that names each."""
    sent = {}
    for path in (*pydicom_files(), *shared_files()[::4]):
        if is_storable(path) and is_tolerable_uid(
            uid := str(dcmread(path, force=True, stop_before_pixels=True).get("SOPInstanceUID", ""))
        ):
            sent.setdefault(uid, path)
    woken = threading.Semaphore(0)
    ended: list[str] = []
    with serving(settings_of(tmp_path), stores=True, wake=woken.release, ended=ended.extend) as client:
        answer = client.post(
            "/studies", headers=MULTIPART, content=body_of(path.read_bytes() for path in sent.values())
        )
        until(lambda: bool(ended), seconds=10, what="the end of the request is told")

    found, told = spooled(tmp_path), answer.json()
    assert answer.status_code in {200, 202}
    assert set(names(told)) == set(found)
    assert set(names(told)) | set(names(told, FAILED)) == set(sent)
    assert len(found) > 0.9 * len(sent) > 50
    for uid, (record, data_set) in found.items():
        content = sent[uid].read_bytes()
        meta = parse_file_meta(content[:HEAD_BYTES])
        expected = content[meta.data_set_offset :]
        assert data_set == expected + b"\0" * (len(expected) % 2)
        assert record.transfer_syntax_uid == meta.transfer_syntax_uid
        origin = record.provenance
        assert (origin.protocol, origin.calling_ae_title, origin.peer_address) == (
            "STOW-RS",
            "STOW-RS",
            "127.0.0.1",
        )
        assert origin.association_id in ended


def test_dicomweb_client_stores(tmp_path: Path, client: httpx.Client) -> None:
    """A client of others, and an answer that pydicom reads."""
    data_sets = [dcmread(pydicom_file(name)) for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm")]

    answer = DICOMwebClient(str(client.base_url)).store_instances(data_sets)

    stored = {item.ReferencedSOPInstanceUID: item.RetrieveURL for item in answer.ReferencedSOPSequence}
    assert set(stored) == {each.SOPInstanceUID for each in data_sets} == set(spooled(tmp_path))
    assert all(url.endswith(f"/instances/{uid}") for uid, url in stored.items())


def test_what_was_stored_is_served_and_in_the_evidence(tmp_path: Path) -> None:
    """Through ledger and archive: found, fetched byte for byte, and the chain says how it came and who brought it."""
    content = pydicom_file("CT_small.dcm").read_bytes()
    token = "0123456789abcdef"
    with rooms_at(tmp_path) as (rooms, _):
        with serving(settings_of(tmp_path, streamer={"access": {"token": token}}), stores=True) as client:
            client.headers["authorization"] = f"Bearer {token}"
            answer = client.post("/studies", headers={"content-type": "application/dicom"}, content=content)
            assert answer.status_code == 200
            assert group_arrivals(rooms).verdicts == {Verdict.NEW: 1}
            assert archive_batch(rooms) == 1
            assert frames_batch(rooms) == 1

            [item] = answer.json()["00081199"]["Value"]
            url = item["00081190"]["Value"][0]
            fetched = client.get(url, headers={"accept": "application/dicom"})
            [listed] = client.get("/studies").json()
        [study] = listed["0020000D"]["Value"]
        [head] = rooms.ledger.evidence.heads([study])
        rows = [row for row in rooms.ledger.evidence.rows(head) if row.kind == FactKind.RECEIVED]

    assert (
        fetched.content[parse_file_meta(fetched.content).data_set_offset :]
        == content[parse_file_meta(content).data_set_offset :]
    )
    [detail] = [json.loads(row.body)["detail"] for row in rows]
    assert (detail["protocol"], detail["user"]) == ("STOW-RS", "token")
    assert detail["association_id"].startswith("stow-")


def test_two_hundred_mib_cost_no_memory(tmp_path: Path, client: httpx.Client) -> None:
    """An instance flows into the spool as it comes."""
    size = 200 * MIB
    pixels = ENCODERS[EXPLICIT].element(0x7FE00010, b"OW", b"", length=size)
    begin = body_of([], end=b"")[: -len(BOUNDARY) - 2]
    head = begin + f"--{BOUNDARY}\r\n\r\n".encode() + part10(data_set=ENCODERS[EXPLICIT].identity() + pixels)

    def pieces() -> Iterator[bytes]:
        yield head
        yield from itertools.repeat(b"\r\n--a-b_" * (MIB // 8), size // MIB)
        yield f"\r\n--{BOUNDARY}--".encode()

    client.post("/studies", headers=MULTIPART, content=body_of([part10("1.2.9")]))  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    answer = client.post("/studies", headers=MULTIPART, content=pieces())
    grown = resident_bytes("VmHWM") - before

    assert answer.status_code == 200
    assert grown < 16 * MIB
    with Spool(tmp_path / "spool") as spool:
        assert max(record.data_set_bytes for record in spool.arrivals(9)) > size


def resident_bytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_a_result_for_each_instance(tmp_path: Path, client: httpx.Client) -> None:
    """Some are stored, and for each other one there is the reason: 202."""
    explicit = ENCODERS[EXPLICIT]
    wrong = {
        "1.2.10": (part10("1.2.10", sop_class="1.2.840.10008.1.1", data_set=b""), 0x0122),
        "1.2.11": (part10("1.2.11", syntax="1.2.3.4.5.6"), 0xC122),
        "1.2.12": (
            part10(
                "1.2.12",
                data_set=explicit.identity("1.2.12") + explicit.element(0x7FE00010, b"OW", b"ab", length=99),
            ),
            0xC000,
        ),
        "1.2.13": (part10("1.2.13", data_set=explicit.identity("1.2.13") + b"\0"), 0xC000),
        "1.2.14": (part10("1.2.14", data_set=explicit.element(0x00080005, b"CS", b"ISO_IR 100")), 0xC000),
    }
    far = explicit.element(0x00080005, b"CS", b" " * 60_000) + explicit.element(
        0x00080006, b"UT", b" " * 9000
    )
    wrong["1.2.15"] = part10("1.2.15", data_set=far + explicit.identity("1.2.99")), 0xA900
    others = [b"", b"no DICOM at all", part10("", data_set=b"")]

    answer = client.post(
        "/studies",
        headers=MULTIPART,
        content=body_of([part10("1.2.1"), *(file for file, _ in wrong.values()), *others, part10("1.2.2")]),
    )

    told = answer.json()
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/dicom+json"
    assert names(told) == ["1.2.1", "1.2.2"]
    assert dict(zip(names(told, FAILED), reasons(told), strict=True)) == {
        uid: reason for uid, (_, reason) in wrong.items()
    }
    assert reasons(told, OTHERS) == [0xC000, 0xC000, 0x0117]
    assert set(spooled(tmp_path)) == {"1.2.1", "1.2.2"}
    assert not begun(tmp_path)
    Dataset.from_json(told)


def test_the_study_of_the_address_is_the_only_one(tmp_path: Path, client: httpx.Client) -> None:
    """An instance of another study is refused, and alone it is a conflict."""
    right = client.post("/studies/1.2.3.4", headers=MULTIPART, content=body_of([part10("1.2.1")]))
    wrong = client.post("/studies/1.2.3.5", headers=MULTIPART, content=body_of([part10("1.2.2")]))

    assert right.status_code == 200
    assert right.json()["00081190"]["Value"] == [str(client.base_url.join("/studies/1.2.3.4"))]
    assert (wrong.status_code, reasons(wrong.json())) == (409, [0xC409])
    assert set(spooled(tmp_path)) == {"1.2.1"}
    assert client.post("/studies/no-uid", headers=MULTIPART, content=b"").status_code in {400, 404}


def test_a_deflated_data_set_of_odd_length_gets_its_nul(tmp_path: Path, client: httpx.Client) -> None:
    """PS3.5 Annex A.5."""
    for length in range(40):
        deflate = zlib.compressobj(wbits=-15)
        data_set = ENCODERS[EXPLICIT].identity("1.2.1") + ENCODERS[EXPLICIT].element(
            0x0020_4000, b"LT", b"x" * length
        )
        deflated = deflate.compress(data_set) + deflate.flush()
        if len(deflated) % 2:
            break
    answer = client.post(
        "/studies", headers=MULTIPART, content=body_of([part10("1.2.1", syntax=DEFLATED, data_set=deflated)])
    )

    assert answer.status_code == 200
    assert spooled(tmp_path)["1.2.1"][1] == deflated + b"\0"


def test_the_same_instance_twice_is_a_success(tmp_path: Path) -> None:
    """As at the gateway: the ledger knows it by its digest."""
    with rooms_at(tmp_path) as (rooms, _), serving(settings_of(tmp_path), stores=True) as client:
        for _ in range(2):
            answer = client.post("/studies", headers=MULTIPART, content=body_of([part10()]))
            assert (answer.status_code, names(answer.json())) == (200, ["1.2.3"])
        verdicts = group_arrivals(rooms).verdicts
        assert archive_batch(rooms) == 1

    assert verdicts == {Verdict.NEW: 1, Verdict.DUPLICATE: 1}


def test_small_instances_come_as_json(tmp_path: Path, client: httpx.Client) -> None:
    """DICOM JSON, bare and multipart: the same data set in UTF-8; one whose values stand elsewhere is refused by itself."""
    report = dcmread(pydicom_file("reportsi.dcm"))
    report.PatientName = "Müller^Ägidius"
    model = report.to_json_dict()
    elsewhere = {
        **model,
        "00080018": {"vr": "UI", "Value": ["1.2.77"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "x"},
    }
    kind = "application/dicom+json"

    bare = client.post("/studies", headers={"content-type": kind}, content=json.dumps(model))
    both = client.post(
        "/studies",
        headers={"content-type": f'multipart/related; type="{kind}"; boundary={BOUNDARY}'},
        content=body_of([json.dumps([model, elsewhere]).encode()], kind=kind),
    )

    assert (bare.status_code, names(bare.json())) == (200, [report.SOPInstanceUID])
    assert (both.status_code, names(both.json())) == (202, [report.SOPInstanceUID])
    assert names(both.json(), FAILED) == ["1.2.77"]
    record, data_set = spooled(tmp_path)[report.SOPInstanceUID]
    assert record.transfer_syntax_uid == EXPLICIT
    found = dcmread(io.BytesIO(data_set), force=True)
    assert found.PatientName == "Müller^Ägidius"
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.ContentSequence == report.ContentSequence


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "x",
        "[1]",
        '{"1": {"vr": "UI"}}',
        '{"00080018": 1}',
        '{"00100010": {"vr": "PN", "Value": [7]}}',
        "[" * 50_000,
        '{"00081140": {"vr": "SQ", "Value": [' * 60 + "{}" + "]}}" * 60,
    ],
)
def test_json_that_is_no_instance_is_refused(tmp_path: Path, client: httpx.Client, text: str) -> None:
    """400, in words."""
    answer = client.post("/studies", headers={"content-type": "application/dicom+json"}, content=text)

    assert answer.status_code == 400
    assert reasons(answer.json(), OTHERS) == [0xC000]
    assert not spooled(tmp_path)


def test_several_processes_store_into_one_spool(tmp_path: Path) -> None:
    """Each is a writer of its own."""
    with serving(settings_of(tmp_path, streamer={"processes": 2}), stores=True) as client:
        for number in range(20):
            # A new connection each time: any of the processes takes it.
            answer = httpx.post(
                client.base_url.join("/studies"),
                headers=MULTIPART,
                content=body_of([part10(f"1.2.{number}")]),
            )
            assert answer.status_code == 200
        writers = {path.name for path in (tmp_path / "spool" / "writers").iterdir()}

    assert len(spooled(tmp_path)) == 20
    assert 1 <= len(writers) <= 2
