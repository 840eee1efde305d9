"""R14: a spool of 64 MB is filled by four senders at once, then some of it goes on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.instances import Instance, make_instances
from dicomrelay.errors import AssociationError
from dicomrelay.net.requestor import Association
from tests.support.gateway import Running, running
from tests.support.small_disk import small_disk

_MB = 1_000_000
_SENDERS = 4


class Sender(threading.Thread):
    """Sends until it was refused so often, and knows what was acknowledged."""

    def __init__(self, gateway: Running, instances: Iterator[Instance], *, refusals: int) -> None:
        super().__init__()
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.problem = ""
        self._gateway, self._instances, self._refusals = gateway, instances, refusals

    def run(self) -> None:
        first = next(self._instances)
        contexts = [(first.item.sop_class_uid, (first.item.transfer_syntax_uid,))]
        try:
            with Association.request(
                self._gateway.remote, calling_ae_title="TEST", contexts=contexts
            ) as association:
                for instance in self._instances:
                    status = association.store(instance.item).status
                    self.statuses[status] += 1
                    if status == 0:
                        self.acknowledged.add(instance.digest)
                    if self.statuses.total() - self.statuses[0] >= self._refusals:
                        break
        except AssociationError as error:
            self.problem = str(error)


def fill(gateway: Running, folder: Path, seed: int) -> list[Sender]:
    """Four senders at once, until each was refused ten times."""
    senders = []
    for number in range(_SENDERS):
        own = folder / f"{seed}-{number}"
        own.mkdir()
        senders.append(Sender(gateway, make_instances(own, seed + number, size=300_000), refusals=10))
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    return senders


@pytest.mark.parametrize("min_free_bytes", [16 * _MB, 0])
def test_a_full_disk_is_a700_and_nothing_worse(tmp_path: Path, min_free_bytes: int) -> None:
    """At the low-water mark, and without one where the file system itself says that it is full.

    Only A7xx is answered, associations go on, nothing half written is left, what was acknowledged is there byte for byte;
    with room made it is taken again within ten seconds.
    """
    home = tmp_path / "home"
    with (
        small_disk(home / "spool", size_mb=64) as root,
        running(home, min_free_bytes=min_free_bytes) as gateway,
    ):
        senders = fill(gateway, tmp_path, 1)
        assert [sender.problem for sender in senders] == [""] * _SENDERS
        statuses = sum((sender.statuses for sender in senders), Counter[int]())
        assert statuses.keys() == {0x0000, 0xA700}
        assert statuses[0] > 100

        spool = gateway.spool
        records = list(spool.records())
        acknowledged = set().union(*(sender.acknowledged for sender in senders))
        assert {record.digest for record in records} == acknowledged
        for record in records:
            spool.verify(record.id)
        assert not [path for path in (root / "new").glob("*.part") if path.stat().st_size], "half written"
        if min_free_bytes:
            assert spool.usage().free_bytes > min_free_bytes - _SENDERS * _MB, "the mark is kept"

        spool.remove([record.id for record in records[: len(records) // 2]])
        began = time.monotonic()
        while True:
            more = fill(gateway, tmp_path, 1000 + round(1000 * (time.monotonic() - began)))
            if sum(sender.statuses[0] for sender in more) > 0:
                break
            assert time.monotonic() - began < 10
        assert time.monotonic() - began < 10
        for record in spool.records():
            spool.verify(record.id)
        spool.close()
