"""Runs Flower on our queue, with our settings and no others.

Without user and password it is read-only and on loopback (the settings refuse anything else). Flower shows task names
and opaque ids: no message of ours carries more.
"""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

from dicomrelay.runtime.queue import build_celery
from dicomrelay.settings import MonitorSettings, Settings
from monitor import metrics_pages

_PROBE_S = 0.2
# A task is an event or two; the newest few thousand are what a person looks at (mher/flower issue 1305).
_MAX_TASKS = 5000


def options(monitor: MonitorSettings) -> list[str]:
    """Flower's options; the password is not among them, since a command line can be read by others."""
    return [
        f"--address={monitor.host}",
        f"--port={monitor.port}",
        f"--read_only={monitor.user is None}",
        f"--max_tasks={_MAX_TASKS}",
        "--purge_offline_workers=60",
        # Else a flowerconfig.py in the current folder would be run.
        f"--conf={os.devnull}",
    ]


def run(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Run Flower in this process, in its main thread, until SIGTERM or SIGINT.

    Parameters
    ----------
    ready : callable
        Called once the page answers.
    """
    for variable in [name for name in os.environ if name.startswith("FLOWER_")]:
        del os.environ[variable]
    monitor = settings.monitor
    if monitor.user is not None and monitor.password is not None:
        os.environ["FLOWER_BASIC_AUTH"] = f"{monitor.user}:{monitor.password.get_secret_value()}"
    metrics_pages.install(settings)
    threading.Thread(target=_tell_when_ready, args=(monitor, ready), daemon=True).start()
    build_celery(settings).start(["flower", *options(monitor)])


def is_ready(monitor: MonitorSettings) -> bool:
    """Whether the page answers."""
    host = f"[{monitor.host}]" if ":" in monitor.host else monitor.host
    try:
        with urllib.request.urlopen(f"http://{host}:{monitor.port}/healthcheck", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _tell_when_ready(monitor: MonitorSettings, ready: Callable[[], None]) -> None:
    pause = threading.Event()
    while not is_ready(monitor):
        pause.wait(_PROBE_S)
    ready()
