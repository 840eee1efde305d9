"""`dicomrelay viewer`: viewers beside the one that is built in."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.viewing"

command = LazyGroup(
    "viewer",
    modules={
        "install": (f"{_HERE}.install", "Put OHIF beside the viewer that is built in."),
        "show": (f"{_HERE}.show", "Which viewers there are, and where."),
        "remove": (f"{_HERE}.remove", "Take OHIF away again."),
    },
    help="Viewers. One is built in, at the streamer's root; OHIF can be installed beside it and is then at /ohif/.",
)
