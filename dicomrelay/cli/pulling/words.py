"""Pulls in words for people and as JSON. No key's value is in the ledger's rows, and so none is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from dicomrelay.cli.operating.list_jobs import age
from dicomrelay.cli.operating.words import plural, state_words
from dicomrelay.cli.progress import duration
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values_pulls import PullKind, PullRow, PullState, StepRow, StepState

_KINDS: Final = {PullKind.ASKED: "asked for", PullKind.POLL: "poll", PullKind.PRIORS: "priors"}
_NEXT: Final = {
    PullState.ASKING: "next: the source is asked; `dicomrelay pull show {id}` tells how it goes",
    PullState.FETCHING: "next: it goes on by itself; `dicomrelay pull cancel {id}` ends it",
    PullState.COMPLETE: "next: nothing, all that was announced is here",
    PullState.PARTIAL: "next: mend what the reason says, then `dicomrelay pull retry {id}`",
    PullState.FAILED: "next: mend what the reason says, then `dicomrelay pull retry {id}`",
    PullState.CANCELLED: "next: nothing; `dicomrelay pull start` begins anew, and fetches what is not here yet",
}


def find_pull(ledger: Ledger, text: str) -> str:
    """The id of a pull, by itself or by its beginning.

    Raises
    ------
    ConfigurationError
        There is none, or more than one.
    """
    found = ledger.pulls.ids_like(text.strip()) if text.strip() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"{text!r} is the beginning of {len(found)} pulls or more: say more of it")
    raise ConfigurationError(f"there is no pull {text!r}: `dicomrelay pull list` names them")


def pull_of(ledger: Ledger, pull_id: str) -> PullRow:
    """How a pull stands.

    Raises
    ------
    ConfigurationError
        It is no pull, or was pruned a moment ago.
    """
    row = ledger.pulls.one(pull_id)
    if row is None:
        raise ConfigurationError(f"there is no pull {pull_id!r}: `dicomrelay pull list` names them")
    return row


def exit_code(row: PullRow) -> ExitCode:
    """1 when something of it is not here and nothing more happens by itself."""
    wrong = row.state in (PullState.PARTIAL, PullState.FAILED, PullState.CANCELLED)
    return ExitCode.SOME_FAILED if wrong or row.advice else ExitCode.OK


def head(row: PullRow) -> str:
    """What it is, such as "01a2…: poll night of old-pacs, 3 min ago: fetching"."""
    kind = _KINDS[row.kind] + (f" {row.name}" if row.name else "")
    for_study = f" of study {row.of_study}" if row.of_study else ""
    return f"{row.id}  {kind}{for_study}, from {row.source}, {age(row.age_ms / 1000)} ago: {state_words(row.state)}"


def lines(row: PullRow) -> Iterator[str]:
    """How it stands."""
    what = "series" if row.level == "SERIES" else "study"
    several = "series" if row.level == "SERIES" else "studies"
    total = sum(row.steps.values())
    if total:
        done = row.steps.get(StepState.DONE.value, 0)
        notes = [
            f"{row.steps[state.value]} {words}"
            for state, words in (
                (StepState.RUNNING, "being fetched"),
                (StepState.GIVEN_UP, "given up"),
                (StepState.CANCELLED, "cancelled"),
            )
            if row.steps.get(state.value)
        ]
        yield ", ".join([f"{done} of {plural(total, what, several)} done", *notes])
        yield _instances(row)
    elif row.state in (PullState.COMPLETE, PullState.PARTIAL):
        yield (
            "nothing matches, or all that does is here already"
            if row.kind is PullKind.POLL
            else "nothing matches"
        )
    if row.truncated:
        yield "the list is not whole: more match than `limit` allows, or some answers could not be read"
    if row.reason:
        due = row.next_due_in_ms
        again = f"next attempt in {max(1, due // 1000)} s: " if due else ""
        yield f"{again}{row.reason}"
    if row.advice:
        yield row.advice


def _instances(row: PullRow) -> str:
    words = f"{row.here} of {plural(row.announced, 'instance', 'instances')} here"
    if row.uncounted:
        words += f", {row.uncounted} not counted yet"
    if row.missing:
        words += f", {row.missing} missing"
    if row.eta_ms is not None:
        words += f", {duration(row.eta_ms / 1000)} left"
    if row.took_ms is not None:
        words += f", after {duration(row.took_ms / 1000)}"
    return words


def next_line(row: PullRow, *, runs: bool) -> str:
    """What happens now, or what to do."""
    if not runs and not row.state.is_over:
        return "next: nothing runs on this home: it goes on when `dicomrelay up` runs"
    if row.state is PullState.PARTIAL and row.truncated and not row.missing and not row.reason:
        return "next: ask for less at once, or set a higher limit, and start it again: what is here is not fetched again"
    return _NEXT[row.state].format(id=row.id)


def step_line(step: StepRow) -> str:
    """One study, or one series."""
    uid = (
        f"{step.study_instance_uid} series {step.series_instance_uid}"
        if step.series_instance_uid
        else step.study_instance_uid
    )
    number = "?" if step.announced is None else step.announced
    words = f"{state_words(step.state):<9}  {uid}  {step.here} of {number} here"
    if step.proof:
        words += f", by {step.proof}"
    if step.missing:
        words += f", {step.missing} missing"
    if step.attempt > 1:
        words += f", attempt {step.attempt}"
    if step.due_in_ms:
        words += f", next in {max(1, step.due_in_ms // 1000)} s"
    return words


def pull_json(row: PullRow) -> dict[str, Any]:
    """A pull as JSON."""
    return {**dataclasses.asdict(row), "steps": dict(row.steps)}
