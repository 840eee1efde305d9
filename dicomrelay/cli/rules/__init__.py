"""`dicomrelay rules`: what decides where instances go, and what it would decide."""

from __future__ import annotations

from typing import Final

from dicomrelay.cli.lazy_group import LazyGroup

_HERE: Final = "dicomrelay.cli.rules"

command = LazyGroup(
    "rules",
    modules={
        "check": (
            f"{_HERE}.check",
            "What is wrong with the rules, with file and line, before they are in force.",
        ),
        "explain": (f"{_HERE}.explain", "Why an instance goes where it goes, test by test."),
        "replay": (f"{_HERE}.replay", "What other rules would have decided about what came."),
        "activate": (f"{_HERE}.activate", "Put a file of rules in force, if it changes no more than it may."),
        "history": (f"{_HERE}.history", "Which rules were in force, and what each version says."),
    },
    help="The rules that decide where instances go: [[rules]] of the settings, or the file that `rules_file` names. "
    "`docs/howto/rules.md` shows how to write, try and change them.",
)
