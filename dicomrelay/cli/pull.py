"""`dicomrelay pull`: fetch studies from another node into the relay."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.pulling"

command = LazyGroup(
    "pull",
    modules={
        "start": (f"{_HERE}.start", "Ask a node and fetch what it has, as a durable job."),
        "list": (f"{_HERE}.list_pulls", "The newest pulls, or those in one state."),
        "show": (f"{_HERE}.show", "One pull: its studies, how fast it goes, what is missing."),
        "cancel": (f"{_HERE}.cancel", "End it. What has come stays."),
        "retry": (f"{_HERE}.retry", "Try now what waits or was given up."),
    },
    help="Fetch studies from another node: C-FIND, then C-MOVE to our gateway or C-GET, a study at a time, with retries, and a "
    "comparison of what came with what was announced. It goes on by itself, across restarts.",
)
