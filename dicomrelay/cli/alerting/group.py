"""`dicomrelay alerts`: what the relay tells by itself."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.alerting"

command = LazyGroup(
    "alerts",
    modules={
        "list": (f"{_HERE}.list_alerts", "What lasts, and whom it has not reached."),
        "test": (f"{_HERE}.send_trial", "Tell the channels something, to see whether it arrives."),
    },
    help="What the relay tells by itself, by webhook and mail: instances that need attention, destinations that do not answer, "
    "disks that fill, certificates that expire. Who is told stands in [alerts].",
)
