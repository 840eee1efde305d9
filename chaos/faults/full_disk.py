"""The disk of the spool fills up: R14. Answered A700, nothing half there, and the door opens by itself."""

from __future__ import annotations

import threading
import time
from typing import Final

from chaos.campaign import judged_at_rest
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.kill_gateway import GATEWAY, Gateway
from chaos.mounts import SmallDisk, missing_root
from chaos.oracle import Account
from chaos.senders import EngineSender, Load, Sender
from dicomrelay.net.requestor import RemoteAe

_MEGABYTE: Final = 1 << 20
_SIZE: Final = 256 * _MEGABYTE
_MARK: Final = 16 * _MEGABYTE
# Four instances fit in what is left, so that the disk fills while they are received.
_LEFT: Final = 1 * _MEGABYTE
_LOAD: Final = Load(per_association=5, pause_s=0.05)
_SENDERS: Final = 3
_FULL_S: Final = 1.0
_OPEN_AGAIN_WITHIN_S: Final = 10.0


def full(run: Run) -> Outcome:
    """Filled and freed again and again, in turn with a low-water mark and without one."""
    total, again, least_free, wrong, partials, refused = Account(), [0.0], float(_SIZE), 0, 0, 0
    for number, mark in enumerate((_MARK, 0)):
        trials = (run.trials + 1 - number) // 2
        if not trials:
            continue
        folder = run.folder / ("marked" if mark else "unmarked")
        folder.mkdir(parents=True)
        # Cycles of a few megabytes each must fit beside the ballast.
        with SmallDisk(folder, _SIZE + trials * 4 * _MEGABYTE) as disk:
            gateway = Gateway(disk.root, GATEWAY, log=folder / "gateway.log", min_free_bytes=mark)
            crew, stop = _crew(run, gateway)
            gateway.start()
            for sender in crew:
                sender.start()
            try:
                for _ in range(trials):
                    time.sleep(0.3)
                    ballast = disk.fill(leave_bytes=mark + _LEFT)
                    time.sleep(_FULL_S)
                    least_free = min(least_free, disk.free_bytes()) if mark else least_free
                    ballast.unlink()
                    again.append(_first_acknowledgement(crew, time.monotonic()))
            finally:
                stop.set()
                for sender in crew:
                    sender.join(30)
                gateway.stop()
            partials += len(list((disk.root / "spool" / "new").glob("*.part")))
            total += judged_at_rest(crew, disk.root)
        wrong += sum(count for s in crew for status, count in s.tally.statuses.items() if status != 0xA700)
        refused += sum(sender.tally.refused for sender in crew)
        run.say(f"{'with' if mark else 'without'} a mark: {refused} refused, again after {max(again):.2f} s")
    return Outcome(
        total,
        (
            Figure("refused with A700", refused - wrong, bar=1, at_least=True),
            Figure("other failures", wrong, bar=0),
            Figure("half written files left", partials, bar=0),
            Figure("first acknowledgement after there was room, the longest", max(again), "s", bar=_OPEN_AGAIN_WITHIN_S),
            Figure("least free while refusing, with a mark of 16 MiB", least_free / _MEGABYTE, "MiB"),
        ),
        note="a tmpfs; half of the trials with a low-water mark, half until the system says ENOSPC",
    )  # fmt: skip


def _crew(run: Run, gateway: Gateway) -> tuple[list[Sender], threading.Event]:
    stop = threading.Event()
    remote = RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port)
    files = run.folder / f"files-{len(list(run.folder.iterdir()))}"
    files.mkdir()
    crew: list[Sender] = [
        EngineSender(remote, files / f"{n}", run.seed * 100 + n, stop, window=1 + 7 * (n % 2), load=_LOAD)
        for n in range(_SENDERS)
    ]
    return crew, stop


def _first_acknowledgement(crew: list[Sender], since_s: float) -> float:
    """Seconds from there to the next; inf when there is none in thrice the bar."""
    while time.monotonic() - since_s < 3 * _OPEN_AGAIN_WITHIN_S:
        times = [max(list(s.tally.acknowledged_at.values()), default=0.0) for s in crew]
        if max(times) > since_s:
            return max(times) - since_s
        time.sleep(0.02)
    return float("inf")


FAULTS: Final = (
    Fault("R14", "the spool's disk fills up while instances come", "fillings", 50, full, missing_root),
)
