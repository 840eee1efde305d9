"""The cache of renditions: bounded, least recently used first, and believed only when it is whole."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from archive.renditions.cache import RenditionCache


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def keep(cache: RenditionCache, name: str, data: bytes) -> bool:
    with cache.one_maker(key(name)):
        cache.making.mkdir(mode=0o700, exist_ok=True)
    made = cache.making / name
    made.write_bytes(data)
    return cache.keep(key(name), made)


def used(cache: RenditionCache) -> int:
    return sum(path.stat().st_size for path in (cache.root / "kept").rglob("*") if path.is_file())


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    cache = RenditionCache(tmp_path / "renditions", max_bytes=1 << 20)
    assert cache.read(key("one")) is None
    assert keep(cache, "one", b"picture")
    assert cache.read(key("one")) == b"picture"
    found = cache.open(key("one"))
    assert found is not None
    assert os.pread(found[0], 100, 0)[: found[1]] == b"picture"
    os.close(found[0])
    assert not (cache.making / "one").exists()
    assert {path.stat().st_mode & 0o77 for path in cache.root.rglob("*") if path.is_dir()} == {0}


@pytest.mark.parametrize("damage", ["short", "empty", "flipped", "zeros", "longer", "trailer"])
def test_what_is_not_whole_is_not_believed(tmp_path: Path, damage: str) -> None:
    cache = RenditionCache(tmp_path, max_bytes=1 << 20)
    keep(cache, "one", b"picture" * 100)
    (path,) = (path for path in (tmp_path / "kept").rglob("*") if path.is_file())
    whole = path.read_bytes()
    path.write_bytes(
        {
            "short": whole[:-1],
            "empty": b"",
            "flipped": b"P" + whole[1:],
            "zeros": bytes(len(whole)),
            "longer": b"x" + whole,
            "trailer": whole[:-5] + b"\xff" + whole[-4:],
        }[damage]
    )
    assert cache.read(key("one")) is None
    assert not path.exists()
    assert keep(cache, "one", b"again")
    assert cache.read(key("one")) == b"again"


def test_the_least_recently_used_go_first_and_the_limit_holds(tmp_path: Path) -> None:
    cache = RenditionCache(tmp_path, max_bytes=100_000)
    now = time.time()
    for number in range(90):
        assert keep(cache, str(number), bytes(1000))
        (path,) = (tmp_path / "kept").rglob(f"{key(str(number))}*")
        os.utime(path, (now - 10_000 + number,) * 2)
    assert cache.read(key("3")) is not None  # read now: the youngest
    for number in range(90, 150):
        assert keep(cache, str(number), bytes(1000))
        assert used(cache) <= 100_000 * 17 / 16 + 1024
    assert cache.read(key("3")) is not None
    assert cache.read(key("4")) is None
    assert cache.read(key("149")) is not None


def test_what_others_left_is_counted_from_the_first_time(tmp_path: Path) -> None:
    first = RenditionCache(tmp_path, max_bytes=1 << 20)
    for number in range(100):
        keep(first, str(number), bytes(1000))
    smaller = RenditionCache(tmp_path, max_bytes=50_000)
    keep(smaller, "new", bytes(1000))
    assert used(smaller) <= 50_000


def test_nothing_is_kept_that_is_too_large_or_where_nothing_is_to_be(tmp_path: Path) -> None:
    assert not keep(RenditionCache(tmp_path, max_bytes=0), "one", b"picture")
    assert not keep(RenditionCache(tmp_path, max_bytes=800), "two", bytes(101))
    assert keep(RenditionCache(tmp_path, max_bytes=800), "three", bytes(100))


def test_all_of_it_makes_way_when_the_disk_is_short(tmp_path: Path) -> None:
    cache = RenditionCache(tmp_path, max_bytes=1 << 20)
    keep(cache, "one", b"picture")
    short = RenditionCache(tmp_path, max_bytes=1 << 20, min_free_bytes=1 << 60)
    assert not keep(short, "two", b"picture")
    assert used(short) == 0
    assert short.read(key("one")) is None


def test_one_maker_at_a_time(tmp_path: Path) -> None:
    """Two caches, as of two processes: a lock of a file is of whoever opened it."""
    caches = [RenditionCache(tmp_path, max_bytes=1 << 20) for _ in range(2)]
    inside, most, lock = 0, 0, threading.Lock()

    def make(cache: RenditionCache) -> None:
        nonlocal inside, most
        for _ in range(50):
            with cache.one_maker(key("one")):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=make, args=(cache,)) for cache in caches * 2]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 1
