"""Metadata of many instances is made once, and never kept when it is not whole."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from archive import Archive, StoreRequest
from archive.renditions.cache import RenditionCache
from dicomrelay.errors import ArchiveError
from streamer import metadata
from streamer.app import create_app
from streamer.kept_metadata import KeptMetadata, key_of, plain
from tests.support.archive import pydicom_file, request_for

SERIES = "/studies/1.7/series/1.7.1/metadata"


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[StoreRequest]:
    folder = tmp_path_factory.mktemp("files")
    found = []
    for number in range(1, 13):
        ds = dcmread(pydicom_file("MR_small.dcm"))
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.7", "1.7.1"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.7.1.{number}"
        ds.save_as(folder / f"{number}.dcm")
        found.append(request_for(folder / f"{number}.dcm"))
    return found


@pytest.fixture
def archive(tmp_path: Path, requests: list[StoreRequest]) -> Iterator[Archive]:
    with closing(Archive.open(tmp_path / "archive")) as archive:
        archive.store(requests[:10])
        yield archive


@pytest.fixture
def cache(tmp_path: Path) -> RenditionCache:
    return RenditionCache(tmp_path / "renditions", max_bytes=1 << 24)


def get(
    archive: Archive, cache: RenditionCache, coding: str = "gzip", host: str = "localhost"
) -> httpx.Response:
    """One answer."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(archive, kept=cache))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(SERIES, headers={"accept-encoding": coding})

    return asyncio.run(asked())


def kept(cache: RenditionCache) -> list[Path]:
    return [*cache.root.rglob("kept/*/*")]


def test_the_second_answer_is_the_first_without_a_look_at_the_files(
    archive: Archive, cache: RenditionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zipped and plain; for another name of the server it is made anew, since addresses are in it."""
    first = get(archive, cache)
    assert len(kept(cache)) == 1

    def read(*_: object, **__: object) -> None:
        raise AssertionError("a file was read again")

    with monkeypatch.context() as patched:
        patched.setattr(metadata, "instance_metadata", read)
        zipped, whole = get(archive, cache), get(archive, cache, "identity")

    assert first.json() == zipped.json() == whole.json()
    assert len(first.json()) == 10
    assert (zipped.headers["content-encoding"], "content-encoding" in whole.headers) == ("gzip", False)
    assert {"Accept", "Accept-Encoding"} == {each.strip() for each in zipped.headers["vary"].split(",")}
    assert first.headers["etag"] == zipped.headers["etag"]
    assert "http://other/" in get(archive, cache, host="other").text
    assert len(kept(cache)) == 2


def test_another_instance_makes_another_answer(
    archive: Archive, cache: RenditionCache, requests: list[StoreRequest]
) -> None:
    """What was kept is not what is there."""
    assert len(get(archive, cache).json()) == 10
    archive.store(requests[10:])
    assert len(get(archive, cache).json()) == len(get(archive, cache).json()) == 12


def test_what_is_not_whole_is_not_kept(archive: Archive, cache: RenditionCache) -> None:
    """An instance that could not be read may be readable later; an answer that was cut is none."""
    stored = archive.find("1.7", "1.7.1", "1.7.1.3")
    path = archive.path_of(stored)
    path.chmod(0o600)
    content = path.read_bytes()
    path.unlink()
    assert len(get(archive, cache).json()) == 10
    assert kept(cache) == []
    path.write_bytes(content)
    assert "00280010" in json.loads(get(archive, cache).text)[2]

    keeper = KeptMetadata(cache)
    key = key_of("0" * 64, "http://localhost")
    cut = keeper.keeping(key, iter([b"[", b"1", b"]"]), lambda: True)
    assert next(cut) == b"["
    cut.close()  # type: ignore[attr-defined]
    assert keeper.open(key) is None
    assert b"".join(keeper.keeping(key, iter([b"[", b"1" * 1000, b"]"]), lambda: True))
    found = keeper.open(key)
    assert found is not None
    assert gzip.decompress(b"".join(found)) == b"[" + b"1" * 1000 + b"]"
    again = keeper.open(key)
    assert again is not None
    assert b"".join(plain(again)) == b"[" + b"1" * 1000 + b"]"
    assert [*(cache.root / "making").iterdir()] == []


def test_what_is_damaged_on_the_disk_is_said_in_words() -> None:
    """One bit, behind which the checksum of gzip does not fit."""
    damaged = bytearray(gzip.compress(b"[" + b"1" * 1000 + b"]"))
    damaged[-6] ^= 1
    with pytest.raises(ArchiveError, match="damaged"):
        b"".join(plain(iter([bytes(damaged)])))
