"""Runs Flower on our queue, with our settings and no others.

Where nobody is asked who they are it is on loopback, and changes nothing. Flower shows task names and opaque ids: no message of
ours carries more; our pages show what `dicomrelay status` shows.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from dicomrelay import access
from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.net.tls import http_door
from dicomrelay.runtime.queue import build_celery
from dicomrelay.settings import Settings, is_loopback

_log = get_logger("dicomrelay.monitor")


def check(settings: Settings) -> bool:
    """Whether Flower asks who comes.

    Raises
    ------
    ConfigurationError
        It would ask nobody, and others than this machine could come; or the users file cannot be read.
    """
    asks, monitor = access.is_asked(settings), settings.monitor
    if not asks and not is_loopback(monitor.host):
        raise ConfigurationError(
            f"monitor.host is {monitor.host}, which is not loopback, and Flower would ask nobody who they are: make a user first "
            "(`dicomrelay users add`), or set monitor.user and monitor.password"
        )
    return asks


def run(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Run Flower in this process, in its main thread, until SIGTERM or SIGINT.

    Parameters
    ----------
    ready : callable
        Called once the page answers.

    Raises
    ------
    ConfigurationError
        As `check`, the address cannot be had, or a file of the settings cannot be read.
    """
    check(settings)
    monitor = settings.monitor
    for variable in [name for name in os.environ if name.startswith("FLOWER_")]:
        del os.environ[variable]
    from monitor.serving import built, listen  # noqa: PLC0415 - Flower and Celery take half a second

    access_log = logging.getLogger("tornado.access")
    access_log.addHandler(logging.NullHandler())
    access_log.propagate = False
    tls = None if monitor.tls is None else http_door(monitor.tls, "monitor.tls")
    if tls is None and not is_loopback(monitor.host):
        _log.warning(
            "passwords and pages can be read on the way: set [monitor.tls], or have a proxy with TLS in front",
            action="monitor.start",
        )
    application = built(settings, build_celery(settings))
    try:
        listen(application, monitor.host, monitor.port, tls=tls)
    except OSError as error:
        raise ConfigurationError(
            f"monitor: {monitor.host}:{monitor.port} cannot be listened on: {error.strerror or error}"
        ) from error
    signal.signal(signal.SIGTERM, _end)
    # Once the loop runs the page answers: it listens already.
    application.io_loop.add_callback(ready)
    try:
        application.start()
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        application.stop()
        application.settings["house"].looks.close()


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
