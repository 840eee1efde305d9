"""A worker as `dicomrelay worker` is, but for what its task does: it writes down the id that it was woken for, and nothing else.

python -m chaos.message_taker HOME FILE
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import signals

from dicomrelay.runtime.queue import FORWARD_QUEUES, Task, build_celery
from dicomrelay.settings import load


def main(home: str, taken: str) -> None:
    """Take messages of the forward queues until killed."""
    app = build_celery(load(home=Path(home)))
    descriptor = os.open(taken, os.O_WRONLY | os.O_APPEND)

    @app.task(name=Task.FORWARD.value)  # type: ignore[untyped-decorator]
    def take(transfer_id: str) -> None:
        os.write(descriptor, f"{transfer_id}\n".encode())

    signals.setup_logging.connect(lambda **_: None, weak=False)
    queues = ",".join(queue.value for queue in FORWARD_QUEUES)
    app.worker_main(
        ["--quiet", "worker", "--hostname=lost@%h", f"--queues={queues}", "--concurrency=4", "--pool=threads"]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
