"""The demo's account is of what is done, and waits for what is not."""

from __future__ import annotations

import dataclasses

from dicomrelay.cli.demo_checks import StudyResult


def test_a_study_is_complete_once_its_frames_are_counted() -> None:
    """Frames are prepared behind the archive: their number was 0 beside "ok" when nobody waited for it."""
    done = StudyResult(
        "1.2", "US", instances=2, received=2, delivered=2, archived=2, framed=2, frames=60, streamed=2
    )
    assert done.complete
    assert not dataclasses.replace(done, framed=1, frames=30).complete
    assert dataclasses.replace(done, frames=0).complete  # a report has none
