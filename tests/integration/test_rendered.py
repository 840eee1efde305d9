"""Rendered frames and thumbnails of a running streamer."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import apply_color_lut, pixel_array

from archive import Archive, StoreOutcome, StoreRequest
from tests.support.archive import pydicom_file, request_for
from tests.support.streamer import parts, running_streamer

CT, MULTI, PALETTE, COLOUR, REPORT = (
    "CT_small.dcm", "rtdose_rle.dcm", "examples_palette.dcm", "SC_rgb_small_odd.dcm", "test-SR.dcm",
)  # fmt: skip
PNG = {"accept": "image/png"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def requests(home: Path) -> dict[str, StoreRequest]:
    found = {name: request_for(pydicom_file(name)) for name in (CT, MULTI, PALETTE, COLOUR, REPORT)}
    with closing(Archive.open(home / "archive")) as archive:
        results = archive.store([*found.values()])
    assert {result.outcome for result in results} == {StoreOutcome.STORED}
    return found


@pytest.fixture(scope="module")
def client(home: Path, requests: dict[str, StoreRequest]) -> Iterator[httpx.Client]:
    with running_streamer(home) as found:
        yield found


@pytest.fixture
def url(requests: dict[str, StoreRequest]) -> dict[str, str]:
    return {
        name: f"/studies/{it.study_instance_uid}/series/{it.series_instance_uid}/instances/{it.sop_instance_uid}"
        for name, it in requests.items()
    }


def image(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_a_jpeg_when_nothing_else_is_asked_for(client: httpx.Client, url: dict[str, str]) -> None:
    found = client.get(url[CT] + "/rendered", headers={"accept": "*/*"})
    assert found.headers["content-type"] == "image/jpeg"
    assert found.headers["cache-control"] == "private, no-cache"
    shown = image(found)
    assert shown.shape == (128, 128)
    exact = image(client.get(url[CT] + "/frames/1/rendered", headers=PNG))
    assert np.abs(shown.astype(int) - exact).mean() < 2


def test_a_window_is_the_one_that_is_asked_for(client: httpx.Client, url: dict[str, str]) -> None:
    ds = dcmread(pydicom_file(CT))
    values = pixel_array(ds) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    expected = np.clip((values - (40 - 0.5)) / 399 + 0.5, 0, 1) * 255
    shown = image(client.get(url[CT] + "/rendered?window=40,400,linear", headers=PNG))
    assert np.array_equal(shown, np.rint(expected))
    sigmoid = 255 / (1 + np.exp(-4 * (values - 40) / 400))
    shown = image(client.get(url[CT] + "/rendered?window=40,400,sigmoid", headers=PNG))
    assert np.array_equal(shown, np.rint(sigmoid))


def test_a_palette_has_the_colours_of_its_tables(client: httpx.Client, url: dict[str, str]) -> None:
    ds = dcmread(pydicom_file(PALETTE))
    expected = apply_color_lut(pixel_array(ds, index=0), ds)
    expected = expected >> 8 if expected.max() > 255 else expected
    assert np.array_equal(image(client.get(url[PALETTE] + "/frames/1/rendered", headers=PNG)), expected)


def test_a_viewport_cuts_mirrors_and_scales(client: httpx.Client, url: dict[str, str]) -> None:
    whole = image(client.get(url[COLOUR] + "/rendered", headers=PNG))
    rows, columns, _ = whole.shape
    cut = client.get(
        url[COLOUR] + f"/rendered?viewport={columns - 1},{rows - 1},1,1,-{columns - 1},{rows - 1}",
        headers=PNG,
    )
    assert np.array_equal(image(cut), whole[1:, 1:][:, ::-1])
    assert image(client.get(url[CT] + "/rendered?viewport=64,32", headers=PNG)).shape == (32, 32)
    assert image(client.get(url[CT] + "/rendered?viewport=512,256,,,64,32", headers=PNG)).shape == (256, 512)


def test_several_frames_come_in_parts(client: httpx.Client, url: dict[str, str]) -> None:
    found = client.get(
        url[MULTI] + "/frames/3,1/rendered", headers={"accept": 'multipart/related; type="image/png"'}
    )
    pictures = [np.asarray(Image.open(io.BytesIO(body))) for _, body in parts(found)]
    alone = [image(client.get(url[MULTI] + f"/frames/{number}/rendered", headers=PNG)) for number in (3, 1)]
    assert all(np.array_equal(*pair) for pair in zip(pictures, alone, strict=True))
    assert not np.array_equal(*alone)


def test_of_several_pictures_the_length_is_not_known_before(
    client: httpx.Client, url: dict[str, str]
) -> None:
    """HEAD says what GET says, and no length that would be another (RFC 9110 Section 8.6)."""
    headers = {"accept": 'multipart/related; type="image/png"'}
    got, told = (
        client.request(method, url[MULTI] + "/frames/3,1/rendered", headers=headers)
        for method in ("GET", "HEAD")
    )
    assert (got.status_code, told.status_code, told.content) == (200, 200, b"")
    assert "content-length" not in got.headers
    assert "content-length" not in told.headers
    assert told.headers["content-type"] == got.headers["content-type"]


def test_a_series_is_one_picture_an_instance(client: httpx.Client, url: dict[str, str]) -> None:
    series = url[CT].rpartition("/instances/")[0]
    ((head, body),) = parts(client.get(series + "/rendered"))
    assert head == f"image/jpeg\r\nContent-Location: {url[CT]}/rendered"
    assert body == client.get(url[CT] + "/rendered").content
    assert client.head(series + "/rendered").status_code == 200


def test_thumbnails_at_every_level(client: httpx.Client, url: dict[str, str]) -> None:
    series, _, _ = url[MULTI].rpartition("/instances/")
    study, _, _ = series.rpartition("/series/")
    middle = client.get(url[MULTI] + "/thumbnail").content
    frames = dcmread(pydicom_file(MULTI), stop_before_pixels=True).NumberOfFrames
    assert client.get(url[MULTI] + f"/frames/{(frames + 1) // 2}/thumbnail").content == middle
    for place in (series, study):
        assert client.get(place + "/thumbnail").content == middle
    assert image(client.get(url[CT] + "/thumbnail?viewport=32,99")).shape == (32, 32)
    # Never larger than it is.
    assert image(client.get(url[CT] + "/thumbnail?viewport=999,999")).shape == (128, 128)


def test_what_a_client_has_is_not_sent_again(client: httpx.Client, url: dict[str, str]) -> None:
    series = url[CT].rpartition("/instances/")[0]
    tags = set()
    for place in ("/rendered", "/rendered?quality=50", "/frames/1/rendered", "/thumbnail"):
        etag = client.get(url[CT] + place).headers["etag"]
        assert client.get(url[CT] + place, headers={"if-none-match": etag}).status_code == 304
        tags.add(etag)
    assert len(tags) == 4
    etag = client.get(series + "/rendered").headers["etag"]
    assert client.get(series + "/rendered", headers={"if-none-match": etag}).status_code == 304


def test_wado_uri(client: httpx.Client, requests: dict[str, StoreRequest], url: dict[str, str]) -> None:
    it = requests[CT]
    given = {
        "requestType": "WADO",
        "studyUID": it.study_instance_uid,
        "seriesUID": it.series_instance_uid,
        "objectUID": it.sop_instance_uid,
        "contentType": "image/png",
    }
    asked = {"windowCenter": "40", "windowWidth": "400", "frameNumber": "1"}
    found = image(client.get("/wado", params={**given, **asked}))
    assert np.array_equal(
        found, image(client.get(url[CT] + "/frames/1/rendered?window=40,400,linear", headers=PNG))
    )
    quarter = image(client.get("/wado", params={**given, **asked, "region": "0.5,0,1,0.5"}))
    assert np.array_equal(quarter, found[:64, 64:])
    assert image(client.get("/wado", params={**given, "rows": "32"})).shape == (32, 32)
    assert client.get("/wado", params={**given, "frameNumber": "2"}).status_code == 404
    assert client.get("/wado", params={**given, "region": "1,0,0,1"}).status_code == 400
    jpeg = client.get("/wado", params={**given, "contentType": "image/jpeg", "imageQuality": "5"})
    assert jpeg.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("/rendered?window=40,400", 400),
        ("/rendered?window=40,0,linear", 400),
        ("/rendered?window=1e999,4,linear", 400),
        ("/rendered?viewport=0,5", 400),
        ("/rendered?viewport=99999,5", 400),
        ("/rendered?viewport=64,64,500,0,5,5", 400),
        ("/rendered?quality=101", 400),
        ("/rendered?annotation=patient", 400),
        ("/rendered?iccprofile=yes", 400),
        ("/rendered?quality=5&quality=6", 400),
        ("/thumbnail?window=40,400,linear", 400),
        ("/thumbnail?viewport=5,5,0,0,5,5", 400),
        ("/frames/0/rendered", 400),
        ("/frames/2/rendered", 404),
        ("/frames/1,1/thumbnail", 400),
        ("/rendered?accept=image/gif", 406),
        ("/frames/1,1/rendered?accept=image/png", 406),
    ],
)
def test_what_cannot_be_is_said_in_words(
    client: httpx.Client, url: dict[str, str], place: str, status: int
) -> None:
    found = client.get(url[CT] + place)
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert len(found.json()["detail"]) > 10
    assert found.headers["cache-control"] == "no-store"


def test_what_has_no_picture_says_so_at_every_level(client: httpx.Client, url: dict[str, str]) -> None:
    series, _, _ = url[REPORT].rpartition("/instances/")
    for place in (url[REPORT], series, series.rpartition("/series/")[0]):
        for what in ("/rendered", "/thumbnail"):
            found = client.get(place + what)
            assert (found.status_code, "no pixel data" in found.json()["detail"]) == (406, True), place
    assert client.get("/studies/1.2.3/series/4/thumbnail").status_code == 404
    assert client.get("/studies/1..3/thumbnail").status_code == 400
    assert client.get(url[COLOUR] + "/rendered?window=40,400,linear").status_code == 400


def test_one_rendition_is_made_once_for_all_who_ask(
    client: httpx.Client, url: dict[str, str], home: Path
) -> None:
    def kept() -> set[Path]:
        return {path for path in (home / "renditions" / "kept").rglob("*") if path.is_file()}

    before = kept()
    with ThreadPoolExecutor(12) as threads:
        found = {
            *threads.map(lambda _: client.get(url[MULTI] + "/rendered?viewport=300,300").content, range(12))
        }
    assert len(found) == 1
    (made,) = kept() - before
    assert made.read_bytes()[:-24] == found.pop()
    made.write_bytes(made.read_bytes()[:-100])  # as a power failure may leave it
    again = client.get(url[MULTI] + "/rendered?viewport=300,300")
    assert image(again).shape == (300, 300)


def test_others_are_answered_while_pictures_are_made(client: httpx.Client, url: dict[str, str]) -> None:
    """More than may wait: some are told to come again, and health and search answer meanwhile."""
    with ThreadPoolExecutor(64) as threads:
        asked = [
            threads.submit(client.get, url[CT] + f"/rendered?viewport={1200 + number},1200", headers=PNG)
            for number in range(64)
        ]
        time.sleep(0.3)
        begin = time.monotonic()
        assert client.get("/health").status_code == 200
        assert client.get("/studies").status_code == 200
        assert time.monotonic() - begin < 2
        answers = [each.result() for each in asked]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)


def test_an_instance_comes_compressed_without_loss_when_that_is_asked_for(
    client: httpx.Client, url: dict[str, str], home: Path
) -> None:
    """By PS3.18 Section 8.7.3.5: the syntax is in the part, and the second time it is kept."""
    for syntax in ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.80"):
        accept = {"accept": f"application/dicom; transfer-syntax={syntax}"}
        found = client.get(url[CT], headers=accept)
        assert found.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
        ds = dcmread(io.BytesIO(found.content))
        assert ds.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(pixel_array(ds, raw=True), pixel_array(dcmread(pydicom_file(CT)), raw=True))
        kept = [path for path in (home / "renditions" / "kept").rglob("*") if path.is_file()]
        assert any(path.read_bytes()[:-24] in found.content for path in kept)
        assert client.get(url[CT], headers=accept).content == found.content
    refused = client.get(url[REPORT], headers=accept)
    assert (refused.status_code, "no pixel data" in refused.json()["detail"]) == (406, True)


def test_hostile_sizes_are_refused_before_memory_is_taken(
    home: Path, client: httpx.Client, tmp_path: Path
) -> None:
    """65,535 × 65,535 of 32 bits are claimed by a few bytes; a codestream claims another size than its data set."""
    requests = []
    for name, changes in (
        ("SC_rgb_jpeg_dcmtk.dcm", {"Rows": 65535, "Columns": 65535}),
        ("examples_jpeg2k.dcm", {"Rows": 99}),
        (
            "MR_small_RLE.dcm",
            {"Rows": 65535, "Columns": 65535, "BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        ),
    ):
        ds = dcmread(pydicom_file(name))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID + ".9"
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        ds.save_as(tmp_path / name)
        requests.append(request_for(tmp_path / name))
    with closing(Archive.open(home / "archive")) as archive:
        archive.store(requests)
    for it in requests:
        found = client.get(
            f"/studies/{it.study_instance_uid}/series/{it.series_instance_uid}/instances/{it.sop_instance_uid}/rendered"
        )
        assert found.status_code == 406, found.text
        assert "died" not in found.json()["detail"]
