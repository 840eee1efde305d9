"""An archive in a bucket: everything is as in a folder, and a service that is away loses nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from archive import Archive, StoreOutcome
from archive.disk import digest_of
from archive.frame_index import FrameIndex
from archive.frame_reader import frame_chunks
from archive.storage import Put
from archive.storage.opening import open_storage
from archive.storage.upload import Parts
from dicomrelay.errors import ServiceUnavailable, SpoolCorrupt
from dicomrelay.settings.storage import StorageSettings
from streamer.app import create_app
from streamer.open_frames import FrameCache
from tests.support.archive import pydicom_file, request_for
from tests.support.rooms import rooms_at, spooled
from tests.support.s3 import SECRET_KEY, S3Service, installed_s3, running_s3
from workers.group import group_arrivals
from workers.keep import archive_batch, release_batch
from workers.locating import locate, verified
from workers.rooms import Rooms

NAMES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "image_dfl.dcm", "SC_rgb_rle_2frame.dcm")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    with running_s3(tmp_path_factory.mktemp("s3")) as service:
        service.make_bucket("images")
        yield service


@pytest.fixture
def archive(s3: S3Service, tmp_path: Path) -> Iterator[Archive]:
    root = tmp_path / "archive"
    storage = s3.storage("images", root, prefix=f"relay/{tmp_path.name}")
    with closing(Archive.open(root, storage=storage)) as opened:
        yield opened


def test_it_is_stored_found_and_read_as_in_a_folder(archive: Archive) -> None:
    """Nothing of a stored file is in the archive's folder until somebody reads it."""
    requests = [request_for(pydicom_file(name)) for name in NAMES]

    results = archive.store(requests)

    assert {result.outcome for result in results} == {StoreOutcome.STORED}
    assert not (archive.layout.root / "data").exists()
    for request in requests:
        found = archive.find(
            request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid
        )
        assert archive.path_of(found).read_bytes() == request.source.read_bytes()
        with archive.reading(found) as path:
            assert digest_of(path, offset=found.data_set_offset) == request.digest
    assert {result.outcome for result in archive.store(requests)} == {StoreOutcome.ALREADY_THERE}


def test_one_that_is_gone_or_cut_short_is_put_back(archive: Archive, tmp_path: Path) -> None:
    """As in a folder: our own damage is mended by the next copy."""
    request = request_for(pydicom_file("CT_small.dcm"))
    [first] = archive.store([request])
    archive.storage.delete(first.relative_path)

    [again] = archive.store([request])

    assert again.outcome is StoreOutcome.ALREADY_THERE
    assert b"".join(archive.storage.chunks(first.relative_path)) == request.source.read_bytes()


def test_an_object_without_a_row_is_taken_in_and_other_bytes_are_a_conflict(
    archive: Archive, tmp_path: Path
) -> None:
    """What a crash between upload and index leaves; the bytes of the one that is there are compared."""
    request = request_for(pydicom_file("CT_small.dcm"))
    archive.store([request])
    with archive._database.write() as work:
        work.connection.exec_driver_sql("DELETE FROM archive_instances")

    [again] = archive.store([request])

    assert again.outcome is StoreOutcome.STORED
    data = bytearray(request.source.read_bytes())
    data[-1] ^= 1
    other = tmp_path / "other.dcm"
    other.write_bytes(data)
    changed = dataclasses.replace(
        request, source=other, digest=digest_of(other, offset=request.data_set_offset)
    )
    assert archive.store([changed])[0].outcome is StoreOutcome.CONFLICT


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "image_dfl.dcm", "JPEG2000.dcm"])
def test_frames_are_those_of_a_folder(archive: Archive, tmp_path: Path, name: str) -> None:
    """The frame index is in the archive's folder, the bytes come through the cache, also once they have left it."""
    request = request_for(pydicom_file(name))
    local = Archive.open(tmp_path / "local")
    frames = []
    for each in (local, archive):
        [result] = each.store([request])
        each.prepare_frames(result.relative_path)
        cache = FrameCache(each)
        for path in (each.layout.root / "cache").glob("*"):
            path.unlink()
        key = (request.study_instance_uid, request.series_instance_uid, request.sop_instance_uid)
        with cache.borrowed(key) as open_frames:
            assert isinstance(open_frames.index, FrameIndex)
            count = open_frames.index.header.frame_count
            locations = [open_frames.index.locate(number) for number in range(1, count + 1)]
            frames.append(
                [
                    b"".join(frame_chunks(open_frames.index, location, open_frames.descriptor))
                    for location in locations
                ]
            )
        cache.close()
    local.close()

    assert frames[0] == frames[1]
    assert frames[0]


