"""Retry, hold, release and cancel: found, done, said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating import words
from dicomrelay.cli.operating.running import runs_here
from dicomrelay.cli.operating.subject import check_destination, find_subjects
from dicomrelay.cli.options import Invocation
from dicomrelay.errors import ExitCode
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values_operations import Changed, Subject, Verb


@dataclass(frozen=True, slots=True)
class Wish:
    """A verb as it was given."""

    verb: Verb
    ids: Sequence[str]
    destination: str
    everything: bool = False


def perform(invocation: Invocation, wish: Wish) -> int:
    """Do it, and say what was done and what happens next.

    Raises
    ------
    ConfigurationError
        Something that was named is not here; nothing was done.
    """
    with opened_ledger(invocation.settings) as ledger:
        check_destination(ledger, wish.destination)
        subjects = find_subjects(ledger, wish.ids, everything=wish.everything)
        done = [_one(ledger, wish, subject) for subject in subjects]
    following = words.next_line(wish.verb, subjects, done, runs=runs_here(invocation.settings))
    if invocation.as_json:
        invocation.emit(
            {
                "verb": wish.verb.value,
                "results": [words.changed_json(changed) for changed in done],
                "next": following,
            }
        )
        return ExitCode.OK
    for changed in done:
        for line in words.lines(changed):
            click.echo(line)
    if following:
        click.echo(following)
    return ExitCode.OK


def _one(ledger: Ledger, wish: Wish, subject: Subject) -> Changed:
    operations = ledger.operations
    doing = {
        Verb.RETRY: operations.retry,
        Verb.HOLD: operations.hold,
        Verb.RELEASE: operations.release,
        Verb.CANCEL: operations.cancel,
    }
    return doing[wish.verb](subject, destination=wish.destination)
