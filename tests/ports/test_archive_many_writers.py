"""Several processes that store, replace and remove the same instances at once: never a lost one, never a half one."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

from archive import Archive, Policy, StoreOutcome
from archive.removal import remove
from archive.values import Selection
from tests.support.archive import request_for
from tests.support.archive_writing import STUDY, aside_digests, check_whole, held_digest, write_instance

_SECONDS = 0.8
_NUMBERS = range(1, 7)


def _store(root: str, url: str, folder: str, seed: int, policy: str, failures: str) -> None:
    """A worker: it stores what it has, in any order, until the time is over; whatever fails must say why."""
    shuffled = random.Random(seed)
    archive = Archive.open(Path(root), database_url=url, policy=Policy(policy))
    requests = [request_for(path) for path in sorted(Path(folder).glob("*.dcm"))]
    until = time.monotonic() + _SECONDS
    words: set[str] = set()
    while time.monotonic() < until:
        some = shuffled.sample(requests, shuffled.randint(1, len(requests)))
        for result in archive.store(some):
            if result.outcome is StoreOutcome.FAILED:
                words.add(result.reason)
    archive.close()
    Path(failures).write_text("\n".join(words))


def _remove(root: str, url: str, seed: int) -> None:
    shuffled = random.Random(seed)
    archive = Archive.open(Path(root), database_url=url)
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        uids = tuple(f"{STUDY}.1.{number}" for number in shuffled.sample(_NUMBERS, 2))
        remove(archive, Selection(sop_instance_uids=uids), reason="test", by="test")
        time.sleep(shuffled.random() * 0.02)
    archive.close()


@pytest.mark.parametrize("policy", ["keep_first", "replace"])
def test_storing_replacing_and_removing_at_once(tmp_path: Path, empty_url: str, policy: str) -> None:
    """In the end every row has its file, every byte that came is served or set aside, and all can be stored again."""
    folder = tmp_path / "in"
    digests: dict[str, set[str]] = {}
    for number in _NUMBERS:
        for fill in (1, 2):
            # The second of each has another patient: when it replaces the first one it lies elsewhere.
            request = request_for(
                write_instance(folder, number, fill=fill, patient_id="P1" if number % 2 else f"P{fill}")
            )
            digests.setdefault(request.sop_instance_uid, set()).add(request.digest)
    Archive.open(tmp_path / "archive", database_url=empty_url).close()
    spawn = multiprocessing.get_context("spawn")
    root = str(tmp_path / "archive")
    processes = [
        spawn.Process(
            target=_store,
            args=(root, empty_url, str(folder), seed, policy, str(tmp_path / f"failures-{seed}")),
        )
        for seed in range(3)
    ]
    processes += [spawn.Process(target=_remove, args=(root, empty_url, seed)) for seed in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)

    assert [process.exitcode for process in processes] == [0] * 5
    said = {line for seed in range(3) for line in (tmp_path / f"failures-{seed}").read_text().splitlines()}
    assert all("store it again" in line for line in said), said
    archive = Archive.open(tmp_path / "archive", database_url=empty_url, policy=Policy(policy))
    for part in (tmp_path / "archive").rglob("*.part"):
        pytest.fail(f"{part.name} was left")
    check_whole(archive, orphans=True)
    requests = [request_for(path) for path in sorted(folder.glob("*.dcm"))]
    for request in requests:
        assert held_digest(archive, request) in {"", *digests[request.sop_instance_uid]}
    archive.store(requests)
    check_whole(archive)
    aside = aside_digests(archive)
    for request in requests:
        served = held_digest(archive, request)
        assert digests[request.sop_instance_uid] - {served} <= aside
    archive.close()
