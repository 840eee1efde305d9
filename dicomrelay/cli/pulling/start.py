"""`dicomrelay pull start`."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, Final

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.running import runs_here
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.pulling import words
from dicomrelay.cli.query_options import find_query, key_options
from dicomrelay.cli.relay_watch import RelayWatch
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.dicom.query_models import STUDY_ROOT, Level
from dicomrelay.errors import ConfigurationError, ExitCode, ServiceUnavailable
from dicomrelay.ledger import Ledger, Priority
from dicomrelay.ledger.values_pulls import NewPull, PullKind, PullPolicy, PullState, Retrieval, StepState
from dicomrelay.routing.pulls import by_hand, check_entry, check_question, find_entry, poll, source_of
from dicomrelay.runtime.queue import Task, WakeUps
from dicomrelay.settings import Settings

_POLL_S: Final = 0.5
_RETRIEVALS: Final = {True: Retrieval.GET, False: Retrieval.MOVE}


@relay_command(
    about="Ask a node what it has and fetch what matches, a study at a time, into the relay; its rules go on from there. SOURCE "
    "is a destination of the settings, AET@host:port, or an entry of [[pulls]], which is then asked for now. The job is durable: "
    "it goes on when this command is interrupted, and when the relay is restarted. Exit code 1 when something announced did not "
    "come.",
    examples="dicomrelay pull start old-pacs --patient-id 4711\n"
    "dicomrelay pull start PACS@10.0.0.9:104 --study 1.2.840.113619.2.1 --get\n"
    "dicomrelay pull start old-pacs --study-date 20260101-20260131 --modality CT --priority bulk --no-wait\n"
    "dicomrelay pull start night --json",
    audited=Audited("pull.start", {"source": "destination"}),
)
@click.argument("source")
@key_options
@click.option(
    "--get/--move", "use_get", default=None, help="By C-GET, or by C-MOVE to our gateway.  [default: move]"
)
@click.option(
    "--limit",
    type=click.IntRange(1, 20_000),
    help="Studies that the question may bring.  [default: 10,000, or as the entry says]",
)
@click.option(
    "--associations",
    type=click.IntRange(1, 16),
    help="Studies of that source to fetch at once.  [default: 1]",
)
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    help="Which pulls of one source go first.  [default: normal]",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Follow it to its end, or say its id and return.",
)
def command(
    invocation: Invocation,
    source: str,
    use_get: bool | None,
    limit: int | None,
    associations: int | None,
    priority: str | None,
    wait: bool,
    level: str | None,
    model: str | None,
    keys: tuple[str, ...],
    **options: Any,
) -> int:
    settings = invocation.settings
    question, at = _question(level, model, keys, options)
    with opened_ledger(settings) as ledger:
        new, every_ms = _new(settings, ledger, source, question)
        policy = replace(
            new.policy,
            level=at,
            retrieval=new.policy.retrieval if use_get is None else _RETRIEVALS[use_get],
            limit=limit or new.policy.limit,
            associations=associations or new.policy.associations,
        )
        new = replace(new, policy=policy, priority=Priority(priority) if priority else new.priority)
        if every_ms:
            pull_id = ledger.pulls.order_poll(new, every_ms=every_ms, force=True)
            if pull_id is None:
                raise ConfigurationError(
                    f"the last poll of {source!r} is still open: `dicomrelay pull list` shows it"
                )
        else:
            pull_id = ledger.pulls.order(new)
        assert pull_id is not None  # noqa: S101 - it has no `only_once`
        wake_ups = WakeUps(settings)
        try:
            _wake(ledger, wake_ups, pull_id)
            if wait and runs_here(settings):
                return _follow(invocation, ledger, wake_ups, pull_id)
        finally:
            wake_ups.close()
        row = words.pull_of(ledger, pull_id)
    following = words.next_line(row, runs=runs_here(settings))
    if invocation.as_json:
        invocation.emit({**words.pull_json(row), "next": following})
    else:
        click.echo(pull_id)
        invocation.say(following)
    return ExitCode.OK


def _question(
    level: str | None, model: str | None, keys: tuple[str, ...], options: dict[str, Any]
) -> tuple[tuple[str, ...], str]:
    """The keys with their values, and the level."""
    if model not in (None, STUDY_ROOT.name):
        raise ConfigurationError(f"--model {model}: a pull asks by the model study")
    query = find_query(worklist=False, level=level, model=STUDY_ROOT.name, keys=keys, options=options)
    if query.level not in (Level.STUDY, Level.SERIES):
        raise ConfigurationError(f"--level {query.level}: a pull fetches studies or series")
    question = tuple(
        f"{key.name}={key.value}" for key in query.keys if key.value and key.name != "QueryRetrieveLevel"
    )
    names = {key.partition("=")[0] for key in question}
    if query.level is Level.SERIES and "StudyInstanceUID" not in names:
        raise ConfigurationError("name the --study whose series are meant")
    return question, query.level.value


def _new(settings: Settings, ledger: Ledger, source: str, question: tuple[str, ...]) -> tuple[NewPull, int]:
    """What is to be ordered; and for a poll that is asked for now, how often it comes."""
    entry = find_entry(settings, source)
    if entry is not None:
        check_entry(settings, entry)
    if entry is not None and entry.every_s is not None and not question:
        (state,) = ledger.pulls.polls([entry.name])
        return poll(settings, entry, state, date.today()), round(1000 * entry.every_s)  # noqa: DTZ011 - the local day is meant
    new = (
        NewPull(PullKind.ASKED, source_of(settings, source), question, PullPolicy())
        if entry is None
        else by_hand(settings, entry, question)
    )
    if not any(key.partition("=")[2] for key in new.question):
        raise ConfigurationError(
            "name what to fetch, by --study, --patient-id, --study-date or --key: this would be all there is"
        )
    check_question(new.question)
    return new, 0


def _wake(ledger: Ledger, wake_ups: WakeUps, pull_id: str) -> None:
    try:
        for step in ledger.pulls.steps(pull_id, limit=1):
            wake_ups.send(Task.PULL, ids=[step.id])
    except ServiceUnavailable:
        pass  # the sweeper says it


def _follow(invocation: Invocation, ledger: Ledger, wake_ups: WakeUps, pull_id: str) -> int:
    """Until it is over, somebody interrupts, or nobody works on it any more."""
    stop = stop_on_signals()
    watch = RelayWatch(invocation.settings, wake_ups)
    gone = ""
    with Progress("instances here") as progress:
        while True:
            row = words.pull_of(ledger, pull_id)
            total = row.announced if row.announced and not row.uncounted else None
            progress.show(row.here, total=total, note=_note(row.state, row.steps, row.reason))
            gone = "" if row.state.is_over else watch.gone()
            if row.state.is_over or gone or stop.wait(_POLL_S):
                break
    over = row.state.is_over
    following = words.next_line(row, runs=not gone)
    code = words.exit_code(row) if over else ExitCode.UNREACHABLE if gone else ExitCode.INTERRUPTED
    if invocation.as_json:
        invocation.emit({**words.pull_json(row), "next": following, "exit_code": int(code)})
        return code
    click.echo(words.head(row))
    for line in words.lines(row):
        click.echo(f"    {line}")
    if gone:
        invocation.say(gone)
    invocation.say(following)
    return code


def _note(state: PullState, steps: Any, reason: str) -> str:
    if state is PullState.ASKING:
        return reason or "asking"
    done, total = steps.get(StepState.DONE.value, 0), sum(steps.values())
    notes = [f"{done} of {total} done"] if total else []
    return ", ".join([*notes, *([reason] if reason else [])])
