"""WADO-RS, WADO-URI and the door of a running streamer, by dicomweb-client, pydicom and plain requests."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session, create_session_from_user_pass
from pydicom import Dataset, Sequence, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array

from archive import Archive, StoreOutcome, StoreRequest
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.settings import StreamerAccessSettings
from tests.support.archive import pydicom_file, pydicom_files, request_for
from tests.support.evil_strings import EVIL
from tests.support.streamer import parts, running_streamer

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
OCTETS = {"accept": "application/octet-stream"}
BARE = {"accept": 'application/octet-stream; transfer-syntax="*"'}
TOKEN = "0123456789abcdef-of-a-test"
# What pydicom has no decoder for here, or what no decoder takes.
NOT_COMPARED = {"JPEG-lossy.dcm", "JPGExtended.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}


def url(request: StoreRequest) -> str:
    return (
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
        f"/instances/{request.sop_instance_uid}"
    )


def kept(home: Path, paths: list[Path]) -> list[StoreRequest]:
    """Files, each under a UID of its own."""
    requests = [
        dataclasses.replace(request_for(path), sop_instance_uid=derived_uid("test", path.name))
        for path in paths
    ]
    with closing(Archive.open(home / "archive")) as archive:
        results = archive.store(requests)
    assert {result.outcome for result in results} == {StoreOutcome.STORED}
    return requests


def large_values(path: Path, transfer_syntax_uid: str) -> Dataset:
    """A data set with long values at the top and inside a sequence, that is itself longer than what stays on the disk."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66", "1.9.7.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.9.7", "1.9.7.0", "OT"
    ds.PatientName, ds.PatientID = "Müller^Jörg", "7"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.VectorGridData = np.arange(50_000, dtype="<f4").tobytes()
    ds.TextValue = "t" * 70_000
    item = Dataset()
    item.SelectorOWValue = np.arange(40_000, dtype="<u2").tobytes()
    item.SelectorLOValue = "short"
    ds.RTROIObservationsSequence = Sequence([Dataset(), item])
    if transfer_syntax_uid == BIG:
        ds.VectorGridData = np.arange(50_000, dtype=">f4").tobytes()
        item.SelectorOWValue = np.arange(40_000, dtype=">u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, "1.9.7.1"
    ds.save_as(path, enforce_file_format=True)
    return ds


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def requests(home: Path) -> list[StoreRequest]:
    names = {"MR_truncated.dcm", "no_meta_group_length.dcm"}
    return kept(home, [path for path in pydicom_files() if path.name not in names])


@pytest.fixture(scope="module")
def client(home: Path, requests: list[StoreRequest]) -> Iterator[httpx.Client]:
    with running_streamer(home) as client:
        yield client


@pytest.fixture(scope="module")
def dicomweb(client: httpx.Client) -> DICOMwebClient:
    return DICOMwebClient(str(client.base_url).rstrip("/"))


def named(requests: list[StoreRequest], name: str) -> StoreRequest:
    return next(request for request in requests if request.source.name == name)


def uids(request: StoreRequest) -> tuple[str, str, str]:
    return request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid


def is_compressed(request: StoreRequest) -> bool:
    return request.transfer_syntax_uid not in {EXPLICIT, IMPLICIT, BIG, "1.2.840.10008.1.2.1.99"}


def test_dicomweb_client_gets_what_was_stored(dicomweb: DICOMwebClient, requests: list[StoreRequest]) -> None:
    """Instance, series, study, metadata, frames and bulk data, by a client that others wrote."""
    ct, mr = named(requests, "CT_small.dcm"), named(requests, "MR_small_RLE.dcm")
    study, series, instance = uids(ct)
    expected = dcmread(ct.source)

    whole = dicomweb.retrieve_instance(study, series, instance, media_types=(("application/dicom", "*"),))
    metadata = dicomweb.retrieve_instance_metadata(study, series, instance)
    [frame] = dicomweb.retrieve_instance_frames(study, series, instance, [1])
    [pixels] = dicomweb.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])

    assert whole.PixelData == frame == pixels == expected.PixelData
    assert whole.PatientName == expected.PatientName
    assert len(dicomweb.retrieve_study(study)) == len(dicomweb.retrieve_study_metadata(study))
    assert dicomweb.retrieve_instance_metadata(*uids(mr))["00083002"]["Value"] == [mr.transfer_syntax_uid]
    rle = dicomweb.retrieve_instance_frames(
        *uids(mr), [1], media_types=(("image/dicom-rle", "1.2.840.10008.1.2.5"),)
    )
    assert rle == list(generate_frames(dcmread(mr.source).PixelData, number_of_frames=1))


