"""`dicomrelay audit list`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from dicomrelay.audit import Audit, Entry, Kind, Outcome, Thing, this_account, trail_of
from dicomrelay.audit.values import as_json
from dicomrelay.cli.options import Invocation, relay_command

_MOST_SHOWN = 5


@relay_command(
    about="The newest entries of the trail, the oldest of them first. An action has two: begun, which is durable before anything "
    "is done, and its outcome.",
    examples="dicomrelay audit list\ndicomrelay audit list --kind action --who anna --days 30\n"
    "dicomrelay audit list --about 1.2.840.113619.2.1 --json",
)
@click.option("--days", type=click.FloatRange(0, 36_500), default=1, show_default=True, help="How far back.")
@click.option(
    "--kind", type=click.Choice([kind.value for kind in Kind]), multiple=True, help="Only these kinds."
)
@click.option("--who", default="", help="Only what this user, account or AE title did.")
@click.option(
    "--about", default="", metavar="UID", help="Only what is about this study, job, user or destination."
)
@click.option("--failed", is_flag=True, help="Only what did not succeed.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="How many at most."
)
def command(
    invocation: Invocation,
    /,
    days: float,
    kind: tuple[str, ...],
    who: str,
    about: str,
    failed: bool,
    limit: int,
) -> None:
    since = datetime.now(UTC) - timedelta(days=days)
    found = deque(
        (
            entry
            for entry in trail_of(invocation.settings).entries(since)
            if (not kind or entry.kind.value in kind)
            and (not who or who in (entry.actor.id, entry.other.id if entry.other else ""))
            and (not about or about in {thing.id for thing in entry.things})
            and (not failed or entry.outcome not in (Outcome.BEGUN, Outcome.SUCCESS))
        ),
        maxlen=limit,
    )
    # Who reads it is in it too (PS3.15 Section A.5.3.2); where it cannot be written it is read all the same.
    folder = invocation.settings.path("audit")
    if folder.is_dir():
        used = Thing("audit", folder.as_uri())
        Audit(invocation.settings).note(Entry(Kind.AUDIT_USED, "audit.list", this_account(), things=(used,)))
    if invocation.as_json:
        invocation.emit([as_json(entry) for entry in found])
        return
    for entry in found:
        click.echo(" ".join(_words(entry)))
    if not found:
        invocation.say("no entry")


def _words(entry: Entry) -> Iterator[str]:
    yield f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    yield f"{entry.kind.value:<11}"
    yield entry.what
    yield f"by {entry.actor.id}{f' at {entry.actor.address}' if entry.actor.address else ''}"
    if entry.other is not None:
        yield f"with {entry.other.id}{f' at {entry.other.address}' if entry.other.address else ''}"
    if entry.things:
        shown = [
            _thing(thing.kind, thing.id, sum(thing.instances.values()))
            for thing in entry.things[:_MOST_SHOWN]
        ]
        more = len(entry.things) - _MOST_SHOWN
        yield f"about {', '.join(shown)}{f' and {more} more' if more > 0 else ''}"
    if entry.outcome is not Outcome.SUCCESS:
        yield f"({entry.outcome.word.replace('_', ' ')})"
    if entry.words:
        yield f"- {entry.words}"


def _thing(kind: str, name: str, instances: int) -> str:
    return f"{kind} {name}{f' ({instances} instances)' if instances else ''}"
