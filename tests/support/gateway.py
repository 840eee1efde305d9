"""A gateway in a thread of this process, with real sockets and a real spool."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool
from scp_gateway.app import run


@dataclass
class Running:
    """A gateway in this process."""

    settings: Settings
    wakes: threading.Semaphore

    @property
    def remote(self) -> RemoteAe:
        return RemoteAe("DICOMRELAY", "127.0.0.1", self.settings.gateway.port)

    @property
    def spool(self) -> Spool:
        return Spool(self.settings.path("spool"))


@contextmanager
def running(
    home: Path,
    *,
    wake: Callable[[], None] | None = None,
    ended: Callable[[Sequence[str]], None] | None = None,
    peers: Sequence[object] = (),
    sections: Mapping[str, object] = MappingProxyType({}),
    **gateway: object,
) -> Iterator[Running]:
    """The composition root in a thread; stopped at the end. `sections` are other sections of the settings."""
    settings = Settings(
        home=home,
        peers=peers,
        gateway={"port": free_ports(1)[0], "min_free_bytes": 0, **gateway},
        **sections,
    )
    ready, stop, wakes = threading.Event(), threading.Event(), threading.Semaphore(0)
    values = {"wake": wake or wakes.release, "ended": ended, "ready": ready.set, "stop": stop}
    thread = threading.Thread(target=run, args=(settings,), kwargs=values)
    thread.start()
    assert ready.wait(20)
    try:
        yield Running(settings, wakes)
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
