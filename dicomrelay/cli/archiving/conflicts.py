"""`dicomrelay archive conflicts`."""

from __future__ import annotations

from dicomrelay.cli.lazy_group import LazyGroup

command = LazyGroup(
    "conflicts",
    modules={
        "list": ("dicomrelay.cli.archiving.conflicts_list", "Every one, the oldest first."),
        "show": (
            "dicomrelay.cli.archiving.conflicts_show",
            "Those of one SOP Instance UID, and where their bytes are.",
        ),
    },
    help="Other bytes that came under a SOP Instance UID that the archive holds: set aside, or refused, as its policy says. Also "
    "what instances of one study say differently about it.",
)
