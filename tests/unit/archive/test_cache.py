"""The cache of fetched files: bounded, shared by processes, never a half file."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from archive.storage.cache import Cache

LIMIT = 100_000
CANARY = "CANARY-4711"


def filled(size: int, byte: bytes = b"x") -> Callable[[BinaryIO], None]:
    def fill(file: BinaryIO) -> None:
        file.write(byte * size)

    return fill


def never(_file: BinaryIO) -> None:
    raise AssertionError("it is in the cache")


def held_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", max_bytes=LIMIT)


def test_a_file_is_fetched_once(cache: Cache, tmp_path: Path) -> None:
    """By key and digest; for our user only; its name has nothing of the key in it."""
    path = cache.path(f"data/{CANARY}/1.dcm", "d1", filled(10))

    assert cache.path(f"data/{CANARY}/1.dcm", "d1", never) == path
    assert cache.path(f"data/{CANARY}/1.dcm", "d2", filled(20)).stat().st_size == 20
    assert CANARY not in str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_bound_holds_and_what_was_used_longest_ago_goes(cache: Cache, tmp_path: Path) -> None:
    """A file that is used again and again stays, however many come."""
    favourite = cache.path("favourite", "", filled(5000))
    for number in range(200):
        cache.path(f"{number}", "", filled(2000))
        used = time.time() + number  # clocks of file systems are coarse
        os.utime(cache.path("favourite", "", never), (used, used))
        assert held_bytes(tmp_path / "cache") <= LIMIT

    assert favourite.exists()
    assert held_bytes(tmp_path / "cache") > LIMIT // 2


def test_a_file_that_is_read_stays(cache: Cache) -> None:
    """Until the block ends; then it may go like all others."""
    with cache.holding("held", "", filled(1000)) as path:
        os.utime(path, (0, 0))
        for number in range(100):
            cache.path(f"{number}", "", filled(3000))
        assert path.read_bytes() == b"x" * 1000

    os.utime(path, (0, 0))
    for number in range(100, 200):
        cache.path(f"{number}", "", filled(3000))
    assert not path.exists()


def test_a_file_larger_than_the_bound_is_served_and_goes_next(cache: Cache, tmp_path: Path) -> None:
    """Nobody is refused an image because of the cache."""
    with cache.holding("large", "", filled(3 * LIMIT)) as path:
        assert path.stat().st_size == 3 * LIMIT

    for number in range(10):
        cache.path(f"{number}", "", filled(1000))

    assert not path.exists()
    assert held_bytes(tmp_path / "cache") <= LIMIT


def test_a_fetch_that_fails_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    """The next one fetches anew."""

    def failing(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.path("k", "", failing)

    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.path("k", "", filled(3)).read_bytes() == b"xxx"


def test_what_a_crash_left_half_goes_after_an_hour(cache: Cache, tmp_path: Path) -> None:
    """A young one is somebody's who is at it, and counts."""
    (tmp_path / "cache").mkdir()
    old, young = tmp_path / "cache" / ".old.part", tmp_path / "cache" / ".young.part"
    old.write_bytes(b"x")
    young.write_bytes(b"x" * 7)
    os.utime(old, (0, 0))

    assert cache.make_room() == 7
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".young.part"]


def test_many_readers_and_a_small_cache(tmp_path: Path) -> None:
    """Two caches on one folder, as two processes have them: everybody reads whole files of the right bytes, within the bound."""
    caches = [Cache(tmp_path / "cache", max_bytes=LIMIT) for _ in range(2)]
    wrong: list[str] = []

    def read(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(150):
            number = choose.randrange(40)
            size = 1000 + 100 * number
            with caches[seed % 2].holding(f"{number}", "", filled(size, bytes([number]))) as path:
                if path.read_bytes() != bytes([number]) * size:
                    wrong.append(f"{number}")

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert held_bytes(tmp_path / "cache") <= LIMIT
