"""The scrub in the scheduler's process."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import structlog

from tests.support.rooms import rooms_at, spooled
from workers.group import group_arrivals
from workers.keep import archive_batch
from workers.rooms import Rooms
from workers.scrub import scrub_until

UID = "1.2.3.4"
FAST = "[archive.scrub]\nround_days = 1e-9\n"


def lines_of(rooms: Rooms, action: str, *, timeout_s: float = 20) -> list[Any]:
    """Run it until a line of that action is there."""
    stop = threading.Event()
    with structlog.testing.capture_logs() as lines:
        runner = threading.Thread(target=scrub_until, args=(rooms, stop), kwargs={"first_after_s": 0.0})
        runner.start()
        deadline = time.monotonic() + timeout_s
        while not [line for line in lines if line.get("action") == action] and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()
        runner.join(10)
    assert not runner.is_alive()
    return [line for line in lines if line.get("action") == action]


def test_damage_is_logged_without_a_patient_and_mended_is_said(tmp_path: Path) -> None:
    """Of a patient's file the log has the SOP Instance UID."""
    with rooms_at(tmp_path / "home", FAST) as (rooms, _):
        spooled(rooms, UID)
        group_arrivals(rooms)
        archive_batch(rooms)
        [path] = (rooms.archive.layout.root / "data").rglob("*.dcm")
        data = path.read_bytes()
        path.unlink()  # it is the spool's file under a second name
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 4]))

        told = lines_of(rooms, "archive.damage")
        assert [(line["sop_instance_uid"], line["damage"]) for line in told] == [(UID, "digest")]
        assert "NO_PATIENT_ID" not in str(told)

        path.write_bytes(data)
        assert [line["sop_instance_uid"] for line in lines_of(rooms, "archive.mended")] == [UID]


def test_a_round_is_told(tmp_path: Path) -> None:
    """How much was read, and how much of it is damaged."""
    with rooms_at(tmp_path / "home", FAST) as (rooms, _):
        spooled(rooms, UID)
        group_arrivals(rooms)
        archive_batch(rooms)

        [line, *_] = lines_of(rooms, "archive.scrubbed")

    assert (line["files"], line["damaged"]) == (1, 0)


def test_it_may_be_turned_off(tmp_path: Path) -> None:
    """Then it ends at once."""
    with rooms_at(tmp_path / "home", "[archive.scrub]\nenabled = false\n") as (rooms, _):
        scrub_until(rooms, threading.Event())
