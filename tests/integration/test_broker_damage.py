"""An embedded broker whose files are damaged: they are put aside, and the server starts empty."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dicomrelay.cli.services import services
from dicomrelay.errors import ServiceError
from dicomrelay.runtime import broker, home
from dicomrelay.runtime.process import start, stop
from dicomrelay.runtime.queue import Queue
from dicomrelay.runtime.service import Service
from dicomrelay.runtime.supervisor import Supervisor
from dicomrelay.settings import Settings, load
from tests.support.house import wait_for

_MANIFEST = "appendonly.aof.manifest"
_BASE = "appendonly.aof.1.base.rdb"
_INCREMENT = "appendonly.aof.1.incr.aof"


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A home whose broker was killed with a wake-up in its file."""
    with tempfile.TemporaryDirectory(prefix="relay-", ignore_cleanup_errors=True) as folder:
        made = load(home=Path(folder))
        home.prepare(made)
        with (Path(folder) / "first.log").open("wb") as log:
            server = start(broker.command(made), output=log)
        try:
            wait_for(lambda: broker.answers(made), timeout_s=20, what="the broker answers")
            assert _asked(made, "RPUSH", Queue.GROUP.value, "a wake-up") == b":1"
        finally:
            stop(server, grace_s=10)
        yield made


def _asked(settings: Settings, *words: str) -> bytes:
    """The first line of the server's answer to a command."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(str(home.broker_socket(settings)))
        sock.sendall(" ".join(json.dumps(word) for word in words).encode() + b"\r\n")
        return sock.recv(64).partition(b"\r\n")[0]


def _service(settings: Settings) -> Service:
    (found,) = (each for each in services(settings, config=None) if each.name == "broker")
    return found


def _supervisor(settings: Settings, say: Callable[[str], None]) -> Supervisor:
    return Supervisor(
        [_service(settings)],
        logs=settings.path("logs"),
        say=say,
        ready_file=settings.path("run", "ready"),
    )


def _waiting_after_start(settings: Settings) -> tuple[int, list[str]]:
    """Start the broker as `up` does; what then waits on the first queue, and what was said."""
    said: list[str] = []
    supervisor = _supervisor(settings, said.append)
    try:
        supervisor.start(threading.Event())
        return int(_asked(settings, "LLEN", Queue.GROUP.value)[1:]), said
    finally:
        supervisor.stop()


def _zeros_behind(folder: Path) -> None:
    path = folder / _INCREMENT
    path.write_bytes(path.read_bytes() + bytes(4096))


def _zeros_instead(folder: Path) -> None:
    path = folder / _INCREMENT
    path.write_bytes(bytes(path.stat().st_size))


def _garbage(folder: Path) -> None:
    (folder / _INCREMENT).write_bytes(b"no command of any server\r\n" * 40)


def _dump_garbage(folder: Path) -> None:
    (folder / _BASE).write_bytes(b"\xa5" * 300)


def _dump_flipped(folder: Path) -> None:
    content = bytearray((folder / _BASE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / _BASE).write_bytes(content)


def _dump_missing(folder: Path) -> None:
    (folder / _BASE).unlink()


def _increment_missing(folder: Path) -> None:
    (folder / _INCREMENT).unlink()


def _manifest_empty(folder: Path) -> None:
    (folder / _MANIFEST).write_bytes(b"")


def _manifest_zeros(folder: Path) -> None:
    (folder / _MANIFEST).write_bytes(bytes(90))


def _not_a_file(folder: Path) -> None:
    (folder / _INCREMENT).unlink()
    (folder / _INCREMENT).mkdir()


def _not_a_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        _zeros_behind,
        _zeros_instead,
        _garbage,
        _dump_garbage,
        _dump_flipped,
        _dump_missing,
        _increment_missing,
        _manifest_empty,
        _manifest_zeros,
        _not_a_file,
        _not_a_folder,
    ],
)
def test_a_server_that_cannot_read_its_files_starts_without_them(
    settings: Settings, damage: Callable[[Path], None]
) -> None:
    """They are kept, one line says where, and the next start needs no mending."""
    damage(settings.path("redis", "appendonlydir"))

    waiting, said = _waiting_after_start(settings)

    assert waiting == 0
    (line,) = (line for line in said if "put aside" in line)
    (aside,) = settings.path("redis").glob("damaged-*")
    assert line.startswith("broker ")
    assert str(aside) in line
    assert [path.name for path in aside.iterdir()] == ["appendonlydir"]
    assert not any("put aside" in line for line in _waiting_after_start(settings)[1])


def test_a_file_that_may_not_be_written_is_put_aside(settings: Settings) -> None:
    """Of root nothing is kept by its mode: the file is made immutable."""
    path = settings.path("redis", "appendonlydir", _INCREMENT)
    if os.getuid():
        path.chmod(0o400)
    else:
        with suppress(FileNotFoundError):
            subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True)
    try:
        with suppress(PermissionError), path.open("ab"):
            pytest.skip("this file system has no immutable files")

        waiting, said = _waiting_after_start(settings)
    finally:
        subprocess.run(["chattr", "-R", "-i", str(settings.path("redis"))], check=False, capture_output=True)
    assert waiting == 0
    assert any("put aside" in line for line in said)


@pytest.mark.parametrize("cut", [True, False])
def test_files_that_can_be_read_stay(settings: Settings, cut: bool) -> None:
    """Whole, or cut in the middle of the last command, as a killed server leaves them: the first wake-up is there."""
    path = settings.path("redis", "appendonlydir", _INCREMENT)
    if cut:
        path.write_bytes(path.read_bytes() + b"*3\r\n$3\r\nSET\r\n$1\r\na")

    waiting, said = _waiting_after_start(settings)

    assert waiting == 1
    assert not any("put aside" in line for line in said)
    assert not list(settings.path("redis").glob("damaged-*"))


def test_files_that_become_unreadable_while_up_runs_are_put_aside_at_the_restart(settings: Settings) -> None:
    """A server that dies later is started again by the same rule."""
    said: list[str] = []
    supervisor = _supervisor(settings, said.append)
    over = threading.Event()
    watcher = threading.Thread(target=supervisor.watch, args=(over,))
    try:
        supervisor.start(over)
        _zeros_behind(settings.path("redis", "appendonlydir"))
        process = supervisor._running[0].process
        assert process is not None
        process.kill()
        watcher.start()
        wait_for(lambda: sum("is ready" in line for line in said) == 2, timeout_s=20, what="it is back")
    finally:
        over.set()
        if watcher.ident is not None:
            watcher.join()
        supervisor.stop()
    assert sum("put aside" in line for line in said) == 1


def test_at_most_three_are_kept_and_an_empty_folder_is_left_alone(settings: Settings) -> None:
    """A disk that goes on damaging them is not filled with what it damaged."""
    redis = settings.path("redis")
    for day in range(1, 6):
        (redis / f"damaged-2001010{day}T000000Z").mkdir()
    assert broker.put_aside(settings)
    assert broker.put_aside(settings) == ""

    names = sorted(path.name for path in redis.iterdir())
    assert names[:2] == ["damaged-20010104T000000Z", "damaged-20010105T000000Z"]
    assert names[2].startswith(f"damaged-{time.gmtime().tm_year}")
    assert len(names) == 3


def test_a_cause_that_is_not_in_the_files_is_an_error_after_one_more_try(settings: Settings) -> None:
    """A socket that cannot be made: the files are not moved again and again."""
    path = home.broker_socket(settings)

    def command() -> list[str]:
        found = broker.command(settings)
        path.mkdir(exist_ok=True)
        (path / "in-the-way").touch()
        return found

    service = _service(settings)
    tries: list[int] = []

    def counted() -> list[str]:
        tries.append(1)
        if path.is_dir():
            (path / "in-the-way").unlink()
            path.rmdir()
        return command()

    supervisor = Supervisor(
        [Service("broker", counted, 0, is_ready=service.is_ready, mend=service.mend)],
        logs=settings.path("logs"),
        say=lambda _: None,
        ready_file=settings.path("run", "ready"),
    )
    try:
        with pytest.raises(ServiceError, match="broker ended at once"):
            supervisor.start(threading.Event())
    finally:
        supervisor.stop()
    assert len(tries) == 2


def test_a_broker_of_somebody_else_has_no_service_and_is_not_mended(tmp_path: Path) -> None:
    """Its files are not ours."""
    (tmp_path / "relay.toml").write_text('[broker]\nurl = "redis://127.0.0.1:1/0"\n')
    other = load(home=tmp_path)
    assert all(each.mend is None and each.name != "broker" for each in services(other, config=None))
