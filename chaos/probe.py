"""How long the gateway takes to acknowledge, one instance after the other, all the time."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Final

from chaos.figures import Figure, percentile
from chaos.senders import Load, Sender
from dicomrelay.dicom.status import Status
from dicomrelay.errors import AssociationError
from dicomrelay.net.limits import Timeouts
from dicomrelay.net.requestor import Association, RemoteAe

_EVERY_S: Final = 0.04
_PER_ASSOCIATION: Final = 200
_SIZE: Final = Load(per_study=50, size_bytes=65_536)
_PATIENCE: Final = Timeouts(connect_s=2, association_s=5, response_s=30, pdu_s=30, release_s=1)
# Of few samples the 99th percentile is the worst one, and says more about the machine than about us.
_ENOUGH: Final = 300


class Prober(Sender):
    """A sender that waits for each answer and notes how long it took; joins the campaign's senders."""

    def __init__(self, remote: RemoteAe, folder: Path, seed: int, stop: threading.Event) -> None:
        super().__init__(remote, folder, seed, stop, load=_SIZE)
        self.samples: list[tuple[float, float]] = []

    def _send_some(self) -> bool:
        instance = self._next()
        contexts = [(instance.item.sop_class_uid, (instance.item.transfer_syntax_uid,))]
        try:
            with Association.request(
                self._remote, calling_ae_title="PROBE", contexts=contexts, timeouts=_PATIENCE
            ) as association:
                for _ in range(_PER_ASSOCIATION):
                    began = time.monotonic()
                    reply = association.store(instance.item)
                    self.samples.append((began, time.monotonic() - began))
                    if reply.status == Status.SUCCESS:
                        self._acknowledged(instance)
                    else:
                        self.tally.refused += 1
                        self._again.append(instance)
                    if self._stop_sending.wait(_EVERY_S):
                        return True
                    instance = self._next()
                self._again.append(instance)
        except AssociationError:
            self._again.append(instance)
            return False
        return True

    def between(self, since_s: float, until_s: float) -> list[float]:
        """Answer times in seconds of what was sent in that time."""
        return [seconds for at_s, seconds in self.samples if since_s <= at_s < until_s]


def compared(normal: list[float], outage: list[float]) -> tuple[Figure, ...]:
    """Answer times in an outage against those before it: the bar is twice as long.

    The bar is on the 99th percentile, and on the median where the samples are few.
    """
    share, word = (0.99, "p99") if min(len(normal), len(outage)) >= _ENOUGH else (0.5, "p50")
    ratio = percentile(outage, share) / percentile(normal, share)
    return (
        Figure("acknowledge p50 before", 1000 * percentile(normal, 0.5), "ms"),
        Figure("acknowledge p50 meanwhile", 1000 * percentile(outage, 0.5), "ms"),
        Figure("acknowledge p99 before", 1000 * percentile(normal, 0.99), "ms"),
        Figure("acknowledge p99 meanwhile", 1000 * percentile(outage, 0.99), "ms"),
        Figure(f"{word} meanwhile against before", -1.0 if math.isnan(ratio) else ratio, "times", bar=2.0),
    )
