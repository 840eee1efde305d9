"""Instances for a web service, and what `deliver` told of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.errors import RelayError
from dicomrelay.net.outgoing_store import StoreItem
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.proposal import RemoteAe
from dicomrelay.web.values import WebPeer, WebPolicy
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT


@dataclass
class Told:
    """What came of a delivery."""

    answers: dict[str, Answer] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)
    paced: int = 0
    error: RelayError | None = None

    @property
    def outcomes(self) -> dict[str, str]:
        """By key."""
        return {key: answer.outcome.value for key, answer in self.answers.items()}


def target(port: int, *, tls: ssl.SSLContext | None = None, response_s: float = 5.0, **policy: Any) -> Target:
    """A service on loopback."""
    url = policy.pop("url", f"http{'s' if tls else ''}://127.0.0.1:{port}/dicom-web")
    peer = WebPeer(
        WebPolicy(url, **policy), "destinations.cloud", "US", tls=tls, connect_s=2.0, response_s=response_s
    )
    return Target(RemotePeer(RemoteAe("STOW-RS", "127.0.0.1", port), "US"), web=peer)


def instances(folder: Path, count: int, *, size: int = 0) -> list[Instance]:
    """So many instances 1.2.1, 1.2.2 ..., whose keys are their UIDs, each with `size` bytes more than it needs."""
    found = []
    for number in range(1, count + 1):
        uid = f"1.2.{number}"
        content = ENCODERS[EXPLICIT].identity(uid) + bytes(size)
        path = folder / uid
        path.write_bytes(b"RECORD!!" + content)
        found.append(Instance(uid, StoreItem(CT_IMAGE_STORAGE, uid, EXPLICIT, path, 8, len(content))))
    return found


def run(
    found: Sequence[Instance],
    to: Target,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    locate: Callable[[Instance], Path] = lambda instance: instance.item.path,
    pace: Callable[[int], None] | None = None,
) -> Told:
    """Deliver them; an error of the house is kept. By default a pace counts bytes."""
    told = Told()

    def answered(answer: Answer) -> None:
        assert answer.key not in told.answers
        told.answers[answer.key] = answer

    def count(sent: int) -> None:
        told.paced += sent

    try:
        deliver(
            found,
            to,
            locate=locate,
            answered=answered,
            keep_going=keep_going,
            pace=pace or count,
            unanswered=lambda some, *_: told.under_way.extend(each.key for each in some),
        )
    except RelayError as error:
        told.error = error
    return told
