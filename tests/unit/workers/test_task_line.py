"""The line of a task."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from dicomrelay.runtime.queue import Task
from workers.task_line import told


def test_a_task_is_one_line() -> None:
    """Which, and how long."""
    with capture_logs() as lines, told(Task.GROUP, "id-1"):
        pass
    (line,) = lines
    assert (line["action"], line["task"], line["task_id"]) == ("task.ended", Task.GROUP.value, "id-1")


def test_one_that_fails_is_told_by_the_kind_of_its_error() -> None:
    """Its words may name a file, and a file a patient."""
    with capture_logs() as lines, pytest.raises(OSError, match="CANARY"), told(Task.ARCHIVE, "id-2"):
        raise OSError(2, "CANARY", "/archive/data/CANARY")
    (line,) = lines
    assert (line["action"], line["error"], line["log_level"]) == (
        "task.failed",
        "FileNotFoundError",
        "warning",
    )
    assert "CANARY" not in repr(line)