def test_frames_come_decoded_as_pydicom_decodes_them(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """An octet stream without a transfer syntax is Explicit VR Little Endian (PS3.18 Section 8.7.3.3.2), whatever is stored."""
    syntaxes = set()
    for request in requests:
        ds = dcmread(request.source, force=True)
        if not is_compressed(request) or request.source.name in NOT_COMPARED or "PixelData" not in ds:
            continue
        try:
            expected = pixel_array(ds, raw=True)
        except RuntimeError:
            continue  # none of the decoders that pydicom has here
        if ds.get("NumberOfFrames", 1) == 1:
            expected = expected[np.newaxis]
        last = len(expected)
        listed = f"1,{last}"
        bare = client.get(f"{url(request)}/frames/{last}", headers=OCTETS)
        several = client.get(
            f"{url(request)}/frames/{listed}",
            headers={
                "accept": f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT}'
            },
        )
        assert bare.headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"
        assert bare.headers["accept-ranges"] == "none"
        assert bare.content == expected[-1].tobytes(), request.source
        assert [frame for _, frame in parts(several)] == [expected[0].tobytes(), expected[-1].tobytes()]
        syntaxes.add(request.transfer_syntax_uid)
    assert len(syntaxes) >= 6


def test_what_cannot_be_decoded_is_406_and_there_as_it_is(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """A frame whose codestream contradicts the data set costs no memory by its claim."""
    path = f"{url(named(requests, 'JPEG2000-embedded-sequence-delimiter.dcm'))}/frames/1"

    refused = client.get(path, headers=OCTETS)

    assert (refused.status_code, refused.headers["content-type"]) == (406, "application/problem+json")
    assert "the data set says" in refused.json()["detail"]
    assert client.get(path, headers=BARE).status_code == 200


def test_instances_come_in_another_transfer_syntax(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """By Accept, in a study too, and by WADO-URI; what cannot be is 406 with what there is."""
    request = named(requests, "MR_small_RLE.dcm")
    expected = pixel_array(dcmread(request.source))
    accept = f"application/dicom; transfer-syntax={EXPLICIT}"

    bare = client.get(url(request), headers={"accept": accept})
    [(kind, part)] = parts(
        client.get(
            url(request),
            headers={"accept": f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}'},
        )
    )
    by_uri = client.get(
        wado(request).copy_merge_params({"contentType": "application/dicom", "transferSyntax": EXPLICIT})
    )
    never = client.get(
        url(request), headers={"accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.70"}
    )

    assert [bare.status_code, by_uri.status_code] == [200, 200], by_uri.text
    for content in (bare.content, part, by_uri.content):
        ds = dcmread(io.BytesIO(content))
        assert ds.file_meta.TransferSyntaxUID == EXPLICIT
        assert np.array_equal(ds.pixel_array, expected)
    assert kind == bare.headers["content-type"] == accept
    assert (never.status_code, EXPLICIT in never.json()["detail"]) == (406, True)


def wado(request: StoreRequest) -> httpx.URL:
    study, series, instance = uids(request)
    return httpx.URL(
        "/wado",
        params={"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance},
    )


def test_wado_uri_sends_the_instance(client: httpx.Client, requests: list[StoreRequest]) -> None:
    """The same bytes as WADO-RS, with the same ETag."""
    request = named(requests, "CT_small.dcm")

    by_uri = client.get(wado(request).copy_merge_params({"contentType": "application/dicom"}))
    by_rs = client.get(url(request), headers={"accept": "application/dicom"})

    assert by_uri.content == by_rs.content
    assert by_uri.headers["etag"] == by_rs.headers["etag"]


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ("", 400, "requestType=WADO"),
        ("requestType=WADO", 400, "studyUID is needed"),
        ("requestType=WADO&studyUID=1&seriesUID=1", 400, "objectUID is needed"),
        ("requestType=WADO&studyUID=1&seriesUID=1&objectUID=1", 404, "no instance 1"),
        ("requestType=WADO&studyUID=1&seriesUID=1&objectUID=../1", 400, "no UID"),
        ("requestType=WADO&studyUID=1&studyUID=1", 400, "twice"),
        ("requestType=WADO&anonymize=yes", 400, "anonymize"),
        ("requestType=WADO&annotation=patient", 400, "annotation"),
        ("requestType=WADO&nonsense=1", 400, "nonsense"),
        ("requestType=WADO&studyUID=1&seriesUID=1&objectUID=1&windowWidth=1", 400, "windowCenter"),
    ],
)
def test_a_wado_uri_that_makes_no_sense_is_refused(
    client: httpx.Client, given: str, status: int, words: str
) -> None:
    """In words that name the parameter."""
    answer = client.get(f"/wado?{given}")

    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


def test_a_zip_file_holds_the_instances(client: httpx.Client, requests: list[StoreRequest]) -> None:
    """Of an instance, a series, a study; by Accept and by the URL; its length is announced, and the names are UIDs."""
    ct = named(requests, "CT_small.dcm")
    paths = (
        url(ct),
        f"/studies/{ct.study_instance_uid}/series/{ct.series_instance_uid}",
        f"/studies/{ct.study_instance_uid}",
    )
    for path in paths:
        by_field = client.get(path, headers={"accept": "application/zip"})
        by_url = client.get(f"{path}?accept=application/zip")
        length = client.head(path, headers={"accept": "application/zip"}).headers["content-length"]
        assert by_field.content == by_url.content
        assert int(length) == len(by_field.content) == int(by_field.headers["content-length"])
        assert by_field.headers["content-disposition"].endswith('.zip"')
        with zipfile.ZipFile(io.BytesIO(by_field.content)) as found:
            assert found.testzip() is None
            assert f"{'/'.join(uids(ct))}.dcm" in found.namelist()
    with zipfile.ZipFile(
        io.BytesIO(client.get(url(ct), headers={"accept": "application/zip"}).content)
    ) as found:
        whole = client.get(url(ct), headers={"accept": "application/dicom"}).content
        assert [found.read(name) for name in found.namelist()] == [whole]


@pytest.mark.parametrize("what", ["frame", "instance", "value"])
def test_parts_put_together_are_the_whole(
    client: httpx.Client, requests: list[StoreRequest], what: str
) -> None:
    """Any range of a frame, an instance and a value, with the ETag that lets a download go on."""
    request = named(requests, "CT_small.dcm")
    path, headers = {
        "frame": (f"{url(request)}/frames/1", BARE),
        "instance": (url(request), {"accept": "application/dicom"}),
        "value": (f"{url(request)}/bulkdata/7fe00010", OCTETS),
    }[what]
    whole = client.get(path, headers=headers)
    size, etag = len(whole.content), whole.headers["etag"]
    joined = b""
    for start in range(0, size, 7000):
        part = client.get(
            path, headers={**headers, "range": f"bytes={start}-{start + 6999}", "if-range": etag}
        )
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {start}-{min(size, start + 7000) - 1}/{size}"
        joined += part.content
    last = client.get(path, headers={**headers, "range": "bytes=-10"})
    behind = client.get(path, headers={**headers, "range": f"bytes={size}-"})
    changed = client.get(path, headers={**headers, "range": "bytes=0-9", "if-range": '"other"'})
    malformed = client.get(path, headers={**headers, "range": "bytes=9-1"})

    assert joined == whole.content
    assert last.content == whole.content[-10:]
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{size}")
    assert (changed.status_code, len(changed.content)) == (200, size)
    assert malformed.status_code == 400
    assert whole.headers["accept-ranges"] == "bytes"


def test_a_range_crosses_the_fragments_of_a_frame(client: httpx.Client, requests: list[StoreRequest]) -> None:
    """As if they were one piece."""
    for request in requests:
        path = f"{url(request)}/frames/1"
        whole = client.get(path, headers=BARE)
        if whole.headers.get("accept-ranges") != "bytes" or len(whole.content) < 100:
            continue
        size = len(whole.content)
        part = client.get(path, headers={**BARE, "range": f"bytes={size // 3}-{size - 20}"})
        assert (part.status_code, part.content) == (206, whole.content[size // 3 : size - 19]), request.source


@pytest.mark.parametrize("form", ["/frames/1", "/frames/1,1", "", "/metadata", "/bulkdata/7FE00010"])
def test_what_a_client_has_is_not_sent_again(
    client: httpx.Client, requests: list[StoreRequest], form: str
) -> None:
    """304 with the same ETag and nothing else; another ETag is answered in full."""
    path = url(named(requests, "CT_small.dcm")) + form
    etag = client.get(path).headers["etag"]

    again = client.get(path, headers={"if-none-match": f'"x", {etag}'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert again.headers["cache-control"] == "private, no-cache"
    assert client.get(path, headers={"if-none-match": '"x"'}).status_code == 200


def test_json_goes_with_gzip_to_those_who_take_it(client: httpx.Client, requests: list[StoreRequest]) -> None:
    """Frames and instances never; the words are the same."""
    path = url(named(requests, "CT_small.dcm"))
    plain = client.get(f"{path}/metadata", headers={"accept-encoding": "identity"})
    packed = client.get(f"{path}/metadata", headers={"accept-encoding": "br, gzip;q=0.5"})

    assert "content-encoding" not in plain.headers
    assert (packed.headers["content-encoding"], packed.json()) == ("gzip", plain.json())
    assert packed.headers["etag"] == plain.headers["etag"]
    assert (
        "content-encoding"
        not in client.get(f"{path}/metadata", headers={"accept-encoding": "gzip;q=0"}).headers
    )
    for binary in (f"{path}/frames/1", path):
        assert "content-encoding" not in client.get(binary, headers={"accept-encoding": "gzip"}).headers


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, "1.2.840.10008.1.2.1.99"])
def test_large_values_have_addresses_that_hold_them(tmp_path: Path, syntax: str) -> None:
    """At the top and in sequences, longer than what is read, little endian whatever is stored."""
    large_values(tmp_path / "large.dcm", syntax)
    with closing(Archive.open(tmp_path / "archive")) as archive:
        request = request_for(tmp_path / "large.dcm")
        archive.store([request])
    with running_streamer(tmp_path) as client:
        [found] = client.get(f"{url(request)}/metadata").json()
        grid = client.get(found["00640009"]["BulkDataURI"], headers=OCTETS)
        inside = found["30060080"]["Value"][1]["00720069"]
        value = client.get(inside["BulkDataURI"], headers=OCTETS)
        text = client.get(found["0040A160"]["BulkDataURI"], headers=OCTETS)
        missing = [
            client.get(f"{url(request)}/bulkdata/{address}").status_code
            for address in (
                "7FE00010",
                "00100010/1/00100010",
                "30060080",
                "30060080/3/00720069",
                "30060080/1/00720069",
            )
        ]
        nonsense = [
            client.get(f"{url(request)}/bulkdata/{address}").status_code
            for address in ("x", "0064000", "00640009/0/00640009", "00640009/1", "0064%30009/")
        ]

    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    assert grid.content == np.arange(50_000, dtype="<f4").tobytes()
    assert value.content == np.arange(40_000, dtype="<u2").tobytes()
    assert text.content == b"t" * 70_000
    assert missing == [404] * 5
    assert set(nonsense) <= {400, 404}


def test_a_value_that_ends_before_its_length_is_an_answer_in_words(tmp_path: Path) -> None:
    """Nothing is announced, or set aside in memory, by a length that the file does not have."""
    [request] = kept(tmp_path, [pydicom_file("MR_truncated.dcm")])
    with running_streamer(tmp_path) as client:
        answer = client.get(f"{url(request)}/bulkdata/7FE00010", headers=OCTETS)
        metadata = client.get(f"{url(request)}/metadata")

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "7FE00010" in metadata.json()[0]


def test_evil_addresses_get_an_answer_in_words(
    client: httpx.Client, requests: list[StoreRequest], home: Path
) -> None:
    """In the place of a tag, of parameters and of fields: 4xx as a problem document, or passed over; nothing is made."""
    path = url(named(requests, "CT_small.dcm"))
    before = sum(1 for _ in home.rglob("*"))
    for text in EVIL:
        evil = quote(text.encode("utf-8", "surrogatepass"), safe="")
        refused = [
            client.get(f"/wado?requestType=WADO&studyUID=1&seriesUID=1&objectUID={evil}"),
            client.get(f"/wado?{evil}={evil}"),
        ]
        if text not in {".", ".."}:  # httpx takes these out before they are sent
            refused.append(client.get(f"{path}/bulkdata/{evil}"))
        for answer in refused:
            assert 400 <= answer.status_code < 500, (text, answer.status_code)
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.get(f"{path}?accept={evil}").status_code in {200, 400, 406}
        field = text.encode("utf-8", "replace").translate(None, bytes(range(32)) + b"\x7f").strip()
        for name in ("accept", "range", "if-none-match", "if-range", "accept-encoding"):
            headers = [(name.encode(), field), (b"accept", b"application/dicom")]
            assert client.get(path, headers=headers).status_code in {200, 206, 304, 400, 406, 416}
    assert sum(1 for _ in home.rglob("*")) == before


def test_compressed_pixel_data_is_a_part_for_each_frame(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """As bulk data too; as one octet stream it is 406."""
    request = next(r for r in requests if is_compressed(r) and dcmread(r.source).get("NumberOfFrames", 1) > 1)
    path = f"{url(request)}/bulkdata/7FE00010"

    found = parts(client.get(path))

    count = int(dcmread(request.source).NumberOfFrames)
    assert [frame for _, frame in found] == list(
        generate_frames(dcmread(request.source).PixelData, number_of_frames=count)
    )
    assert client.get(path, headers=OCTETS).status_code == 406


def test_the_door_of_a_running_server(tmp_path: Path) -> None:
    """dicomweb-client with a password and with a token; nobody without, by every road; a year for what does not change."""
    [request] = kept(tmp_path, [pydicom_file("CT_small.dcm")])
    access = StreamerAccessSettings.model_validate({"token": TOKEN, "user": "zoe", "password": "right"})
    with running_streamer(
        tmp_path, access=access, cors_origins=["https://viewer.example"], cache="immutable"
    ) as client:
        base = str(client.base_url).rstrip("/")
        by_password = DICOMwebClient(base, session=create_session_from_user_pass("zoe", "right"))
        by_token = DICOMwebClient(
            base, headers={"Authorization": f"Bearer {TOKEN}"}, session=create_session()
        )
        frame_path, own = f"{url(request)}/frames/1", {"authorization": f"Bearer {TOKEN}"}
        frame = client.get(frame_path, headers={**own, **BARE, "origin": "https://viewer.example"})
        refused = [client.get(path) for path in ("/", "/studies", url(request), frame_path, "/wado")]

        assert len(by_password.search_for_studies()) == len(by_token.search_for_studies()) == 1
        assert [answer.status_code for answer in refused] == [401] * 5
        assert all(request.sop_instance_uid not in answer.text for answer in refused)
        assert client.get("/health").status_code == 200
    assert frame.headers["access-control-allow-origin"] == "https://viewer.example"
    assert frame.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert frame.headers["vary"] == "Accept, Origin"
