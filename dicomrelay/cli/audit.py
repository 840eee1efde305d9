"""`dicomrelay audit`."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.auditing"

command = LazyGroup(
    "audit",
    modules={
        "list": (f"{_HERE}.list_entries", "The newest entries: who did what, and what went where."),
        "check": (f"{_HERE}.check", "Whether the trail is as it was written."),
        "ship": (f"{_HERE}.ship", "Send the trail to the audit repository, as `up` does."),
    },
    help="The audit of this home: what people did, who was not let in, which studies came and went. No "
    "attribute of a patient is in it.",
)
