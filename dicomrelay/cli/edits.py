"""`dicomrelay edits`: profiles that change copies on their way out."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.editing"

command = LazyGroup(
    "edits",
    modules={
        "list": (
            f"{_HERE}.list_profiles",
            "The profiles of [[edits]], their versions, and what they are for.",
        ),
        "try": (f"{_HERE}.try_profile", "What a profile does to a file; with --output, the copy."),
        "key": (f"{_HERE}.new_key", "Make the key of a de-identification."),
    },
    help="Profiles of [[edits]]: what is changed in copies on their way to destinations. What arrived stays as it is.",
)
