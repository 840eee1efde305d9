"""`dicomrelay audit check`."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

import click

from dicomrelay.audit import trail_of
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode

_MOST_SHOWN: Final = 20
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")


@relay_command(
    about="Whether the trail is as it was written: each line names the one before it by its digest, so a line that was changed, "
    "taken out or put in shows. Prints the digest of the last line: note it elsewhere, and give it to --noted later, which "
    "shows an end that was cut off or a trail that was written anew. Exit code 4 when something is not as it was.",
    examples="dicomrelay audit check\ndicomrelay audit check --noted 7f83b1657ff1fc53b92dc18148a1d65d --json",
)
@click.option("--noted", default="", metavar="DIGEST", help="A digest that was printed before.")
def command(invocation: Invocation, noted: str) -> int:
    if noted and not _DIGEST.fullmatch(noted):
        raise ConfigurationError(
            "--noted: a digest has 32 digits from 0 to 9 and a to f, as this command prints it"
        )
    found = trail_of(invocation.settings).check(noted)
    is_lost = bool(noted) and not found.seen
    if invocation.as_json:
        invocation.emit(
            {
                "lines": found.lines,
                "unlinked": found.unlinked,
                "last": found.last,
                "noted_is_there": found.seen if noted else None,
                "breaks": [dataclasses.asdict(each) for each in found.breaks],
            }
        )
    else:
        for each in found.breaks[:_MOST_SHOWN]:
            click.echo(f"{each.segment}:{each.line}: {each.words}")
        if len(found.breaks) > _MOST_SHOWN:
            click.echo(f"and {len(found.breaks) - _MOST_SHOWN} more")
        if is_lost:
            click.echo("no line has the digest that was noted: the trail was cut off or written anew")
        if found.unlinked:
            click.echo(
                f"{found.unlinked} lines say nothing of the one before them: torn by a crash or a full disk, or from before "
                "lines were linked"
            )
        click.echo(f"{found.lines} lines, the last {found.last or 'none'}")
    return ExitCode.INTEGRITY if found.breaks or is_lost else ExitCode.OK
