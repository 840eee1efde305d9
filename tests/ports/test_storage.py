"""The archive's storage, in a folder and in a bucket: the same promises."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.disk import Disk
from archive.layout import Layout
from archive.storage import LocalStorage, Put, Storage
from dicomrelay.errors import ArchiveError, IntegrityMismatch
from tests.support.s3 import S3Service, running_s3

CANARY = "CANARY-4711"
KEY = f"data/{CANARY}~0123/1.2.3/1.2.3.4/1.2.3.4.5.dcm"
OTHER = f"data/{CANARY}~0123/1.2.3/1.2.3.4/1.2.3.4.6.dcm"
MIB = 1024 * 1024
# Larger than what goes to a bucket in one request, and no multiple of a part.
LARGE = 17 * MIB + 4711


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    with running_s3(tmp_path_factory.mktemp("s3")) as service:
        yield service


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    root = tmp_path / "archive"
    root.mkdir()
    if request.param == "folder":
        return LocalStorage(Layout(root), Disk())
    service: S3Service = request.getfixturevalue("s3")
    bucket = f"b-{uuid.uuid4().hex[:20]}"
    service.make_bucket(bucket)
    return service.storage(bucket, root)


def source(folder: Path, data: bytes, *, digest_from: int = 0, preface: bytes = b"") -> Put:
    """A file with these bytes, to be put."""
    path = folder / f"{uuid.uuid4().hex}.source"
    path.write_bytes(data)
    return Put(path, hashlib.sha256(data[digest_from:]).hexdigest(), digest_from, preface)


def some(size: int, seed: int = 1) -> bytes:
    """Bytes that look like nothing."""
    return random.Random(seed).randbytes(size)


def keys(storage: Storage, prefix: str = "data") -> dict[str, int]:
    """What is there, and how large it is."""
    return {each.key: each.size_bytes for page in storage.list(prefix) for each in page}


@pytest.mark.parametrize("size", [0, 1, 5000, 8 * MIB, LARGE])
def test_what_was_put_is_read_back(storage: Storage, tmp_path: Path, size: int) -> None:
    """Whole, in ranges, in chunks, as a digest and as a local file."""
    data = some(size)

    assert storage.put(KEY, source(tmp_path, data)) == size

    assert b"".join(storage.chunks(KEY)) == data
    assert storage.digest(KEY) == hashlib.sha256(data).hexdigest()
    assert storage.digest(KEY, 100, fresh=True) == hashlib.sha256(data[100:]).hexdigest()
    assert storage.read(KEY, size // 2, 1000) == data[size // 2 :][:1000]
    assert storage.read(KEY, size + 10, 10) == b""
    assert storage.path(KEY, "digest").read_bytes() == data
    with storage.fetch(KEY, "digest") as path:
        assert path.read_bytes() == data
    found = storage.stat(KEY)
    assert found is not None
    assert (found.key, found.size_bytes) == (KEY, size)
    assert keys(storage) == {KEY: size}


@pytest.mark.parametrize("size", [5000, LARGE])
def test_an_object_is_never_overwritten(storage: Storage, tmp_path: Path, size: int) -> None:
    """The second is told, and the first stays; nothing else is left."""
    data = some(size)
    storage.put(KEY, source(tmp_path, data))

    with pytest.raises(FileExistsError):
        storage.put(KEY, source(tmp_path, some(size, 2)))

    assert b"".join(storage.chunks(KEY)) == data
    assert keys(storage) == {KEY: size}
    assert keys(storage, "uploads") == {}


@pytest.mark.parametrize("size", [5000, LARGE])
def test_of_several_at_once_one_is_first(storage: Storage, tmp_path: Path, size: int) -> None:
    """Threads that put other bytes under one key: one has it, the others are told, the bytes are those of the one."""
    wanted = [source(tmp_path, some(size, seed)) for seed in range(4)]
    ends: list[str] = []
    begin = threading.Barrier(len(wanted))

    def put(each: Put) -> None:
        begin.wait()
        try:
            storage.put(KEY, each)
            ends.append(each.digest)
        except FileExistsError:
            ends.append("taken")

    threads = [threading.Thread(target=put, args=(each,)) for each in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [winner] = [end for end in ends if end != "taken"]
    assert len(ends) == len(wanted)
    assert storage.digest(KEY) == winner
    assert keys(storage, "uploads") == {}


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("size", [5000, LARGE])
def test_other_bytes_than_announced_are_not_kept(
    storage: Storage, tmp_path: Path, size: int, over: bool
) -> None:
    """The source has changed: nothing is left under the key, or what was there stays."""
    if over:
        storage.put(KEY, source(tmp_path, b"before"))
    wanted = source(tmp_path, some(size))
    wanted.source.write_bytes(some(size, 2))

    with pytest.raises(IntegrityMismatch):
        storage.put(KEY, wanted, over=over)

    assert keys(storage) == ({KEY: 6} if over else {})
    assert keys(storage, "uploads") == {}


@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_preface_takes_the_place_of_what_is_in_front(storage: Storage, tmp_path: Path, size: int) -> None:
    """A data set gets a file meta; the digest is of the data set alone."""
    data = some(size)

    written = storage.put(KEY, source(tmp_path, data, digest_from=300, preface=b"file meta"))

    assert b"".join(storage.chunks(KEY)) == b"file meta" + data[300:]
    assert written == size - 300 + 9


@pytest.mark.parametrize("size", [5000, LARGE])
def test_what_is_in_front_of_the_data_set_is_kept_and_not_digested(
    storage: Storage, tmp_path: Path, size: int
) -> None:
    """A Part 10 file stays as it is; its digest is that of its data set."""
    data = some(size)

    storage.put(KEY, source(tmp_path, data, digest_from=300))

    assert b"".join(storage.chunks(KEY)) == data


@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_damaged_object_gives_way(storage: Storage, tmp_path: Path, size: int) -> None:
    """Over it: whoever read the old one from a cache gets the new one by its digest."""
    storage.put(KEY, source(tmp_path, b"damaged"))
    assert storage.path(KEY, "a").read_bytes() == b"damaged"
    wanted = source(tmp_path, some(size))

    storage.put(KEY, wanted, over=True)

    assert storage.digest(KEY) == wanted.digest
    assert storage.path(KEY, wanted.digest).read_bytes() == some(size)


def test_a_batch_is_durable_after_its_flush(storage: Storage, tmp_path: Path) -> None:
    """Several at a time where the storage likes that."""
    writing = storage.writing()

    for number in range(5):
        writing.put(f"data/p/1.2/1.2.3/{number}.dcm", source(tmp_path, some(100 + number)))
    writing.flush()

    assert sorted(keys(storage).values()) == [100, 101, 102, 103, 104]
    assert storage.at_once >= 1


def test_what_is_not_there_is_said_to_be_not_there(storage: Storage) -> None:
    """No size, no bytes; and deleting it is fine."""
    assert storage.stat(KEY) is None
    for reading in (
        lambda: storage.read(KEY, 0, 1),
        lambda: list(storage.chunks(KEY)),
        lambda: storage.digest(KEY),
        lambda: storage.path(KEY).read_bytes(),
    ):
        with pytest.raises(FileNotFoundError):
            reading()
    with pytest.raises(FileNotFoundError), storage.fetch(KEY) as path:
        path.read_bytes()
    storage.delete(KEY)


def test_what_is_deleted_is_gone(storage: Storage, tmp_path: Path) -> None:
    """And its neighbour is not."""
    storage.put(KEY, source(tmp_path, b"one"))
    storage.put(OTHER, source(tmp_path, b"other"))

    storage.delete(KEY)

    assert storage.stat(KEY) is None
    assert keys(storage) == {OTHER: 5}


def test_many_are_listed_page_by_page(storage: Storage, tmp_path: Path) -> None:
    """Every object once, however many there are; other folders' are not among them."""
    wanted = source(tmp_path, b"x")
    names = [f"data/p/1.2/{number % 7}/{number}.dcm" for number in range(1010)]
    writing = storage.writing()
    for name in names:
        writing.put(name, wanted)
    writing.put("database/1.dcm", wanted)
    writing.put("conflicts/1.dcm", wanted)
    writing.flush()

    pages = list(storage.list("data"))

    assert sorted(each.key for page in pages for each in page) == sorted(names)
    assert max(len(page) for page in pages) <= 1000


