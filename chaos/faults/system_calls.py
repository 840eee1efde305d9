"""Every boundary between two system calls of the gateway: R2 kills there, R12 lets the call fail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from chaos.campaign import spooled
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.instances import Instance, make_instances
from chaos.kill_gateway import GATEWAY, Gateway
from chaos.oracle import Account, Findings, judge
from chaos.senders import Tally, send_study
from dicomrelay.net.requestor import RemoteAe

# What a commit, the reserve and the start are made of.
_CALLS: Final = ("pwritev2", "fdatasync", "rename", "sendto", "fsync", "openat", "flock")
_DISK_CALLS: Final = ("pwritev2", "fdatasync", "rename", "fsync")
_INSTANCES: Final = 6
_IMPORTS: Final = 1500  # openat calls of a Python that starts


def missing_strace() -> str:
    """Why system calls cannot be tampered with; "" when they can."""
    return "" if shutil.which("strace") else "strace is not installed"


def _traced(call: str, inject: str) -> tuple[str, ...]:
    return (
        "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{inject}",
        *GATEWAY,
    )  # fmt: skip


def _points(calls: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The first call of each, the second of each and so on; the counts are those of each thread."""
    k = 0
    while True:
        k += 1
        for call in calls:
            yield call, k + (_IMPORTS if call == "openat" else 0)


def _one(folder: Path, instances: list[Instance], inject: str, call: str) -> tuple[Account, Tally, int, bool]:
    """A gateway with its injection gets a few instances, and then one without it: the spool after that."""
    folder.mkdir(parents=True)
    gateway = Gateway(folder, _traced(call, inject))
    tally = Tally()
    remote = RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port)
    started = True
    try:
        gateway.start()
    except SystemExit:
        started = False
    else:
        send_study(remote, instances, tally)
    was_met = not started or tally.broken_associations + tally.refused > 0
    gateway.kill()
    gateway.command = GATEWAY
    gateway.start()
    left = [each for each in instances if each.item.sop_instance_uid not in tally.acknowledged]
    send_study(remote, left, tally)
    gateway.stop()
    partials = len(list((folder / "spool" / "new").glob("*.part")))
    held, damaged = spooled(folder)
    account = judge(
        Findings(tally.offered, set(tally.acknowledged), {}, held, put_away=damaged, refused=tally.refused)
    )
    shutil.rmtree(folder)
    return account, tally, partials, was_met


def tampered(run: Run, calls: tuple[str, ...], injections: tuple[str, ...]) -> Outcome:
    """`run.trials` points, the injections in turn."""
    total, partials, met, wrong = Account(), 0, 0, 0
    broken = 0
    files = run.folder / "files"
    files.mkdir(parents=True)
    made = make_instances(files, run.seed, per_study=_INSTANCES)
    for number, (call, k) in enumerate(islice(_points(calls), run.trials)):
        inject = injections[number % len(injections)].format(k=k)
        account, tally, left, was_met = _one(
            run.folder / f"{number}", list(islice(made, _INSTANCES)), inject, call
        )
        total += account
        partials += left
        met += was_met
        broken += tally.broken_associations
        wrong += sum(count for status, count in tally.statuses.items() if status >> 8 != 0xA7)
        if not account.is_clean or left:
            run.say(f"{call} {inject}: {account}, {left} partial files")
    return Outcome(
        total,
        (
            Figure("half written files left", partials, bar=0),
            Figure("failures that are not A7xx", wrong, bar=0),
            Figure("refused with A7xx", total.refused - wrong),
            Figure("associations broken", broken),
            Figure("points at which it died, or refused", met, bar=run.trials / 5, at_least=True),
            Figure(
                "acknowledged in the end, of those offered",
                total.acknowledged / max(1, total.offered),
                bar=1,
                at_least=True,
            ),
        ),
        note=f"{', '.join(calls)}: the k-th of each thread, k up to {-(-run.trials // len(calls))}",
    )


def killed_at(run: Run) -> Outcome:
    """R2."""
    return tampered(run, _CALLS, ("signal=KILL:when={k}",))


def failing(run: Run) -> Outcome:
    """R12: once, and from then on."""
    return tampered(run, _DISK_CALLS, ("error=EIO:when={k}", "error=EIO:when={k}+", "error=ENOSPC:when={k}"))


FAULTS: Final = (
    Fault("R2", "SIGKILL of the gateway at its k-th system call", "points", 80, killed_at, missing_strace),
    Fault(
        "R12",
        "the k-th system call of the gateway fails with EIO or ENOSPC",
        "points",
        60,
        failing,
        missing_strace,
    ),
)