def test_a_service_that_is_away_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The stage waits and says why, the spool keeps its item; when the service is there, all of it goes its way, and is
    sent from the bucket when the spool has let go of it."""
    service = installed_s3(tmp_path)
    with rooms_at(tmp_path / "home", service.toml("away")) as (rooms, _):
        record = spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)
        for _ in range(3):
            assert archive_batch(rooms) == 1
            _make_due(rooms)
        [entry] = rooms.ledger.inventory.by_spool_id([record.id]).values()
        assert entry.archiving is not None
        assert entry.archiving.state == "pending"
        assert rooms.spool.locate(record.id).exists()
        assert release_batch(rooms) == 0

        service.start()
        try:
            service.make_bucket("away")
            assert archive_batch(rooms) == 1
            [entry] = rooms.ledger.inventory.by_spool_id([record.id]).values()
            assert entry.facts.archive_path
            assert release_batch(rooms) == 1
            [entry] = rooms.ledger.inventory.by_spool_id([record.id]).values()
            path = verified(rooms, entry.facts)
            assert path.is_relative_to(rooms.archive.layout.root / "cache")
            path.unlink()
        finally:
            service.stop()
        # Away again, and not in the cache: of this instance and for now.
        with pytest.raises(OSError, match="does not answer"):
            locate(rooms, entry.facts)
    assert SECRET_KEY not in caplog.text


def test_an_object_that_is_gone_is_said_and_put_back_by_what_comes_again(tmp_path: Path) -> None:
    """Whether it is still in the cache or not; of a service that is away nothing is concluded."""
    with running_s3(tmp_path) as service:
        service.make_bucket("gone")
        with rooms_at(tmp_path / "home", service.toml("gone")) as (rooms, _):
            first = spooled(rooms, "1.2.3.4")
            group_arrivals(rooms)
            archive_batch(rooms)
            release_batch(rooms)
            [entry] = rooms.ledger.inventory.by_spool_id([first.id]).values()
            rooms.archive.storage.delete(entry.facts.archive_path)
            with pytest.raises(SpoolCorrupt, match="its file in the archive is gone"):
                verified(rooms, entry.facts)

            spooled(rooms, "1.2.3.4")
            service.stop()
            group_arrivals(rooms)
            assert rooms.spool.usage().new == 1
            service.start()
            service.make_bucket("gone")
            group_arrivals(rooms)
            assert (rooms.spool.usage().new, rooms.spool.usage().kept) == (0, 1)
            assert archive_batch(rooms) == 1
            assert release_batch(rooms) == 1
            assert rooms.archive.inventory().whole(["1.2.3.4"]) == {"1.2.3.4"}
            [facts] = [each.facts for each in rooms.ledger.inventory.kept(["1.2.3.4"]).values()]
            assert verified(rooms, facts).exists()


def _make_due(rooms: Rooms) -> None:
    ledger = rooms.ledger
    with ledger._database.write() as work:
        work.connection.exec_driver_sql("UPDATE stages SET due_at = 1 WHERE due_at IS NOT NULL")


def test_a_frozen_service_is_given_up_in_time(tmp_path: Path) -> None:
    """It takes the connection and says nothing: the batch fails as a whole, and can be tried again."""
    with running_s3(tmp_path) as service:
        service.make_bucket("slow")
        root = tmp_path / "archive"
        storage = service.storage("slow", root, timeout_s=1)
        with closing(Archive.open(root, storage=storage)) as archive:
            request = request_for(pydicom_file("CT_small.dcm"))
            service.freeze()
            began = time.monotonic()
            with pytest.raises(ServiceUnavailable, match="s3://slow"):
                archive.store([request])
            assert time.monotonic() - began < 40
            service.thaw()
            assert archive.store([request])[0].outcome is StoreOutcome.STORED


def test_a_bucket_that_is_gone_is_not_an_archive_without_files(s3: S3Service, tmp_path: Path) -> None:
    """Nobody shall hear that every image is lost because of a wrong name."""
    storage = s3.storage("no-such-bucket", tmp_path)

    with pytest.raises(ServiceUnavailable, match="no such bucket"):
        storage.stat("data/1.dcm")
    with pytest.raises(ServiceUnavailable, match="no such bucket"):
        list(storage.list("data"))


def test_refused_credentials_are_said_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The message names the settings; no secret, no key with a patient's id, also not in the chain of causes."""
    caplog.set_level(logging.DEBUG)
    with running_s3(tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="1") as service:
        service.make_bucket("closed")
        storage = service.storage("closed", tmp_path)
        with pytest.raises(ServiceUnavailable, match=r"archive\.secret_access_key") as raised:
            storage.read("data/CANARY-4711/1.dcm", 0, 1)
    told = f"{raised.value!r}{raised.value.__cause__!r}{storage!r}{caplog.text}"
    assert raised.value.__suppress_context__
    assert "CANARY-4711" not in told
    assert SECRET_KEY not in told


