"""`dicomrelay jobs`: what is under way, and what a person does about it."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.operating"

command = LazyGroup(
    "jobs",
    modules={
        "list": (f"{_HERE}.list_jobs", "The newest jobs, or those in one state."),
        "show": (f"{_HERE}.show", "One job in figures, its transfers, and what happens next."),
        "retry": (f"{_HERE}.retry", "Try now what waits or needs attention."),
        "hold": (f"{_HERE}.hold", "Stop it until it is released, and what comes of it later."),
        "release": (f"{_HERE}.release", "Let go what is held."),
        "cancel": (f"{_HERE}.cancel", "End it for good. No image is deleted."),
        "replay": (f"{_HERE}.replay", "Send it once more, to the same or another destination."),
    },
    help="What is under way, and what to do about it. A JOB is what was submitted together (`send`, `replay`); a STUDY, by "
    "its UID, is every delivery of that study; a TRANSFER is one batch for one destination.",
)
