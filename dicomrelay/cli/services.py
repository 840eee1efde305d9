"""Which processes `dicomrelay up` keeps alive, and in which order."""

from __future__ import annotations

import sys
from pathlib import Path

from dicomrelay.runtime import broker
from dicomrelay.runtime.queue import FORWARD_QUEUES, INTAKE_QUEUES, KEEP_QUEUES
from dicomrelay.runtime.service import Service
from dicomrelay.settings import Settings

_BROKER, _WORK, _SHOW = range(3)
_KEEP_NICE = 10
_NO_ENDPOINT = "DICOMRELAY_METRICS__PORT"


def services(settings: Settings, *, config: Path | None) -> list[Service]:
    """The services of one machine: broker, then what works, then what shows.

    Parameters
    ----------
    config : Path, optional
        Handed on to every process, so that all read the same file.
    """

    def own(name: str, *arguments: str, rank: int, stop_grace_s: float = 30) -> Service:
        common = ["--home", str(settings.home), *(["--config", str(config.absolute())] if config else [])]
        argv = [sys.executable, "-m", "dicomrelay", *arguments, *common]
        # `up` answers for all of them at metrics.port.
        return Service(name, lambda: argv, rank, stop_grace_s=stop_grace_s, environment={_NO_ENDPOINT: "0"})

    worker = settings.worker
    found = [
        own("gateway", "gateway", rank=_WORK),
        own(
            "worker-intake",
            *_worker("intake", list(INTAKE_QUEUES), worker.intake_processes),
            rank=_WORK,
            stop_grace_s=20,
        ),
        own(
            "worker-keep",
            *_worker("keep", list(KEEP_QUEUES), worker.keep_processes),
            "--nice",
            str(_KEEP_NICE),
            rank=_WORK,
            stop_grace_s=20,
        ),
        *(
            own(
                f"worker-forward-{number}",
                *_worker(f"forward-{number}", list(FORWARD_QUEUES), worker.forward_transfers),
                rank=_WORK,
                stop_grace_s=20,
            )
            for number in range(1, worker.forward_processes + 1)
        ),
        own("scheduler", "scheduler", rank=_WORK),
        own("streamer", "streamer", rank=_WORK),
    ]
    if settings.audit.enabled and settings.audit.syslog is not None:
        found.append(own("audit", "audit", "ship", rank=_WORK))
    if settings.monitor.enabled:
        found.append(own("monitor", "monitor", rank=_SHOW))
    if settings.broker.url.get_secret_value() == "embedded":
        found.append(
            Service(
                "broker",
                lambda: broker.command(settings),
                _BROKER,
                is_ready=lambda: broker.answers(settings, timeout_s=0.2),
                start_timeout_s=120,
                mend=lambda: broker.put_aside(settings),
            )
        )
    return found


def _worker(name: str, queues: list[str], processes: int) -> list[str]:
    return ["worker", "--name", name, "--queues", ",".join(queues), "--processes", str(processes)]
