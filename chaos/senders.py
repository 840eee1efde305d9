"""Senders that keep on through every crash of the receiver and write down what it acknowledged."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.instances import Instance, make_instances
from dicomrelay.dicom.status import Status
from dicomrelay.errors import AssociationError
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.requestor import Association, RemoteAe, StoreItem
from dicomrelay.net.service import StoreReply

_PATIENCE: Final = Timeouts(connect_s=2, association_s=2, response_s=5, pdu_s=5, release_s=1)
_PAUSE_S: Final = 0.02
_PER_ASSOCIATION: Final = 40
_PER_STORESCU: Final = 25
# What `storescu -v` says, in this order, for a file that was taken.
_SENDING: Final = re.compile(r"I: Sending file: (.*)")
_ANSWERED: Final = re.compile(r"[IEW]: Received Store Response")
_SUCCESS: Final = re.compile(r"I: Received Store Response \(Success\)")


@dataclass
class Tally:
    """What was offered and what was acknowledged: SOP Instance UID to digest.

    Attributes
    ----------
    acknowledged_at : dict of str to float
        SOP Instance UID to the time of its first acknowledgement, of the monotonic clock.
    statuses : Counter
        What was answered in place of Success, and how often.
    """

    offered: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    acknowledged_at: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    broken_associations: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Load:
    """What a sender puts on the wire.

    Attributes
    ----------
    per_association : int
        Instances sent over one association.
    pause_s : float
        Between two associations.
    per_study, size_bytes : int
        See `make_instances`.
    """

    per_association: int = _PER_ASSOCIATION
    pause_s: float = 0.0
    per_study: int = 0
    size_bytes: int = 0


class Sender(threading.Thread):
    """Sends until `stop` is set. What the receiver did not acknowledge is offered again, now and then as a second copy.

    Parameters
    ----------
    load : Load
        How much, and how fast.

    Attributes
    ----------
    rest : threading.Event
        While it is set, no association begins.
    """

    def __init__(
        self, remote: RemoteAe, folder: Path, seed: int, stop: threading.Event, *, load: Load | None = None
    ) -> None:
        super().__init__(name=f"sender {seed}", daemon=True)
        folder.mkdir()
        self.tally = Tally()
        self.rest = threading.Event()
        self._remote = remote
        self._stop_sending = stop
        self._load = load or Load()
        self._instances = make_instances(
            folder, seed, per_study=self._load.per_study, size=self._load.size_bytes
        )
        self._again: list[Instance] = []

    def _next(self) -> Instance:
        instance = self._again.pop() if self._again else next(self._instances)
        self.tally.offered[instance.item.sop_instance_uid] = instance.digest
        return instance

    def _acknowledged(self, instance: Instance) -> None:
        uid = instance.item.sop_instance_uid
        self.tally.acknowledged_at.setdefault(uid, time.monotonic())
        self.tally.acknowledged[uid] = instance.digest
        instance.item.path.unlink()

    def run(self) -> None:
        """Associate, send, and start over when it breaks."""
        while not self._stop_sending.is_set():
            if self.rest.is_set():
                self._stop_sending.wait(_PAUSE_S)
                continue
            if not self._send_some():
                self.tally.broken_associations += 1
                self._stop_sending.wait(_PAUSE_S)
            if self._load.pause_s:
                self._stop_sending.wait(self._load.pause_s)

    def _send_some(self) -> bool:
        raise NotImplementedError


class EngineSender(Sender):
    """By our own requestor.

    Parameters
    ----------
    window : int
        Requests that it has outstanding at once, if the receiver lets it.
    """

    def __init__(
        self,
        remote: RemoteAe,
        folder: Path,
        seed: int,
        stop: threading.Event,
        *,
        window: int,
        load: Load | None = None,
    ) -> None:
        super().__init__(remote, folder, seed, stop, load=load)
        self._window = window

    def _send_some(self) -> bool:
        first = self._next()
        contexts = [(first.item.sop_class_uid, (first.item.transfer_syntax_uid,))]
        begun = {first.item.sop_instance_uid: first}
        try:
            with Association.request(
                self._remote,
                calling_ae_title="CHAOS",
                contexts=contexts,
                timeouts=_PATIENCE,
                window=self._window,
            ) as association:
                for item, reply in association.stores(self._items(first, begun)):
                    instance = begun.pop(item.sop_instance_uid)
                    if isinstance(reply, StoreReply) and reply.status == Status.SUCCESS:
                        self._acknowledged(instance)
                    else:
                        self.tally.refused += 1
                        if isinstance(reply, StoreReply):
                            self.tally.statuses[reply.status] += 1
                        self._again.append(instance)
        except AssociationError:
            self._again.extend(begun.values())
            return False
        return True

    def _items(self, first: Instance, begun: dict[str, Instance]) -> Iterator[StoreItem]:
        for instance in itertools.chain([first], self._rest()):
            begun[instance.item.sop_instance_uid] = instance
            yield instance.item

    def _rest(self) -> Iterator[Instance]:
        for _ in range(self._load.per_association - 1):
            if self._stop_sending.is_set():
                return
            yield self._next()


class StorescuSender(Sender):
    """By DCMTK's storescu, whose words tell what was acknowledged."""

    @staticmethod
    def is_available() -> bool:
        """Whether storescu is installed."""
        return shutil.which("storescu") is not None

    def _send_some(self) -> bool:
        batch = {
            str(each.item.path): each
            for each in (self._next() for _ in range(min(_PER_STORESCU, self._load.per_association)))
        }
        command = ["storescu", "-v", "-aec", self._remote.ae_title, self._remote.host, str(self._remote.port)]
        done = subprocess.run(
            [*command, *batch],
            env={**os.environ, "TCP_NODELAY": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        sending = ""
        for line in done.stdout.splitlines():
            if begun := _SENDING.match(line):
                sending = begun[1]
            elif _SUCCESS.match(line):
                self._acknowledged(batch.pop(sending))
            elif _ANSWERED.match(line):
                self.tally.refused += 1
        self._again.extend(batch.values())
        return not batch


def send_study(
    remote: RemoteAe, instances: Sequence[Instance], tally: Tally, *, calling_ae_title: str = "CHAOS"
) -> None:
    """Offer these once, over one association, one after the other; what came of it goes into the tally."""
    if not instances:
        return
    for instance in instances:
        tally.offered[instance.item.sop_instance_uid] = instance.digest
    first = instances[0].item
    try:
        with Association.request(
            remote,
            calling_ae_title=calling_ae_title,
            contexts=[(first.sop_class_uid, (first.transfer_syntax_uid,))],
            timeouts=_PATIENCE,
        ) as association:
            for instance in instances:
                reply = association.store(instance.item)
                if reply.status == Status.SUCCESS:
                    uid = instance.item.sop_instance_uid
                    tally.acknowledged_at.setdefault(uid, time.monotonic())
                    tally.acknowledged[uid] = instance.digest
                else:
                    tally.refused += 1
                    tally.statuses[reply.status] += 1
    except AssociationError:
        tally.broken_associations += 1