@pytest.mark.parametrize("key", ["", "/etc/passwd", "data/../../x", "..", "data/\0"])
def test_a_key_has_its_place_in_the_archive_or_none(storage: Storage, tmp_path: Path, key: str) -> None:
    """Climbing, absolute and empty ones are refused before anything is asked."""
    with pytest.raises(ArchiveError):
        storage.put(key, source(tmp_path, b"x"))
    with pytest.raises(ArchiveError):
        storage.read(key, 0, 1)


def test_a_source_that_is_gone_is_an_error_of_the_source(storage: Storage, tmp_path: Path) -> None:
    """It names the file of the sender."""
    wanted = source(tmp_path, b"x")
    wanted.source.unlink()

    with pytest.raises(FileNotFoundError, match=r"\.source"):
        storage.put(KEY, wanted)

    assert keys(storage) == {}


def test_a_reader_keeps_its_file_while_it_is_deleted(storage: Storage, tmp_path: Path) -> None:
    """An open file is whole to its end."""
    data = some(100_000)
    storage.put(KEY, source(tmp_path, data))

    with storage.fetch(KEY) as path, path.open("rb") as file:
        storage.delete(KEY)
        assert file.read() == data


def test_a_place_that_was_emptied_and_removed_is_made_again(storage: Storage, tmp_path: Path) -> None:
    """Whoever removes the last of a series removes its folders, also those that this process has made and knows."""
    first = storage.put(KEY, source(tmp_path, b"one"))
    storage.delete(KEY)
    if isinstance(storage, LocalStorage):
        folder = storage.layout.resolve(KEY).parent
        while folder != storage.layout.root:
            folder.rmdir()
            folder = folder.parent

    assert storage.put(KEY, source(tmp_path, b"two")) == first
    assert storage.read(KEY, 0, 10) == b"two"


@pytest.mark.parametrize("count", [0, 1, 30])
def test_several_are_asked_for_in_their_order(storage: Storage, tmp_path: Path, count: int) -> None:
    """Every second one is not there."""
    names = [f"data/p/1.2/1.2.3/{number}.dcm" for number in range(count)]
    for number, name in enumerate(names[::2]):
        storage.put(name, source(tmp_path, some(number + 1)))

    found = storage.stats(names)

    assert [each and (each.key, each.size_bytes) for each in found] == [
        None if number % 2 else (name, number // 2 + 1) for number, name in enumerate(names)
    ]
