"""`dicomrelay worklist`: scheduled procedure steps, for modalities that ask for them."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.worklist"

command = LazyGroup(
    "worklist",
    modules={
        "add": (f"{_HERE}.add", "One item, from options."),
        "import": (f"{_HERE}.import_files", "Items from files: .wl, JSON, CSV, HL7 v2 orders."),
        "list": (f"{_HERE}.list_items", "What is scheduled."),
        "show": (f"{_HERE}.show", "All of an item."),
        "set": (f"{_HERE}.set_status", "Give items another status, such as ARRIVED."),
        "remove": (f"{_HERE}.remove", "Take items away."),
    },
    help="The worklist that modalities ask for with C-FIND. An ITEM is one scheduled procedure step, named by its id, its "
    "accession number or its Study Instance UID; the last two may name several.",
)
