"""The streamer over HTTP: every frame of real files, instances, searches, and URLs that mean harm."""

from __future__ import annotations

import dataclasses
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.pixels.utils import get_expected_length

from archive import Archive, StoreOutcome, StoreRequest
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_BIG_ENDIAN, transfer_syntax
from dicomrelay.dicom.uids import derived_uid
from dicomrelay.errors import PortInUse
from dicomrelay.settings import Settings, StreamerSettings
from streamer import app
from tests.support.archive import pydicom_file, pydicom_files, request_for, shared_files
from tests.support.evil_strings import EVIL
from tests.support.streamer import parts, running_streamer

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
CANARY = "CANARY-4711"
BARE = {"accept": 'application/octet-stream; transfer-syntax="*"'}


def url(request: StoreRequest) -> str:
    """Where the streamer has an instance."""
    return (
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
        f"/instances/{request.sop_instance_uid}"
    )


def stored(home: Path, paths: list[Path], *, each_its_own: bool = False) -> list[StoreRequest]:
    """Store files; of those with one SOP Instance UID the first is kept, unless each is filed under a UID of its own."""
    requests = [request_for(path) for path in paths]
    if each_its_own:
        requests = [
            dataclasses.replace(request, sop_instance_uid=derived_uid("test", str(number)))
            for number, request in enumerate(requests)
        ]
    with closing(Archive.open(home / "archive")) as archive:
        results = archive.store(requests)
    return [r for r, result in zip(requests, results, strict=True) if result.outcome is StoreOutcome.STORED]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def requests(home: Path) -> list[StoreRequest]:
    found = stored(home, pydicom_files())
    assert len(found) > 30
    return found


@pytest.fixture(scope="module")
def client(home: Path, requests: list[StoreRequest]) -> Iterator[httpx.Client]:
    with running_streamer(home) as client:
        yield client


@pytest.fixture(scope="module")
def ct(requests: list[StoreRequest]) -> StoreRequest:
    return next(request for request in requests if request.source.name == "CT_small.dcm")


def read(request: StoreRequest) -> Dataset:
    """The file as pydicom reads it, also one without file meta."""
    ds = dcmread(request.source, force=True)
    ds.file_meta.TransferSyntaxUID = request.transfer_syntax_uid
    return ds


def frame_count(ds: Dataset) -> int:
    """Number of Frames; 1 when it is missing or no number, as one file has it."""
    try:
        return int(ds.get("NumberOfFrames") or 1)
    except ValueError:
        return 1


def is_encapsulated(ds: Dataset) -> bool:
    """Whether the pixel data is a sequence of fragments."""
    return transfer_syntax(ds.file_meta.TransferSyntaxUID).is_encapsulated


def frames_of(ds: Dataset) -> list[bytes]:
    """The frames as pydicom finds them, in the form in which they are served."""
    count = frame_count(ds)
    if is_encapsulated(ds):
        tables = None
        if "ExtendedOffsetTable" in ds:
            tables = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
        return list(generate_frames(ds.PixelData, number_of_frames=count, extended_offsets=tables))
    if ds.get("BitsAllocated") == 1:
        bits = pixel_array(ds, raw=True).reshape(count, -1)
        return [np.packbits(frame, bitorder="little").tobytes() for frame in bits]
    if ds.file_meta.TransferSyntaxUID == EXPLICIT_VR_BIG_ENDIAN:
        array = pixel_array(ds, raw=True).reshape(count, ds.Rows, ds.Columns, -1)
        if ds.get("PlanarConfiguration"):
            array = array.transpose(0, 3, 1, 2)
        return [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in array]
    data = next(ds[name].value for name in PIXELS if name in ds)
    ds.NumberOfFrames = count
    size = get_expected_length(ds, unit="bytes") // count
    return [data[size * n : size * (n + 1)] for n in range(count)]


def check_frames(client: httpx.Client, request: StoreRequest) -> int:
    """Each frame, fetched alone, is what pydicom finds in the file; returns how many there were."""
    ds = read(request)
    if not any(name in ds for name in PIXELS):
        answer = client.get(f"{url(request)}/frames/1", headers=BARE)
        assert (answer.status_code, "no pixel data" in answer.text) == (404, True), request.source
        return 0
    expected = frames_of(ds)
    for number, frame in enumerate(expected, start=1):
        answer = client.get(f"{url(request)}/frames/{number}", headers=BARE)
        assert answer.status_code == 200, (request.source, number, answer.text)
        assert answer.content == frame, (request.source, number)
    beyond = client.get(f"{url(request)}/frames/{len(expected) + 1}", headers=BARE)
    assert (beyond.status_code, f"frames 1 to {len(expected)}" in beyond.text) == (404, True)
    return len(expected)