def test_no_error_of_the_service_names_a_key(s3: S3Service, tmp_path: Path) -> None:
    """A key has the id of the patient in it."""
    storage = s3.storage("images", tmp_path, prefix="other")
    for reading in (
        lambda: storage.path("data/CANARY-4711/1.dcm"),
        lambda: storage.digest("data/CANARY-4711/1.dcm"),
    ):
        with pytest.raises(FileNotFoundError) as raised:
            reading()
        assert "CANARY" not in str(raised.value)
        assert raised.value.filename is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"url": "http://bucket"}, "s3://bucket"),
        ({"url": "s3://UPPER"}, "s3://bucket"),
        ({"url": "s3://b-1", "endpoint": "http://s3.example.org"}, "unencrypted"),
        ({"url": "s3://b-1", "endpoint": "https://me:secret@s3.example.org"}, "access_key_id"),
        ({"url": "s3://b-1", "endpoint": "ftp://x"}, "https://host:port"),
        ({"url": "s3://b-1", "access_key_id": SecretStr("k")}, "go together"),
        ({"endpoint": "https://s3.example.org"}, "there is no"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(values: dict[str, object], words: str) -> None:
    """And nothing travels without TLS beyond a private network."""
    with pytest.raises(ValidationError, match=words):
        StorageSettings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "minio", "localhost", "[::1]"])
def test_a_private_address_may_be_without_tls(host: str) -> None:
    """A service beside us, as in a composition of containers."""
    settings = StorageSettings(url="s3://images/relay/", endpoint=f"http://{host}:9000")

    assert settings.url == "s3://images/relay"


class _Careless(BaseHTTPRequestHandler):
    """A service that takes every PUT, whatever its condition says."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def do_DELETE(self) -> None:
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def test_a_service_without_conditional_writes_is_refused(tmp_path: Path) -> None:
    """It would put one image over another, and nobody would know: nothing of the archive is ever put there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = StorageSettings(
            url="s3://images",
            endpoint=f"http://127.0.0.1:{server.server_port}",
            access_key_id=SecretStr("k"),
            secret_access_key=SecretStr(SECRET_KEY),
        )
        storage = open_storage(settings, tmp_path)
        assert storage is not None
        with closing(Archive.open(tmp_path / "archive", storage=storage)) as archive:
            with pytest.raises(ServiceUnavailable, match="conditional writes"):
                archive.store([request_for(pydicom_file("CT_small.dcm"))])
            assert archive.inventory().count() == 0
        server.shutdown()


def test_a_bucket_that_is_gone_takes_nothing_and_is_tried_again(s3: S3Service, tmp_path: Path) -> None:
    """It is no fault of the instance."""
    storage = s3.storage("no-such-bucket", tmp_path)
    with (
        closing(Archive.open(tmp_path / "archive", storage=storage)) as archive,
        pytest.raises(ServiceUnavailable, match="no such bucket"),
    ):
        archive.store([request_for(pydicom_file("CT_small.dcm"))])


def test_a_large_source_that_cannot_be_read_is_an_error_of_the_source(
    s3: S3Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an upload: the service is not at fault, nothing is under the key, and nothing is left of it."""
    path = tmp_path / "large.dcm"
    path.write_bytes(bytes(20 * 1024 * 1024))
    storage = s3.storage("images", tmp_path, prefix="large")
    whole = Parts._read

    def failing(self: Parts) -> Iterator[bytes]:
        parts = whole(self)
        yield next(parts)
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Parts, "_read", failing)

    with pytest.raises(OSError, match=r"Input/output error.*large\.dcm"):
        storage.put("data/1.dcm", Put(path, "0" * 64))

    assert storage.stat("data/1.dcm") is None
    assert [each for page in storage.list("uploads") for each in page] == []


def test_the_streamer_answers_from_a_bucket_and_says_what_is_wrong_with_it(
    s3: S3Service, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 with the data set; 500 for an object that is gone, with the metadata of the index; 503 while the service is away."""
    request = request_for(pydicom_file("CT_small.dcm"))
    [stored] = archive.store([request])
    url = (
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
        f"/instances/{request.sop_instance_uid}"
    )
    accept = {"accept": "application/dicom; transfer-syntax=*"}

    def get(path: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(create_app(archive), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.get(path, headers=accept if path == url else {})

        return asyncio.run(asked())

    answer = get(url)
    assert (answer.status_code, answer.content[-1000:]) == (200, request.source.read_bytes()[-1000:])
    assert get(f"{url}/metadata").json()[0]["00080018"]["Value"] == [request.sop_instance_uid]

    archive.storage.delete(stored.relative_path)
    for path in (archive.layout.root / "cache").iterdir():
        path.unlink()
    gone = get(url)
    assert gone.status_code == 500
    assert "log says why" in gone.text
    assert get(f"{url}/metadata").json()[0]["00080018"]["Value"] == [request.sop_instance_uid]

    def away(*_: object) -> None:
        raise ServiceUnavailable("s3://images does not answer")

    monkeypatch.setattr(archive.storage, "path", away)
    assert get(url).status_code == 503
