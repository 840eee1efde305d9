"""The end of an association is told to the workers, and to nobody on the way to an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chaos.instances import Instance, make_instances
from dicomrelay.net.requestor import Association, RemoteAe
from tests.support.gateway import running
from tests.support.rooms import rooms_at
from workers.complete import make_complete
from workers.group import group_arrivals


def associate(remote: RemoteAe, instance: Instance) -> Association:
    contexts = [(instance.item.sop_class_uid, (instance.item.transfer_syntax_uid,))]
    return Association.request(remote, calling_ae_title="TEST", contexts=contexts)


class Listener:
    """Hears of ends; may hang, and may fail."""

    def __init__(self, *, hangs: bool = False, fails: bool = False) -> None:
        self.ids: list[str] = []
        self.heard = threading.Semaphore(0)
        self.go_on = threading.Event()
        self._hangs, self._fails = hangs, fails

    def __call__(self, ids: Sequence[str]) -> None:
        self.ids.extend(ids)
        self.heard.release()
        if self._hangs:
            self.go_on.wait(30)
        if self._fails:
            raise ConnectionError("no broker (test)")


def test_the_id_is_that_of_the_instances_it_brought(tmp_path: Path) -> None:
    """It is ours and says nothing; an association that stored nothing is not told of."""
    listener = Listener()
    instances = make_instances(tmp_path, 1)
    with running(tmp_path / "home", ended=listener) as gateway:
        first = next(instances)
        with associate(gateway.remote, first):
            pass
        with associate(gateway.remote, first) as association:
            assert association.store(first.item).status == 0
            assert listener.ids == []
        assert listener.heard.acquire(timeout=10)
        (record,) = gateway.spool.arrivals(10)
        assert listener.ids == [record.provenance.association_id]


def test_an_association_that_died_has_ended_too(tmp_path: Path) -> None:
    """However it ended, nothing more comes over it."""
    listener = Listener()
    first = next(make_instances(tmp_path, 2))
    with running(tmp_path / "home", ended=listener) as gateway:
        association = associate(gateway.remote, first)
        assert association.store(first.item).status == 0
        association.abort()
        assert listener.heard.acquire(timeout=10)


def test_a_broker_that_is_dead_or_hangs_costs_the_sender_nothing(tmp_path: Path) -> None:
    """Invariant 2: fifty associations one after the other, each with an end to tell, are answered at once."""
    for number, listener in enumerate((Listener(hangs=True), Listener(fails=True))):
        instances = make_instances(tmp_path, 3 + number)
        with running(tmp_path / f"home-{number}", ended=listener) as gateway:
            began = time.monotonic()
            for _ in range(50):
                each = next(instances)
                with associate(gateway.remote, each) as association:
                    assert association.store(each.item).status == 0
            assert time.monotonic() - began < 20
            listener.go_on.set()
            assert len(gateway.spool.arrivals(100)) == 50


def test_a_study_goes_on_when_its_association_has_ended(tmp_path: Path) -> None:
    """From the wire to the transfer, with a quiet time of an hour; without the message it waits for that."""
    home = tmp_path / "home"
    toml = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    for told in (False, True):
        listener = Listener()
        instances = make_instances(tmp_path, 5)
        folder = home / str(told)
        with running(folder, ended=listener) as gateway:
            first = next(instances)
            with associate(gateway.remote, first) as association:
                for each in (first, next(instances), next(instances)):
                    assert association.store(each.item).status == 0
            assert listener.heard.acquire(timeout=10)
        with rooms_at(folder, toml) as (rooms, _):
            study = {"quiet_seconds": 3600, "quiet_after_association_seconds": 0}
            settings = rooms.settings.model_copy(
                update={"study": rooms.settings.study.model_copy(update=study)}
            )
            patient = replace(rooms, settings=settings)
            group_arrivals(patient)
            if told:
                rooms.ledger.completion.association_ended(listener.ids)
            assert make_complete(patient).transfers == int(told)
