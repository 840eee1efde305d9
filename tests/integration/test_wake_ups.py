"""Wake-ups through a real embedded broker: what waits on which queue, and a broker that is gone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime import broker, home
from dicomrelay.runtime.process import start, stop
from dicomrelay.runtime.queue import Queue, Task, WakeUps
from dicomrelay.settings import load
from tests.support.house import wait_for


def test_a_wake_up_waits_on_the_queue_of_its_task_until_it_is_taken() -> None:
    """What archives asks so whether arrivals wait; a broker that is gone is an error, and no answer."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:  # a socket's path is short
        settings = load(home=Path(folder))
        home.prepare(settings)
        with (Path(folder) / "broker.log").open("wb") as log:
            server = start(broker.command(settings), output=log)
        wake_ups = WakeUps(settings)
        try:
            wait_for(lambda: broker.answers(settings), timeout_s=20, what="the broker answers")
            assert not wake_ups.is_waiting(Task.GROUP)
            wake_ups.send(Task.GROUP)
            assert wake_ups.is_waiting(Task.GROUP)
            assert not wake_ups.is_waiting(Task.ARCHIVE)
            assert wake_ups.depths()[Queue.GROUP] == 1
        finally:
            stop(server, grace_s=10)
        with pytest.raises(ServiceUnavailable):
            wake_ups.is_waiting(Task.GROUP)
        wake_ups.close()
