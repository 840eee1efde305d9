"""The lengths of our queues, asked over the broker's socket: the same numbers that Celery's own library gives."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime import broker, home
from dicomrelay.runtime.queue import Queue, Task, WakeUps
from dicomrelay.runtime.queue_depths import depths_at
from tests.support.house import a_home, wait_for

NAMES = [queue.value for queue in Queue]


def test_they_are_what_celery_counts() -> None:
    """On a real broker, with messages in some of the queues."""
    with a_home() as house:
        home.prepare(house.settings)
        path = home.broker_socket(house.settings)
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            depths_at(path, NAMES, timeout_s=1)
        process = subprocess.Popen(broker.command(house.settings), stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: broker.answers(house.settings), timeout_s=20, what="the broker answers")
            wake_ups = WakeUps(house.settings)
            for number in range(3):
                wake_ups.send(Task.FORWARD, ids=[str(number)], queue=Queue.FORWARD_BULK)
            wake_ups.send(Task.GROUP)

            found = depths_at(path, NAMES, timeout_s=5)

            assert found == {queue.value: depth for queue, depth in wake_ups.depths().items()}
            assert (found["forward.bulk"], found["group"], found["archive"]) == (3, 1, 0)
            wake_ups.close()
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize(
    "said", [b"", b"-LOADING the file\r\n" * 8, b":1\r\n", b"HTTP/1.1 400\r\n" * 8, b"x" * 99_999]
)
def test_what_is_no_answer_is_no_number(tmp_path: Path, said: bytes) -> None:
    """Ends, errors, silence and somebody else on the socket: the broker does not answer."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1 << 16)
                peer.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            depths_at(path, NAMES, timeout_s=1)
        thread.join()