def test_every_frame_equals_pydicoms(tmp_path: Path) -> None:
    """Native, one-bit, big endian, deflated, RLE, JPEG, JPEG-LS, JPEG 2000, float: all files installed with pydicom."""
    files = [path for path in pydicom_files() if path.name != "MR_truncated.dcm"]
    found = stored(tmp_path, files, each_its_own=True)

    with running_streamer(tmp_path) as client:
        assert sum(check_frames(client, request) for request in found) > 100


@pytest.mark.slow
def test_every_frame_of_the_shared_corpus_equals_pydicoms(tmp_path: Path) -> None:
    """Real files of other people: every transfer syntax at hand."""
    found = stored(tmp_path, shared_files(), each_its_own=True)

    with running_streamer(tmp_path) as client:
        assert sum(check_frames(client, request) for request in found) > 1000


def test_a_served_frame_decodes_to_pydicoms_pixels(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """A frame put alone into a data set decodes to what pydicom makes of the file."""
    decoded = 0
    for request in requests:
        ds = read(request)
        if "PixelData" not in ds or not is_encapsulated(ds):
            continue
        if not get_decoder(ds.file_meta.TransferSyntaxUID).is_available:
            continue
        last = frame_count(ds)
        try:
            expected = pixel_array(ds, index=last - 1)
        except RuntimeError:
            continue  # none of the decoders that are installed can do this one
        served = client.get(f"{url(request)}/frames/{last}", headers=BARE).content
        alone = read(request)
        alone.PixelData = encapsulate([served])
        alone.NumberOfFrames = 1
        for table in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if table in alone:
                delattr(alone, table)
        assert np.array_equal(pixel_array(alone, index=0), expected), request.source
        decoded += 1
    assert decoded > 5


def test_several_frames_come_in_the_order_asked_for(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """One part each, also the same frame twice, each with its transfer syntax."""
    request = next(r for r in requests if frame_count(read(r)) >= 15)
    frames = frames_of(read(request))

    answer = client.get(f"{url(request)}/frames/15,1,1,7")

    found = parts(answer)
    assert [frame for _, frame in found] == [frames[n - 1] for n in (15, 1, 1, 7)]
    assert len({kind for kind, _ in found}) == 1
    assert "; transfer-syntax=1.2.840.10008.1.2." in found[0][0]


def test_head_has_the_length_and_no_body(client: httpx.Client, ct: StoreRequest) -> None:
    """A client can ask how much there is."""
    answer = client.head(f"{url(ct)}/frames/1", headers=BARE)

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "32768", b"")


@pytest.mark.parametrize(
    "listed", ["0", "-1", "1,", ",", "", "1,,2", "a", "1.0", "01", "9" * 13, "1;2", "1" + ",1" * 10_000]
)
def test_a_frame_list_that_is_none_is_refused(client: httpx.Client, ct: StoreRequest, listed: str) -> None:
    """400, in JSON words."""
    answer = client.get(f"{url(ct)}/frames/{listed}")

    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_instances_come_back_byte_for_byte(client: httpx.Client, requests: list[StoreRequest]) -> None:
    """The data set as received, behind a file meta that says nothing about how it came."""
    for request in requests:
        bare = client.get(url(request), headers={"accept": "application/dicom"})
        [(kind, inside)] = parts(client.get(url(request)))

        data_set = request.source.read_bytes()[request.data_set_offset :]
        assert bare.content.endswith(data_set)
        assert inside == bare.content
        assert kind == bare.headers["content-type"]
        meta = dcmread(io.BytesIO(bare.content), stop_before_pixels=True).file_meta
        assert meta.TransferSyntaxUID == request.transfer_syntax_uid
        assert "SourceApplicationEntityTitle" not in meta


def test_series_and_studies_hold_all_their_instances(
    client: httpx.Client, ct: StoreRequest, requests: list[StoreRequest]
) -> None:
    """As many parts as the index has instances."""
    for path, uids in (
        (f"/studies/{ct.study_instance_uid}", (ct.study_instance_uid,)),
        (
            f"/studies/{ct.study_instance_uid}/series/{ct.series_instance_uid}",
            (ct.study_instance_uid, ct.series_instance_uid),
        ),
    ):
        there = [r for r in requests if (r.study_instance_uid, r.series_instance_uid)[: len(uids)] == uids]
        found = parts(client.get(path))
        assert len(found) == len(there)
        assert client.get(f"{path}/metadata").json()[0]["0020000D"]["Value"] == [ct.study_instance_uid]


def test_metadata_of_every_instance_is_readable_json(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """With the address of pixel data in its place, in UTF-8, and pydicom takes it back."""
    for request in requests:
        answer = client.get(f"{url(request)}/metadata")
        [found] = answer.json()
        assert found["00080018"]["Value"] == [request.sop_instance_uid]
        assert found.get("7FE00010", {}).keys() <= {"vr", "BulkDataURI"}
        assert Dataset.from_json(found, lambda _: b"").SOPInstanceUID == request.sop_instance_uid


def test_search_answers_dicom_json(client: httpx.Client, ct: StoreRequest) -> None:
    """Keyword and tag, the counts, and an address that leads to the study."""
    for parameter in (
        "PatientName=compressedsamples^ct1",
        "00100010=CompressedSamples^CT1",
        "PatientID=1CT1",
    ):
        answer = client.get(f"/studies?{parameter}")
        [found] = answer.json()
        assert answer.headers["content-type"].startswith("application/dicom+json")
        assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "CompressedSamples^CT1"}]}
        assert found["0020000D"]["Value"] == [ct.study_instance_uid]
        assert found["00080061"]["Value"] == ["CT"]
        assert found["00201208"]["Value"] == [1]
        assert client.get(found["00081190"]["Value"][0] + "/series").json()[0]["00080060"]["Value"] == ["CT"]


