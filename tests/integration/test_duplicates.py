"""R26: a thousand SOP Instance UIDs that come more than once, with the same bytes and with others, also at the same time.

Same bytes: Success, and one copy. Other bytes: Success, both kept, the second one aside and listed.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from chaos.instances import CT_IMAGE_STORAGE, encode_data_set
from dicomrelay.dicom.part10 import FileMeta, encode_file_meta
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.ledger import AttentionKind
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem
from tests.support.gateway import running
from tests.support.rooms import rooms_at
from workers.group import group_arrivals
from workers.rooms import Rooms

_AGAIN, _OTHER, _TOGETHER, _TOGETHER_OTHERS = 400, 400, 100, 100
_ASSOCIATIONS = 8


@dataclass(frozen=True)
class Case:
    """One SOP Instance UID with the bytes it came with; the number of the variant says which."""

    uid: str
    variants: tuple[StoreItem, ...]
    study: str = "2.25.26"

    @classmethod
    def make(cls, folder: Path, number: int, variants: int) -> Case:
        """Write the files of a case."""
        uid = f"2.25.26.{number}"
        return cls(uid, tuple(_write(folder, uid, cls.study, variant) for variant in range(variants)))


def _write(folder: Path, uid: str, study: str, variant: int) -> StoreItem:
    meta = encode_file_meta(
        FileMeta(
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid=uid,
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        )
    )
    data_set = encode_data_set(uid, study, variant.to_bytes(2, "little") * 500)
    path = folder / f"{uid}-{variant}.dcm"
    path.write_bytes(meta + data_set)
    return StoreItem(CT_IMAGE_STORAGE, uid, EXPLICIT_VR_LITTLE_ENDIAN, path, len(meta), len(data_set))


class Crowd:
    """Eight associations, each in a thread, that send what they are given at the same time."""

    def __init__(self, remote: RemoteAe) -> None:
        self.statuses: Counter[int] = Counter()
        self._remote = remote
        self._lock = threading.Lock()

    def send(self, cases: Sequence[Case]) -> None:
        """Every case over all associations at once: the variant of its own number, or the only one."""
        barrier = threading.Barrier(_ASSOCIATIONS, timeout=30)
        threads = [
            threading.Thread(target=self._send, args=(number, cases, barrier))
            for number in range(_ASSOCIATIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()

    def _send(self, number: int, cases: Sequence[Case], barrier: threading.Barrier) -> None:
        with associate(self._remote) as association:
            for case in cases:
                item = case.variants[number % len(case.variants)]
                barrier.wait()
                status = association.store(item).status
                with self._lock:
                    self.statuses[status] += 1


def associate(remote: RemoteAe) -> Association:
    contexts = [(CT_IMAGE_STORAGE, (EXPLICIT_VR_LITTLE_ENDIAN,))]
    return Association.request(remote, calling_ae_title="TEST", contexts=contexts)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: what is flushed to where is not the question here, and it is done 6,400 times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def test_a_thousand_instances_that_come_more_than_once(folder: Path) -> None:
    """One copy of each, every other set of bytes aside, an alarm for each of those, and Success for all."""
    files, home = folder / "files", folder / "home"
    files.mkdir()
    numbers = iter(range(10_000))

    def cases(count: int, variants: int) -> list[Case]:
        return [Case.make(files, number, variants) for number in islice(numbers, count)]

    again, other = cases(_AGAIN, 1), cases(_OTHER, 2)
    together, together_others = cases(_TOGETHER, 1), cases(_TOGETHER_OTHERS, _ASSOCIATIONS)
    toml = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    with rooms_at(home, toml) as (rooms, _), running(home) as gateway:
        statuses: Counter[int] = Counter()
        with associate(gateway.remote) as association:
            for turn in range(10):
                statuses.update(association.store(case.variants[0]).status for case in again)
                if turn in {2, 5}:
                    group_arrivals(rooms)
            for variant in range(2):
                statuses.update(association.store(case.variants[variant]).status for case in other)
        crowd = Crowd(gateway.remote)
        crowd.send(together)
        crowd.send(together_others)
        statuses += crowd.statuses
        while group_arrivals(rooms).verdicts:
            pass
        stores = 10 * _AGAIN + 2 * _OTHER + _ASSOCIATIONS * (_TOGETHER + _TOGETHER_OTHERS)
        assert statuses == {0x0000: stores}
        _check(rooms, [*again, *other, *together, *together_others])


def _check(rooms: Rooms, sent: Sequence[Case]) -> None:
    """What the house holds, in the spool and in the ledger."""
    assert len(sent) == 1000
    held: dict[str, list[str]] = defaultdict(list)
    aside: Counter[str] = Counter()
    for record in rooms.spool.records():
        held[record.sop_instance_uid].append(rooms.spool.verify(record.id).digest)
        aside[record.sop_instance_uid] += rooms.spool.is_aside(record.id)
    conflicts = Counter(
        row.sop_instance_uid
        for row in rooms.ledger.needs_attention(limit=10_000)
        if row.kind is AttentionKind.CONFLICT
    )
    for case in sent:
        assert len(held[case.uid]) == len(set(held[case.uid])) == len(case.variants)
        assert aside[case.uid] == conflicts[case.uid] == len(case.variants) - 1
    assert len(held) == 1000
