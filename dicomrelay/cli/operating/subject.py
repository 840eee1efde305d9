"""What the commands below `jobs` are about, as it is named on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values_operations import EVERYTHING, Subject

METAVAR = "JOB|TRANSFER|STUDY"


def subject_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The ids, and `--destination`."""
    function = click.option(
        "--destination", default="", metavar="NAME", help="Only what goes to this destination."
    )(function)
    return click.argument("ids", metavar=f"[{METAVAR}]...", nargs=-1)(function)


def all_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--all`."""
    return click.option(
        "--all", "everything", is_flag=True, help="Every open transfer, instead of naming some."
    )(function)


def find_subject(ledger: Ledger, text: str) -> Subject:
    """The job, transfer or study of that id.

    Raises
    ------
    ConfigurationError
        There is none.
    """
    subject = ledger.operations.find(text)
    if subject is None:
        raise ConfigurationError(
            f"{text}: no job, transfer or study of this id is here; `dicomrelay jobs list` shows the newest"
        )
    return subject


def find_subjects(ledger: Ledger, ids: Sequence[str], *, everything: bool) -> list[Subject]:
    """What was named, all of it before anything is done.

    Raises
    ------
    ConfigurationError
        One is not here, nothing was named, or both ids and `--all`.
    """
    if bool(ids) == everything:
        raise ConfigurationError(f"say which: {METAVAR}, or --all; not both")
    return [EVERYTHING] if everything else [find_subject(ledger, text) for text in dict.fromkeys(ids)]


def check_destination(ledger: Ledger, name: str) -> None:
    """See that a destination is one, so that a slip of the finger does not look like "nothing to do".

    Raises
    ------
    ConfigurationError
        Its name never came up.
    """
    if name and ledger.destination(name) is None:
        raise ConfigurationError(
            f"--destination {name}: there is no such destination; `dicomrelay destinations` lists them"
        )