def test_search_below_a_study_and_a_series(client: httpx.Client, ct: StoreRequest) -> None:
    """The levels of the URL are matched; attributes above come when asked for."""
    path = f"/studies/{ct.study_instance_uid}/series/{ct.series_instance_uid}/instances"
    [found] = client.get(path).json()
    [more] = client.get(f"{path}?includefield=PatientID&includefield=00080060").json()

    assert found["00080018"]["Value"] == [ct.sop_instance_uid]
    assert (found["00280010"]["Value"], found["00280011"]["Value"]) == ([128], [128])
    assert "00100020" not in found
    assert (more["00100020"]["Value"], more["00080060"]["Value"]) == (["1CT1"], ["CT"])


def test_search_pages_and_says_when_there_is_more(client: httpx.Client) -> None:
    """limit, offset and the warning that PS3.18 Section 8.3.4.4 asks for."""
    everything = client.get("/instances?limit=1000").json()
    first = client.get("/instances?limit=10")
    second = client.get("/instances?limit=1000&offset=10")

    assert "more results" in first.headers["warning"]
    assert "warning" not in second.headers
    assert first.json() + second.json() == everything


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "offset=-1",
        "Nonsense=1",
        "00280010=x",
        "InstanceNumber=1",
        "PixelData=1",
        "limit=" + "9" * 30,
        "limit=" + "0" * 5000 + "1",
        "offset=" + "9" * 5000,
        "offset=1000000000",
    ],
)
def test_a_search_that_makes_no_sense_is_refused_in_words(client: httpx.Client, query: str) -> None:
    """400 that names what is wrong."""
    answer = client.get(f"/studies?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"] or "Rows" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/studies", "{instance}", "{instance}/metadata", "{instance}/frames/1", "/studies/{study}"]
)
def test_a_form_that_is_not_there_is_406(client: httpx.Client, ct: StoreRequest, path: str) -> None:
    """With words on what there is."""
    path = path.format(instance=url(ct), study=ct.study_instance_uid)

    answer = client.get(path, headers={"accept": "image/png"})

    assert (answer.status_code, bool(answer.json()["detail"])) == (406, True)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(client: httpx.Client, ct: StoreRequest, method: str) -> None:
    """405 with the methods that there are, on frames and on all else; no CORS."""
    for path in ("/", "/studies", url(ct), f"{url(ct)}/frames/1"):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_answer_has_the_security_headers(client: httpx.Client, ct: StoreRequest) -> None:
    """Success and failure, on both roads."""
    for path in (
        "/",
        "/health",
        "/studies",
        "/nothing",
        url(ct),
        f"{url(ct)}/frames/1",
        f"{url(ct)}/frames/0",
    ):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


