"""`dicomrelay archive`: the archive on the command line."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.archiving"

command = LazyGroup(
    "archive",
    modules={
        "init": (f"{_HERE}.init", "Make a new archive."),
        "import": (f"{_HERE}.import_files", "Put files and folders into it."),
        "query": (f"{_HERE}.query", "Patients, studies, series or instances that match."),
        "list": (f"{_HERE}.list_contents", "What is in it, as a tree."),
        "stats": (f"{_HERE}.stats", "How much is in it, by modality and by year."),
        "export": (f"{_HERE}.export", "Copy out of it: a folder, a ZIP file, with a DICOMDIR."),
        "diff": (f"{_HERE}.diff", "What it and another archive, or a peer, do not have in common."),
        "check": (f"{_HERE}.check", "Hold its index and its files against each other."),
        "scrub": (f"{_HERE}.scrub", "Read every file again, at a set rate, and find bit rot."),
        "conflicts": (f"{_HERE}.conflicts", "Other bytes under a UID that it holds: list, show."),
        "remove": (f"{_HERE}.remove", "Take instances out, with a reason that is kept."),
        "retention": (f"{_HERE}.retention", "Remove what is old enough and delivered everywhere."),
        "rebuild-index": (f"{_HERE}.rebuild_index", "Make its index anew from the files alone."),
        "export-index": (f"{_HERE}.export_index", "Write archive_index.json."),
        "import-index": (f"{_HERE}.import_index", "Take over an archive that has an archive_index.json."),
    },
    help="The archive of the home, or with --archive any other: search it, look at it, put files in and take copies out, check "
    "it, mend it.",
)
