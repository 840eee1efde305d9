"""`--sort` and `--reverse`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from archive.attributes import ATTRIBUTES, Level
from dicomrelay.cli.archiving.columns import COUNTS
from dicomrelay.errors import ConfigurationError

_NAMES: Final = {
    name.lower(): name
    for name in (
        *(attribute.keyword for attribute in ATTRIBUTES),
        *(keyword for level in Level for keyword in COUNTS[level]),
    )
}


def order_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--sort` and `--reverse`."""
    function = click.option("--reverse", is_flag=True, help="With --sort: the other way round.")(function)
    return click.option(
        "--sort",
        multiple=True,
        metavar="KEYWORD",
        help="Order by an attribute or a count of the rows, such as StudyDate or -StudyDate (the largest first). Repeatable.  "
        "[default: studies with the newest first, others as they came]",
    )(function)


def ordering(given: Sequence[str], *, reverse: bool) -> tuple[str, ...]:
    """What the index sorts by.

    Raises
    ------
    ConfigurationError
        There is no such attribute, or nothing to reverse.
    """
    if reverse and not given:
        raise ConfigurationError("--reverse: say with --sort what by")
    order = []
    for text in given:
        name = text.removeprefix("-").lower()
        if name not in _NAMES:
            raise ConfigurationError(
                f"--sort {text}: rows have no such attribute; they have {', '.join(sorted(_NAMES.values()))}"
            )
        falls = text.startswith("-") is not reverse
        order.append(f"{'-' if falls else ''}{_NAMES[name]}")
    return tuple(order)
