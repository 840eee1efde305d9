"""`dicomrelay mpps`: what modalities say of what they do."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.performing"

command = LazyGroup(
    "mpps",
    modules={
        "list": (f"{_HERE}.list_steps", "The performed procedure steps that changed last."),
        "show": (f"{_HERE}.show", "One of them: its messages, its studies, where it was forwarded to."),
        "retry": (f"{_HERE}.retry", "Forward now what waits or needs attention."),
        "drop": (f"{_HERE}.drop", "Tell a system nothing more of one of them."),
    },
    help="Modality performed procedure steps (MPPS): what modalities say of what they do, and whether the systems in "
    "[[performed_procedure_steps.destinations]] have been told.",
)