# httpx takes dot segments out of a URL before it is sent; the test below sends them.
@pytest.mark.parametrize("text", [text for text in EVIL if text not in {".", ".."}])
def test_an_evil_url_gets_an_error_and_touches_nothing(
    client: httpx.Client, home: Path, ct: StoreRequest, text: str
) -> None:
    """In the place of each UID, percent-encoded: 4xx in JSON, no file made, the server lives."""
    evil = quote(text.encode("utf-8", "surrogatepass"), safe="")
    before = sum(1 for _ in home.rglob("*"))
    study, series, sop = ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid
    for path in (
        f"/studies/{evil}/series/{series}/instances/{sop}/frames/1",
        f"/studies/{study}/series/{evil}/instances/{sop}/frames/1",
        f"/studies/{study}/series/{series}/instances/{evil}/frames/1",
        f"/studies/{study}/series/{series}/instances/{sop}/frames/{evil}",
        f"/studies/{study}/series/{series}/instances/{evil}",
        f"/studies/{evil}/metadata",
        f"/studies/{evil}",
    ):
        answer = client.get(path)
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
        assert answer.json()["detail"]
    assert client.get(f"/studies?PatientName={evil}").status_code in {200, 400}
    assert sum(1 for _ in home.rglob("*")) == before


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/studies/../series/1.2/instances/1.3/frames/1",
        "/studies/1.1/series/./instances/../frames/1",
        "/studies/1.1/series/1.2/instances/../../../../index.sqlite",
        "/studies/%2e%2e/series/%2e/instances/%2e%2e/frames/1",
        "/studies/1.1/series/1.2/instances/..%2f..%2findex.sqlite/frames/1",
        "//studies",
        "/studies/\\..\\/series",
    ],
)
def test_dot_segments_as_they_come_lead_nowhere(client: httpx.Client, path: str) -> None:
    """Sent without a client that cleans them."""
    with socket.create_connection(
        (client.base_url.host, client.base_url.port or 0), timeout=10
    ) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer[:10] == b"HTTP/1.1 4"
    assert b"SQLite format" not in answer
    assert b"root:" not in answer


def test_the_page_escapes_what_it_shows(home: Path, client: httpx.Client, tmp_path: Path) -> None:
    """A name that is a script is shown, not run."""
    ds = dcmread(pydicom_file("CT_small.dcm"))
    ds.PatientName, ds.PatientID = "<script>alert(1)</script>", '"><img src=x>'
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.9", "1.9.1", "1.9.1.1"
    ds.save_as(tmp_path / "script.dcm")
    stored(home, [tmp_path / "script.dcm"])

    page = client.get("/").text

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "<img" not in page


def test_frames_follow_the_files_on_disk(tmp_path: Path) -> None:
    """A frame index that is removed is made again; a stored file that is gone is an error, not old bytes or a crash."""
    [request] = stored(tmp_path, [pydicom_file("CT_small.dcm")])
    with running_streamer(tmp_path) as client:
        path = f"{url(request)}/frames/1"
        first = client.get(path, headers=BARE).content
        next((tmp_path / "archive").rglob("*.frames")).unlink()
        assert client.get(path, headers=BARE).content == first
        next((tmp_path / "archive").rglob("*.frames")).unlink()
        next((tmp_path / "archive" / "data").rglob("*.dcm")).unlink()

        gone = client.get(path, headers=BARE)
        whole = client.get(url(request))

        assert (gone.status_code, whole.status_code) == (500, 500)
        assert str(tmp_path) not in gone.text + whole.text
        assert client.get("/health").status_code == 200


def loop(path: Path) -> None:
    """Put a symbolic link to itself in the place of a file: opening it fails, whoever tries."""
    path.unlink()
    path.symlink_to(path)


def cut(path: Path) -> None:
    """Take the end of a file away."""
    os.truncate(path, path.stat().st_size - 1000)


