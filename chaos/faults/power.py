"""The power goes: R11. An ext4 in a file is shut down without its journal being written, and everything is killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chaos.campaign import campaign, judged_at_rest
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.kill_gateway import GATEWAY, Gateway
from chaos.mounts import LoopDisk, missing_loop
from chaos.oracle import Account
from chaos.senders import EngineSender, Load, Sender
from dicomrelay.net.requestor import RemoteAe

_LOAD: Final = Load(per_association=15, pause_s=0.03)
_LONGEST_LIFE_S: Final = 0.8
_SENDERS: Final = 3
_MEGABYTE: Final = 1 << 20
_CONTROLS: Final = 4
_CAUGHT_UP_WITHIN_S: Final = 120.0


def blind_flushes() -> tuple[str, ...]:
    """What makes every flush of a command say yes and do nothing; () where nothing can."""
    if shutil.which("eatmydata"):
        return ("eatmydata",)
    if shutil.which("strace"):
        inject = "inject=fsync,fdatasync,sync_file_range,msync:retval=0"
        calls = "trace=fsync,fdatasync,sync_file_range,msync"
        return ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", calls, "-e", inject)
    return ()


def cut_gateway(folder: Path, trials: int, seed: int, command: Sequence[str], *, chance: Run) -> Account:
    """Cut the power of a gateway's disk again and again while it receives; the spool is read after the last start."""
    folder.mkdir(parents=True)
    random = chance.chance
    stop = threading.Event()
    with LoopDisk(folder, (256 + 48 * trials) * _MEGABYTE) as disk:
        gateway = Gateway(disk.root, command, log=folder / "gateway.log")
        disk.flush()
        remote = RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port)
        crew: list[Sender] = [
            EngineSender(
                remote, folder / f"files-{n}", seed * 100 + n, stop, window=1 + 7 * (n % 2), load=_LOAD
            )
            for n in range(_SENDERS)
        ]
        gateway.start()
        for sender in crew:
            sender.start()
        try:
            for _ in range(trials):
                time.sleep(random.uniform(0.05, _LONGEST_LIFE_S))
                disk.cut()
                gateway.kill()
                disk.unmount()
                disk.mount()
                gateway.start()
        finally:
            stop.set()
            for sender in crew:
                sender.join(30)
            gateway.stop()
        return judged_at_rest(crew, disk.root)


def gateway(run: Run) -> Outcome:
    """The gateway alone, and the control: flushes that do nothing must be found out."""
    account = cut_gateway(run.folder / "real", run.trials, run.seed, GATEWAY, chance=run)
    blind = blind_flushes()
    if not blind:
        return Outcome(account, control="none: neither eatmydata nor strace is installed")
    run.say(f"{account}; now with {blind[0]}")
    control = cut_gateway(run.folder / "control", _CONTROLS, run.seed, (*blind, *GATEWAY), chance=run)
    found = control.lost + control.corrupt
    return Outcome(
        account,
        control=f"with {blind[0]}, {_CONTROLS} cuts lost {control.lost} of {control.acknowledged}, "
        f"{control.corrupt} corrupt",
        control_found=found > 0,
        note="the gateway alone, its spool read afterwards; writes that fail in the moment of the cut are refused (A700)",
    )


def whole_relay(run: Run) -> Outcome:
    """Spool, ledger, broker and archive on the disk whose power goes."""
    seconds: list[float] = []
    with (
        LoopDisk(run.folder, (1024 + 96 * run.trials) * _MEGABYTE) as disk,
        campaign(run.folder / "outside", run.seed, relay_home=disk.root / "relay") as under_load,
    ):
        disk.flush()
        for _ in range(run.trials):
            time.sleep(run.chance.uniform(0.5, 3.0))
            disk.cut()
            under_load.relay.kill_everything()
            disk.unmount()
            disk.mount()
            under_load.relay.start()
            seconds.append(under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S))
            run.say(f"all of before the cut has arrived {seconds[-1]:.1f} s after the start")
        account = under_load.finish()
    return Outcome(
        account,
        (
            Figure("all of before has arrived after the start, the longest", max(seconds), "s", bar=60),
            Figure("duplicates for a cut", account.duplicates / run.trials),
        ),
    )


FAULTS: Final = (
    Fault("R11", "power cut of the gateway's disk", "cuts", 100, gateway, missing_loop),
    Fault("R11-relay", "power cut of the whole relay's disk", "cuts", 10, whole_relay, missing_loop),
)
