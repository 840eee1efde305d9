"""`dicomrelay jobs replay`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.running import runs_here
from dicomrelay.cli.operating.subject import METAVAR, find_subject
from dicomrelay.cli.operating.words import counted, subject_words
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.summary import new_session_id
from dicomrelay.errors import ConfigurationError, ExitCode, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import DestinationKind, Priority
from dicomrelay.ledger.values_operations import Replayed, ReplayOrder, Subject
from dicomrelay.routing import resolve
from dicomrelay.settings import Settings
from dicomrelay.text import size

_FEW = 5


@relay_command(
    about="Send a study, a job or a transfer once more, from the archive or the spool, to the destinations it had or to others. "
    "It becomes a job of its own, and its id is printed. What a destination has already is left out unless --again is given; "
    "what is still open is left to retry and release. Exit code 1 when bytes that were asked for are not here any more.",
    examples="dicomrelay jobs replay 1.2.840.113619.2.1 --to research\n"
    "dicomrelay jobs replay 1.2.840.113619.2.1 --to PACS@10.0.0.9:104 --priority urgent\n"
    "dicomrelay jobs replay 20260301T081500-3fa9c1 --again",
    audited=Audited("jobs.replay", {"subject_id": "subject", "to": "destination", "uids": "instance"}),
)
@click.argument("subject_id", metavar=METAVAR)
@click.option(
    "--to",
    multiple=True,
    metavar="NAME|AET@HOST:PORT",
    help="Where to, may be repeated.  [default: the destinations it had]",
)
@click.option(
    "--instances", "uids", multiple=True, metavar="UID", help="Only this SOP Instance UID, may be repeated."
)
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    default=Priority.NORMAL.value,
    show_default=True,
    help="Which queue it takes.",
)
@click.option("--again", is_flag=True, help="What was delivered there already too.")
def command(
    invocation: Invocation,
    subject_id: str,
    to: tuple[str, ...],
    uids: tuple[str, ...],
    priority: str,
    again: bool,
) -> int:
    settings = invocation.settings
    with opened_ledger(settings) as ledger:
        subject = find_subject(ledger, subject_id)
        order = ReplayOrder(
            job_id=new_session_id(),
            subject=subject,
            destinations=_known(ledger, settings, to),
            sop_instance_uids=frozenset(uids),
            priority=Priority(priority),
            again=again,
        )
        done = ledger.operations.replay(order, in_archive=partial(_in_archive, invocation))
    if not done.destinations:
        raise ConfigurationError(f"{subject_words(subject)} never went anywhere: say where to with --to")
    following = _next(done, subject, runs=runs_here(settings))
    if invocation.as_json:
        invocation.emit({**dataclasses.asdict(done), "next": following})
    else:
        for line in (*_lines(done, subject), following):
            invocation.say(line)
        if done.job_id:
            click.echo(done.job_id)
    return ExitCode.SOME_FAILED if done.gone or done.unknown else ExitCode.OK


def _in_archive(invocation: Invocation, uids: Sequence[str]) -> set[str]:
    """Of these SOP Instance UIDs those whose file the archive has; none where there is no archive."""
    # Here, for it brings pydicom with it, and most of what is sent again is in the spool.
    from dicomrelay.cli.archiving.opening import opened_at, place_of  # noqa: PLC0415

    place = place_of(invocation, None)
    if not place.is_there:
        return set()
    with opened_at(place) as archive:
        try:
            return archive.inventory().whole(uids)
        except OSError as error:
            raise ServiceUnavailable(f"the archive cannot be looked into: {error.strerror}") from None


def _known(ledger: Ledger, settings: Settings, to: tuple[str, ...]) -> tuple[str, ...]:
    """The names, after the ledger was told of those that are addresses."""
    found = [resolve(text, settings.destinations) for text in dict.fromkeys(to)]
    ledger.sync_destinations([each.info() for each in found if each.kind is DestinationKind.AD_HOC])
    missing = [each.name for each in found if ledger.destination(each.name) is None]
    if missing:
        # The scheduler writes the settings' destinations at its start.
        ledger.sync_destinations([each.info() for each in found if each.name in missing])
    return tuple(each.name for each in found)


def _lines(done: Replayed, subject: Subject) -> Iterator[str]:
    about = subject_words(subject)
    names = ", ".join(done.destinations)
    if done.queued:
        yield f"{about}: {counted(done.queued, 'instance')} ({size(done.bytes)}) queued to {names} as job {done.job_id}"
    else:
        yield f"{about}: nothing queued to {names}"
    if done.delivered_before:
        yield f"    {done.delivered_before} left out: they were delivered there (--again sends them once more)"
    if done.open:
        yield f"    {done.open} left out: on their way there, or in need of attention (`dicomrelay jobs retry {subject.id}`)"
    for uids, why in ((done.gone, "not here any more"), (done.unknown, "not among its instances")):
        if uids:
            more = f" and {len(uids) - _FEW} more" if len(uids) > _FEW else ""
            yield f"    {len(uids)} left out: {why}: {', '.join(uids[:_FEW])}{more}"


def _next(done: Replayed, subject: Subject, *, runs: bool) -> str:
    if not done.queued and not done.open and done.delivered_before:
        return "next: nothing; --again sends it once more"
    if not done.queued and done.gone and not done.open:
        return "next: send it again from where it came: nothing here has its bytes"
    if not done.queued:
        return f"next: `dicomrelay jobs show {subject.id}` tells where it is"
    if not runs:
        return "next: nothing runs on this home: it is sent when `dicomrelay up` runs"
    return f"next: it is sent within seconds; `dicomrelay jobs show {done.job_id}` tells how it goes"
