"""`dicomrelay archive query`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import click

from archive.index.search import SearchQuery
from dicomrelay.cli.archiving.filters import asked, filter_options
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.ordering import order_options, ordering
from dicomrelay.cli.archiving.words import LEVEL_NAMES, counted, format_named, level_named
from dicomrelay.cli.archiving.writers import WRITERS
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode


@relay_command(
    about="Search the archive: every filter that is given must match; without one, all of it. --json is --format json.",
    examples="dicomrelay archive query --patient-name 'DOE*'\n"
    "dicomrelay archive query --archive /data/archive --modality CT --study-date 20240101-20240131\n"
    "dicomrelay archive query --level series --study-uid 1.2.840.113619.2.1\n"
    "dicomrelay archive query --accession-number 'A17*' --format csv\n"
    "dicomrelay archive query --modality MR --sort StudyDate --reverse --limit 20 --json",
)
@archive_option
@filter_options()
@click.option(
    "--level",
    type=click.Choice(list(LEVEL_NAMES.values()), case_sensitive=False),
    help="What the rows are.  [default: that of the most particular filter; study]",
)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(list(WRITERS)),
    help="How they are shown.  [default: table; json with --json]",
)
@order_options
@click.option("--limit", type=click.IntRange(1), metavar="COUNT", help="So many rows and no more.")
@click.option("--fuzzy", is_flag=True, help="--patient-name finds names that sound alike, too.")
def command(
    invocation: Invocation,
    folder: Path | None,
    level: str | None,
    form: str | None,
    sort: tuple[str, ...],
    reverse: bool,
    limit: int | None,
    fuzzy: bool,
    **options: Any,
) -> int:
    what = asked(options)
    at = level_named(level) if level else what.level
    what.at(at)
    make_writer = WRITERS[format_named(invocation, form, "table")]
    query = SearchQuery(at, what.matches, sort=ordering(sort, reverse=reverse), fuzzy=fuzzy)
    with opened(invocation, folder) as archive:
        rows: Iterator[Mapping[str, Any]] = iter(archive.scan(query))
        count = 0
        with closing(make_writer(at)) as writer:
            for row in islice(rows, limit):
                writer.write(row)
                count += 1
        is_more = count == limit and next(rows, None) is not None
    invocation.say(f"{counted(count, at)}{', and there are more: --limit is reached' if is_more else ''}")
    return ExitCode.OK
