"""`dicomrelay jobs show`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

import click

from dicomrelay.cli.discretion import in_our_words
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating import words
from dicomrelay.cli.operating.list_jobs import age
from dicomrelay.cli.operating.running import runs_here
from dicomrelay.cli.operating.stopping import nothing_moves, stopped_of, stoppers
from dicomrelay.cli.operating.subject import METAVAR, find_subject
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ExitCode
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import DestinationSummary, TransferState
from dicomrelay.ledger.values_operations import JobRow, Reason, Subject, SubjectKind, TransferRow
from dicomrelay.text import size

_NOTES = {"warnings": "with warnings"} | words.STANDS


@relay_command(
    about="A job, a study or a transfer: how many of its instances each destination has, the transfers with their attempts and "
    "reasons, and what happens next. Exit code 1 when something of it needs attention.",
    examples="dicomrelay jobs show 1.2.840.113619.2.1\ndicomrelay jobs show 20260301T081500-3fa9c1 --json",
)
@click.argument("subject_id", metavar=METAVAR)
@click.option(
    "--transfers",
    "limit",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="Transfers to show at most, those that are open first.",
)
def command(invocation: Invocation, subject_id: str, limit: int) -> int:
    with opened_ledger(invocation.settings) as ledger:
        subject = find_subject(ledger, subject_id)
        (row,) = in_our_words([ledger.operations.job(subject)], verbose=invocation.verbose)
        transfers = in_our_words(
            ledger.operations.transfers(subject, limit=limit), verbose=invocation.verbose
        )
        destinations = _destinations(ledger, subject)
        reasons = in_our_words(ledger.operations.reasons(subject), verbose=invocation.verbose)
        known = stoppers(ledger, invocation.settings)
    stopped = stopped_of(row, known)
    step = stopped[0].step if nothing_moves(row, known) else ""
    following = _next(row, subject, step, runs=runs_here(invocation.settings))
    if invocation.as_json:
        invocation.emit(
            {
                **words.job_json(row),
                "subject": {"kind": subject.kind.value, "id": subject.id},
                "deliveries": [dataclasses.asdict(each) for each in destinations],
                "reasons": [dataclasses.asdict(reason) for reason in reasons],
                "stopped_by": [each.words for each in stopped],
                "transfers_shown": [words.transfer_json(transfer) for transfer in transfers],
                "next": following,
            }
        )
    else:
        for line in (
            *_head(row, subject, destinations),
            *_reasons(reasons),
            *(f"    {each.words}" for each in stopped),
            *_transfers(transfers, row),
            following,
        ):
            click.echo(line)
    needs = row.transfers.get(TransferState.NEEDS_ATTENTION, 0)
    return ExitCode.SOME_FAILED if needs or row.advice else ExitCode.OK


def _destinations(ledger: Ledger, subject: Subject) -> tuple[DestinationSummary, ...]:
    if subject.kind is SubjectKind.JOB:
        return ledger.job_progress(subject.id).destinations
    if subject.kind is SubjectKind.STUDY:
        return tuple(
            to for study in ledger.studies(study_instance_uid=subject.id) for to in study.destinations
        )
    return ()


def delivered_words(to: DestinationSummary) -> str:
    """Such as "pacs: 588 of 600 delivered, 12 held"."""
    total = sum(getattr(to, name) for name in words.STANDS)
    notes = [
        f", {getattr(to, name)} {what}"
        for name, what in _NOTES.items()
        if name != "delivered" and getattr(to, name)
    ]
    return f"{to.destination}: {to.delivered} of {total} deliveries made{''.join(notes)}"


def _head(row: JobRow, subject: Subject, destinations: Sequence[DestinationSummary]) -> Iterator[str]:
    kind = "" if row.kind == subject.kind.value else f", {row.kind}"
    state = words.state_words(row.state)
    yield f"{words.subject_words(subject)}{kind}, {age(time.time() - row.at_ms / 1000)} ago: {state}"
    for line in words.order_lines(row.orders, subject):
        yield f"    {line}"
    for to in destinations:
        yield f"    {delivered_words(to)}"
    if row.ungrouped:
        yield f"    {words.counted(row.ungrouped, 'instance')} arrived and not made into transfers yet"


def _reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    for each in reasons:
        status = "" if each.status is None else f"{each.status:04X} "
        yield f"    {each.instances} {each.state.value} at {each.destination}: {status}{each.reason or 'no reason given'}"


def _transfers(rows: Sequence[TransferRow], job: JobRow) -> Iterator[str]:
    total = sum(job.transfers.values())
    if total:
        shown = f", {len(rows)} shown" if len(rows) < total else ""
        yield f"{words.counted(total, 'transfer')}{shown}:"
    for row in rows:
        attempt = f", attempt {row.attempt}" if row.attempt > 1 else ""
        due = _due(row)
        yield (
            f"    {row.id}  {words.state_words(row.state.value):<15}  {row.destination}, {row.priority.value}, "
            f"{words.counted(row.instances, 'instance')} ({size(row.bytes)}){attempt}{due}"
        )
        if row.reason:
            yield f"        {row.reason}"
        if row.advice:
            yield f"        {row.advice}"


def _due(row: TransferRow) -> str:
    if row.state is TransferState.WAITING and row.due_in_ms is not None:
        return f", next attempt in {row.due_in_ms / 1000:.0f} s"
    return ""


def _next(row: JobRow, subject: Subject, step: str, *, runs: bool) -> str:
    """One line: what happens now, or what to do."""
    counts = row.transfers
    if counts.get(TransferState.NEEDS_ATTENTION):
        return f"next: mend what the reason says, then `dicomrelay jobs retry {subject.id}`"
    if row.state == TransferState.HELD.value or (row.orders and row.state == "arriving"):
        return f"next: `dicomrelay jobs release {subject.id}` lets it go"
    if row.state == TransferState.CANCELLED.value:
        return f"next: nothing; `dicomrelay jobs replay {subject.id}` sends it after all"
    if row.state == TransferState.DONE.value:
        return f"next: nothing, all of it was delivered; `dicomrelay report {subject.id}` proves it"
    if step or not runs:
        up = "nothing runs on this home: it goes on when `dicomrelay up` runs"
        return f"next: {step if runs else up}"
    if row.state == TransferState.WAITING.value:
        return f"next: it is tried again by itself; `dicomrelay jobs retry {subject.id}` tries now"
    if row.state == "arriving":
        return "next: it is sent when the study is complete"
    return "next: it is being sent, or waits for its turn; `dicomrelay destinations` says how long that takes"