@pytest.mark.parametrize(
    ("damage", "why"), [(Path.unlink, "No such file"), (loop, "symbolic link"), (cut, " bytes where ")]
)
@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_damaged_archive_is_told_without_the_patient(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    why: str,
    is_prepared: bool,
) -> None:
    """JSON for the client, SOP Instance UID and reason in the log, and the patient id, which is in every path, nowhere."""
    files = []
    for number in (1, 2):
        ds = dcmread(pydicom_file("CT_small.dcm"))
        ds.PatientID, ds.SOPInstanceUID = CANARY, f"1.9.1.{number}"
        ds.save_as(tmp_path / f"{number}.dcm")
        files.append(tmp_path / f"{number}.dcm")
    first, second = stored(tmp_path, files)
    paths = {path.stem: path for path in (tmp_path / "archive" / "data" / CANARY).rglob("*.dcm")}
    with running_streamer(tmp_path) as client:
        if is_prepared:
            assert client.get(f"{url(second)}/frames/1").status_code == 200
    with running_streamer(tmp_path) as client:
        damage(paths[second.sop_instance_uid])
        answers = [
            client.get(f"{url(second)}/frames/1"),
            client.get(url(second)),
            client.get(url(second), headers={"accept": "application/dicom"}),
        ]
        metadata = client.get(f"{url(second)}/metadata")
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/studies/{first.study_instance_uid}")
        damage(paths[first.sop_instance_uid])
        answers.append(client.get(f"/studies/{first.study_instance_uid}"))

    logged = caplog.text + "".join(capfd.readouterr())
    if damage is cut and not is_prepared:
        # A frame index is made of what is there and says what is missing.
        assert answers.pop(0).status_code in {404, 500}
    for answer in answers:
        assert (answer.status_code, answer.json()["status"]) == (500, 500)
        assert CANARY not in answer.text
    assert metadata.status_code == 200
    assert second.sop_instance_uid in logged
    assert why in logged
    assert CANARY not in logged


@pytest.mark.parametrize("host", ["rebound.example:8080", "127.0.0.1.nip.io", "10.0.0.1", "x@127.0.0.1", ""])
def test_another_machines_name_is_refused_on_loopback(
    client: httpx.Client, ct: StoreRequest, host: str
) -> None:
    """A page that gave its own name our address reads nothing: 421 in words, on every road."""
    for path in ("/", "/studies", url(ct), f"{url(ct)}/frames/1"):
        answer = client.get(path, headers={"host": host})
        assert (answer.status_code, "on loopback" in answer.json()["detail"]) == (421, True)
        assert ct.study_instance_uid not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080", "127.1.2.3:80"])
def test_names_of_this_machine_are_answered(client: httpx.Client, host: str) -> None:
    """Whatever the port: a tunnel may have another."""
    assert client.get("/studies", headers={"host": host}).status_code == 200


def test_health_says_when_the_index_is_gone(tmp_path: Path) -> None:
    """503, while frames go on being served: they need no database."""
    [request] = stored(tmp_path, [pydicom_file("CT_small.dcm")])
    with closing(Archive.open(tmp_path / "archive")) as archive:
        archive.prepare_frames(next(iter(archive.instances(request.study_instance_uid))).relative_path)
    with running_streamer(tmp_path) as client:
        assert client.get("/health").json() == {"status": "ok", "index": "ok"}
        with closing(Archive.open(tmp_path / "archive")) as archive, archive._database.write() as work:
            work.connection.exec_driver_sql("ALTER TABLE archive_studies RENAME TO elsewhere")

        assert client.get("/health").status_code == 503
        assert client.get("/studies").status_code == 503
        assert client.get(f"{url(request)}/frames/1").status_code == 200


def test_many_clients_at_once_get_their_own_frames(
    client: httpx.Client, requests: list[StoreRequest]
) -> None:
    """Eight threads over all files: descriptors are shared and none is mixed up."""
    wanted = {
        request: client.get(f"{url(request)}/frames/1", headers=BARE).content
        for request in requests
        if client.head(f"{url(request)}/frames/1", headers=BARE).status_code == 200
    }
    wrong: list[Path] = []

    def fetch() -> None:
        with httpx.Client(base_url=client.base_url) as mine:
            for request, frame in wanted.items():
                if mine.get(f"{url(request)}/frames/1", headers=BARE).content != frame:
                    wrong.append(request.source)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_port_in_use_is_said_in_words(tmp_path: Path) -> None:
    """Before anything is opened."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(home=tmp_path, streamer=StreamerSettings(port=port))
        with pytest.raises(PortInUse, match=str(port)):
            app.run(settings, ready=lambda: None, stop=threading.Event())
    assert not (tmp_path / "archive").exists()
