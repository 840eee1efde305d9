"""Services are started in order, restarted when they die, and stopped in reverse."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceError
from dicomrelay.runtime.not_ready import shown
from dicomrelay.runtime.service import Service
from dicomrelay.runtime.supervisor import Supervisor

_READY = (
    "import os, socket, signal, time; print(os.getpid(), flush=True)\n"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n"
    "signal.pause()\n"
)


def _service(name: str, code: str = _READY, rank: int = 0, **more: float) -> Service:
    return Service(name, lambda: [sys.executable, "-c", code], rank, **more)  # type: ignore[arg-type]


@contextmanager
def _running(tmp_path: Path, *services: Service) -> Iterator[tuple[list[str], Path]]:
    said: list[str] = []
    ready_file = tmp_path / "ready"
    supervisor = Supervisor(services, logs=tmp_path, say=said.append, ready_file=ready_file)
    stop = threading.Event()
    watcher = threading.Thread(target=supervisor.watch, args=(stop,))
    try:
        supervisor.start(threading.Event())
        watcher.start()
        yield said, ready_file
    finally:
        stop.set()
        if watcher.ident is not None:
            watcher.join()
        supervisor.stop()


def _process_id(tmp_path: Path, name: str) -> int:
    """The last that a service of that name has said."""
    return int((tmp_path / f"{name}.log").read_text("utf-8").split()[-1])


def _wait(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("it did not come about within ten seconds")


def test_lower_ranks_are_ready_before_higher_ones_start(tmp_path: Path) -> None:
    """The broker is there before who needs it."""
    with _running(tmp_path, _service("second", rank=1), _service("first", rank=0)) as (said, ready_file):
        _wait(ready_file.exists)

        assert [line.split()[0] for line in said] == ["first", "second"]


def test_a_service_that_was_killed_is_started_again_and_ready_is_withdrawn_meanwhile(tmp_path: Path) -> None:
    """A line says so, and the ready file tells scripts the truth."""
    with _running(tmp_path, _service("one")) as (said, ready_file):
        _wait(ready_file.exists)
        first = _process_id(tmp_path, "one")
        os.kill(first, signal.SIGKILL)
        _wait(lambda: not ready_file.exists())
        _wait(ready_file.exists)

        assert _process_id(tmp_path, "one") != first
        assert any("one died (signal 9); starts again" in line for line in said)


def test_a_service_that_is_held_back_is_named_with_the_time_of_its_next_start(tmp_path: Path) -> None:
    """For `dicomrelay status`; when all are ready nothing is left of it."""
    flag = tmp_path / "fails"
    code = f"import os, sys\nif os.path.exists({str(flag)!r}): sys.exit(1)\n" + _READY
    with _running(tmp_path, _service("one", code), _service("two")) as (_, ready_file):
        _wait(ready_file.exists)
        flag.touch()
        os.kill(_process_id(tmp_path, "one"), signal.SIGKILL)
        _wait(lambda: any(each.again_at_s is not None for each in shown(tmp_path)))
        (held,) = shown(tmp_path)
        flag.unlink()
        _wait(ready_file.exists)
        _wait(lambda: shown(tmp_path) == ())

    assert held.name == "one"
    assert held.again_at_s is not None
    assert abs(held.again_at_s - time.time()) < 30


def test_a_service_that_ends_at_its_first_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    """The reason is in the message, not in a file to look for."""
    supervisor = Supervisor(
        [_service("bad", "import sys; sys.exit('port 1 is taken')")],
        logs=tmp_path,
        say=lambda _: None,
        ready_file=tmp_path / "ready",
    )

    with pytest.raises(ServiceError, match=r"bad ended at once \(exit code 1\): port 1 is taken"):
        supervisor.start(threading.Event())
    supervisor.stop()


@pytest.mark.parametrize("dies", [False, True])
def test_a_service_that_is_slow_holds_up_no_other(tmp_path: Path, dies: bool) -> None:
    """It lives, so it is waited for; when it dies after all it is started again, and those that are there stay."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    been = tmp_path / "been"
    wait = f"import os\nif not os.path.exists({str(been)!r}):\n open({str(been)!r}, 'w'); open({str(gate)!r}).read()\n"
    slow = wait + (" os._exit(1)\n" if dies else "") + _READY
    said: list[str] = []
    named: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("second is ready"):
            named.extend(each.name for each in shown(tmp_path))
            gate.open("w").close()  # only now does it come any further

    supervisor = Supervisor(
        [_service("slow", slow, rank=0, start_timeout_s=0), _service("second", rank=1)],
        logs=tmp_path,
        say=say,
        ready_file=tmp_path / "ready",
    )
    try:
        supervisor.start(threading.Event())
    finally:
        supervisor.stop()

    assert said[0].startswith("slow is not ready after 0 s and is waited for, the others go on; see ")
    assert said[1].startswith("second is ready")
    assert len(said) == 3 + dies
    assert said[2].startswith("slow died (exit code 1); starts again" if dies else "slow is ready")
    assert said[-1].startswith("slow is ready")
    assert "slow" in named


def test_who_dies_while_what_it_needs_is_slow_is_started_again(tmp_path: Path) -> None:
    """It may have died for want of it, so that is no reason to end all."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    there = tmp_path / "there"
    slow = f"open({str(gate)!r}).read(); open({str(there)!r}, 'w')\n" + _READY
    needy = f"import os, sys\nif not os.path.exists({str(there)!r}): sys.exit('nobody there')\n" + _READY
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("needy died") and gate.exists():
            gate.open("w").close()
            gate.unlink()

    supervisor = Supervisor(
        [_service("slow", slow, rank=0, start_timeout_s=0), _service("needy", needy, rank=1)],
        logs=tmp_path,
        say=say,
        ready_file=tmp_path / "ready",
    )
    try:
        supervisor.start(threading.Event())
    finally:
        supervisor.stop()

    assert said[1].startswith("needy died (exit code 1); starts again in 0.5 s")
    assert {"slow", "needy"} <= {line.split()[0] for line in said if " is ready (" in line}


def test_a_service_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    """Stopping has an end too."""
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _READY
    with _running(tmp_path, _service("stubborn", stubborn, stop_grace_s=0.2)) as (
        said,
        ready_file,
    ):
        _wait(ready_file.exists)
        pid = _process_id(tmp_path, "stubborn")

    assert any("stubborn did not stop" in line for line in said)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not ready_file.exists()
