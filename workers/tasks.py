"""The Celery tasks: a name, a plain function behind it, and who is told next."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.log import get_logger
from dicomrelay.runtime.queue import Task
from workers import group, keep, pull, reports, verify
from workers.batches import TASK_S, paced, until_empty
from workers.figures import task_timed
from workers.forwarding import Forwarding
from workers.rooms import Rooms
from workers.task_line import told

if TYPE_CHECKING:
    from celery import Celery

_log = get_logger("dicomrelay.tasks")
# While instances arrive one by one, they are taken in lots of a tenth of a second to be forwarded, of half a second to be kept.
_GROUP_PAUSE_S = 0.1
_KEEP_PAUSE_S = 0.5


def register(app: Celery, rooms: Callable[[], Rooms], forwarding: Callable[[], Forwarding]) -> None:
    """Put the tasks on the application. `rooms` and `forwarding` give this process's own."""

    def task(name: Task) -> Callable[[Callable[..., None]], Any]:
        decorate: Callable[[Callable[..., None]], Any] = app.task(name=name.value, ignore_result=True)
        return lambda function: decorate(_timed(name, function))

    @task(Task.GROUP)
    def group_arrivals(*association_ids: str) -> None:
        if association_ids:
            rooms().ledger.completion.association_ended(association_ids)
        archiving = Once(lambda: _wake(rooms(), Task.ARCHIVE))
        done = group.group_arrivals(rooms(), each=archiving, pause_s=_GROUP_PAUSE_S)
        if done.verdicts:
            _wake(rooms(), Task.ARCHIVE)
        if done.more:
            _wake(rooms(), Task.GROUP)

    @task(Task.FORWARD)
    def forward_transfer(transfer_id: str) -> None:  # noqa: ARG001 - a spark: what goes first is what is sent
        forwarding().run()

    @task(Task.ARCHIVE)
    def archive_batches() -> None:
        if _batches(rooms(), Task.ARCHIVE, keep.archive_batch, pause_s=_KEEP_PAUSE_S):
            _wake(rooms(), Task.FRAMES)

    @task(Task.FRAMES)
    def frames_batches() -> None:
        _batches(rooms(), Task.FRAMES, keep.frames_batch, pause_s=_KEEP_PAUSE_S)

    @task(Task.RELEASE)
    def release_batches() -> None:
        _batches(rooms(), Task.RELEASE, keep.release_batch)

    _register_verification(task, rooms)


def _timed(name: Task, function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def run(*ids: str) -> None:
        with task_timed(name), told(name):
            function(*ids)

    return run


def _register_verification(
    task: Callable[[Task], Callable[[Callable[..., None]], Any]], rooms: Callable[[], Rooms]
) -> None:
    @task(Task.VERIFY)
    def verify_delivered(verification_id: str) -> None:
        verify.verify_from(rooms(), verification_id, for_s=TASK_S)

    @task(Task.PULL)
    def pull_step(step_id: str) -> None:
        pull.pull_from(rooms(), step_id, for_s=TASK_S)

    @task(Task.REPORTS)
    def take_reports() -> None:
        until_empty(lambda: reports.take_reports(rooms()), lambda: False)


class Once:
    """Something to be done the first time only."""

    def __init__(self, does: Callable[[], None]) -> None:
        self._does: Callable[[], None] | None = does

    def __call__(self) -> None:
        does, self._does = self._does, None
        if does is not None:
            does()


def _batches(rooms: Rooms, task: Task, batch: Callable[[Rooms], int], *, pause_s: float = 0.0) -> int:
    """Batches of a stage; how many instances. What has just arrived is registered first: it has to be forwarded."""
    few = rooms.settings.worker.batch_instances // 2
    total, is_left = until_empty(
        lambda: paced(lambda: batch(rooms), few=few, pause_s=pause_s), lambda: _is_waiting(rooms, Task.GROUP)
    )
    if is_left:
        _wake(rooms, task)  # behind what it made way for
    return total


def _is_waiting(rooms: Rooms, task: Task) -> bool:
    """Whether nobody has taken the last wake-up yet; when the broker does not say, nobody waits."""
    try:
        return rooms.wake_ups.is_waiting(task)
    except ServiceUnavailable:
        return False


def _wake(rooms: Rooms, task: Task) -> None:
    try:
        rooms.wake_ups.send(task)
    except ServiceUnavailable as error:
        _log.warning("not woken, the sweeper will", task=task.value, reason=str(error))
