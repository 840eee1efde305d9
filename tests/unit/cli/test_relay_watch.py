"""Whether anybody works on what was submitted: the lock of the home tells."""

from __future__ import annotations

from pathlib import Path

from dicomrelay.cli.relay_watch import RelayWatch
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.settings import Settings


def test_the_lock_of_the_home_tells_whether_up_lives(tmp_path: Path) -> None:
    """Held: nothing to say. Let go of: that it does not run, and not asked again within two seconds."""
    settings = Settings.model_validate({"home": tmp_path})
    home.prepare(settings)
    lock = home.HomeLock(settings)
    lock.take()
    now = [0.0]
    watch = RelayWatch(settings, WakeUps(settings), clock=lambda: now[0])
    now[0] = 3
    assert watch.gone() == ""
    lock.release()
    now[0] = 4
    assert watch.gone() == ""
    now[0] = 5
    assert "does not run" in watch.gone()


def test_a_broker_of_ones_own_is_gone_when_it_is_silent_for_long(tmp_path: Path) -> None:
    """A broker may be away for a moment; twenty seconds are no moment."""
    settings = Settings.model_validate(
        {"home": tmp_path, "broker": {"url": "redis://127.0.0.1:1/0", "timeout_s": 1}}
    )
    home.prepare(settings)
    now = [0.0]
    watch = RelayWatch(settings, WakeUps(settings), clock=lambda: now[0])
    now[0] = 10
    assert watch.gone() == ""
    now[0] = 21
    assert "for 21 s now" in watch.gone()
