"""The streamer's app without a network: an archive that cannot be written, names, the page."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from starlette.applications import Starlette
from starlette.routing import Route

from archive import Archive
from archive.disk import Disk
from archive.frame_index import FrameIndex
from archive.index.database import open_database
from archive.layout import Layout
from dicomrelay.settings import StreamerSettings
from streamer.answers import Message
from streamer.app import create_app
from streamer.host_check import is_ours
from tests.support.archive import pydicom_file, request_for


class ReadOnlyDisk(Disk):
    """The disk of a process that has the archive mounted read-only, once `is_read_only`."""

    is_read_only = False

    def make_directory(self, path: Path) -> None:
        if self.is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        super().make_directory(path)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    root = tmp_path / "archive"
    root.mkdir()
    made = Archive(Layout(root), open_database(f"sqlite:///{root / 'index.sqlite'}"), ReadOnlyDisk())
    yield made
    made.close()


def get(
    archive: Archive, path: str, *, host: str = "localhost", only_host: str | None = None
) -> httpx.Response:
    """One answer of the app."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(archive, only_host=only_host))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(path)

    return asyncio.run(asked())


def statuses(archive: Archive, *fields: tuple[bytes, bytes]) -> list[int]:
    """The status of `/health` for a request with exactly these header fields."""
    found: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": [*fields]}
    asyncio.run(create_app(archive, only_host="127.0.0.1")(scope, receive, send))
    return found


def test_frames_that_cannot_be_prepared_here_are_asked_for_again(archive: Archive) -> None:
    """Read-only: 503 that says why and when, until somebody who may write has made the index."""
    request = request_for(pydicom_file("CT_small.dcm"))
    [stored] = archive.store([request])
    assert isinstance(archive.disk, ReadOnlyDisk)
    path = (
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
        f"/instances/{request.sop_instance_uid}/frames/1"
    )

    archive.disk.is_read_only = True
    refused = get(archive, path)
    unknown = get(archive, path.replace("/instances/", "/instances/1."))
    archive.disk.is_read_only = False
    archive.prepare_frames(stored.relative_path)
    archive.disk.is_read_only = True
    served = get(archive, path)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert "not prepared yet" in refused.json()["detail"]
    assert unknown.status_code == 404
    assert served.status_code == 200


def test_a_disk_that_fails_is_an_answer_in_words(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 with a problem document, as everywhere."""
    request = request_for(pydicom_file("CT_small.dcm"))
    archive.store([request])

    def sick(_index: FrameIndex, _number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(FrameIndex, "locate", sick)
    found = get(
        archive,
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
        f"/instances/{request.sop_instance_uid}/frames/1",
    )

    assert (found.status_code, found.headers["content-type"]) == (500, "application/problem+json")


def test_a_value_without_bytes_is_an_empty_answer(archive: Archive, tmp_path: Path) -> None:
    """It is there, and nothing is in it: 200."""
    ds = dcmread(pydicom_file("CT_small.dcm"))
    ds.StudyDescription = ""
    ds.save_as(tmp_path / "empty.dcm")
    request = request_for(tmp_path / "empty.dcm")
    archive.store([request])

    found = get(
        archive,
        f"/studies/{request.study_instance_uid}/series/{request.series_instance_uid}"
        f"/instances/{request.sop_instance_uid}/bulkdata/00081030?accept=application/octet-stream",
    )

    assert (found.status_code, found.headers["content-length"], found.content) == (200, "0", b"")


def test_the_name_of_the_settings_is_answered_on_loopback(archive: Archive) -> None:
    """A name of /etc/hosts works when it is the one that is set; without a check every name does."""
    assert get(archive, "/health", host="images.local", only_host="Images.local").status_code == 200
    assert get(archive, "/health", host="images.local", only_host="127.0.0.1").status_code == 421
    assert get(archive, "/health", host="images.local").status_code == 200


def test_no_host_and_two_hosts_are_refused(archive: Archive) -> None:
    """A good field does not hide a bad one, and none says nothing."""
    good, bad = (b"host", b"localhost:8080"), (b"host", b"rebound.example")

    assert statuses(archive, good) == [200]
    assert statuses(archive) == statuses(archive, good, bad) == statuses(archive, bad, good) == [421]


@pytest.mark.parametrize(
    "host",
    ["", ":80", "localhost.evil.example", "evil.example", "localhost:80:80", "[::1", "[::1]x", "::1", "127.0.0.1/", "0.0.0.0",
     "localhost@evil.example", "127.0.0.1\n", "[localhost", "192.168.0.1", "[fe80::1]"],
)  # fmt: skip
def test_a_host_that_is_not_ours_is_told_apart(host: str) -> None:
    """Names that only look like ours, and fields that are none."""
    assert not is_ours(host, name="127.0.0.1")


def test_every_route_but_health_asks_who_comes(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the route table has, and what goes by roads of its own; each method, and WebSockets."""
    paths = [
        "/studies/1.2/series/1.3/instances/1.4/frames/1",
        "/streams",
        "/streams/a",
        "/nothing",
        "/health/",
    ]

    class Listed(Starlette):
        def __init__(self, *, routes: Sequence[Route], **more: Any) -> None:
            paths.extend(re.sub(r"\{[^}]*\}", "1.2", route.path) for route in routes)
            super().__init__(routes=routes, **more)

    monkeypatch.setattr("streamer.app.Starlette", Listed)
    app = create_app(archive, settings=StreamerSettings.model_validate({"access": {"token": "x" * 16}}))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask_all() -> None:
        for path in paths:
            scope = {"path": path, "query_string": b"", "headers": [(b"host", b"localhost")]}
            await app(scope | {"type": "websocket"}, receive, send)
            for method in () if path == "/health" else ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
                await app(scope | {"type": "http", "method": method}, receive, send)

    asyncio.run(ask_all())

    assert len(paths) > 30
    assert {"/health", "/", "/viewer/names.json", "/ohif/1.2", "/wado"} <= {*paths}
    assert {each["code"] for each in sent if each["type"] == "websocket.close"} == {1008}
    started = [each["status"] for each in sent if each["type"] == "http.response.start"]
    assert started == [401] * 5 * (len(paths) - 1)
    assert sum(each["type"] == "websocket.close" for each in sent) >= len(paths) - 1


def test_long_uids_wrap_on_the_page(archive: Archive) -> None:
    """A UID of 64 characters has no place to break: the page must allow one, or it overflows sideways."""
    archive.store([request_for(pydicom_file("CT_small.dcm"))])

    page = get(archive, "/").text

    assert "code{font-size:13px;overflow-wrap:anywhere}" in page
    assert f"<code>{request_for(pydicom_file('CT_small.dcm')).study_instance_uid}</code>" in page
