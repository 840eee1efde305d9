"""One line in the log for each task, at its end, in place of the two that Celery would write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from dicomrelay.log import get_logger
from dicomrelay.runtime.queue import Task

_log = get_logger("dicomrelay.tasks")


@contextmanager
def told(task: Task, task_id: str | None = None) -> Iterator[None]:
    """A task runs while the block does.

    Parameters
    ----------
    task_id : str, optional
        Its id in Flower; by default that of the task which runs in this thread.
    """
    began = time.monotonic()
    if task_id is None:
        task_id = _current()
    try:
        yield
    except BaseException as error:
        # Its words may quote a value or name a file.
        _tell("task.failed", task, task_id, began, error=type(error).__name__)
        raise
    _tell("task.ended", task, task_id, began)


def _current() -> str:
    from celery import current_task  # noqa: PLC0415 - it reads REMAP_SIGTERM when it is imported

    request = getattr(current_task, "request", None)
    return str(getattr(request, "id", None) or "")


def _tell(action: str, task: Task, task_id: str, began: float, **more: str) -> None:
    say = _log.warning if more else _log.info
    say(
        "task",
        action=action,
        task=task.value,
        task_id=task_id,
        seconds=round(time.monotonic() - began, 3),
        **more,
    )
