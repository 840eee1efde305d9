"""`dicomrelay archive list`."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import click

from archive import Archive
from archive.attributes import Level
from archive.index.search import SearchQuery
from dicomrelay.cli.archiving.columns import shown_columns
from dicomrelay.cli.archiving.filters import Asked, asked, filter_options
from dicomrelay.cli.archiving.nested_json import NestedJsonWriter
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.table import TableWriter, terminal_width
from dicomrelay.cli.archiving.tree import TreeWriter, branches
from dicomrelay.cli.archiving.words import counted, format_named
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode


@relay_command(
    about="Show what is in the archive: patients, their studies, the series of these. --json is --format json.",
    examples="dicomrelay archive list\n"
    "dicomrelay archive list --archive /data/archive --show-instances\n"
    "dicomrelay archive list --format table --study-date 20240101-\n"
    "dicomrelay archive list --patient-id 12345 --format json",
)
@archive_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["tree", "table", "json"]),
    help="How it is shown; a table has a row a series.  [default: tree; json with --json]",
)
@click.option(
    "--show-instances", is_flag=True, help="Every instance, too; a table then has a row an instance."
)
@filter_options(Level.STUDY)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="COUNT",
    help="So many studies, or rows of a table, and no more.",
)
def command(
    invocation: Invocation,
    folder: Path | None,
    form: str | None,
    show_instances: bool,
    limit: int | None,
    **options: Any,
) -> int:
    what = asked(options)
    form = format_named(invocation, form, "tree")
    with opened(invocation, folder) as archive:
        if form == "table":
            invocation.say(_table(archive, what, limit, show_instances=show_instances))
        else:
            invocation.say(_nested(archive, what, limit, form, show_instances=show_instances))
    return ExitCode.OK


def _table(archive: Archive, what: Asked, limit: int | None, *, show_instances: bool) -> str:
    level = Level.INSTANCE if show_instances else Level.SERIES
    rows = iter(archive.scan(SearchQuery(level, what.matches)))
    count = 0
    with closing(TableWriter(shown_columns(level, above=False), width=terminal_width())) as writer:
        for row in islice(rows, limit):
            writer.write(row)
            count += 1
    is_more = count == limit and next(rows, None) is not None
    return counted(count, level) + (_MORE if is_more else "")


def _nested(archive: Archive, what: Asked, limit: int | None, form: str, *, show_instances: bool) -> str:
    found = branches(archive, what.matches)
    writer: NestedJsonWriter | TreeWriter
    if form == "json":
        writer = NestedJsonWriter(archive, with_instances=show_instances)
    else:
        writer = TreeWriter(archive, terminal_width(), show_instances)
    for branch in islice(found, limit):
        writer.write(branch)
    is_more = writer.tally.studies == limit and next(found, None) is not None
    if isinstance(writer, NestedJsonWriter):
        writer.close()
    return writer.tally.words() + (_MORE if is_more else "")


_MORE = ", and there are more: --limit is reached"
