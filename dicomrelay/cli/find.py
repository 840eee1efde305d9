"""`dicomrelay find`."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import click

from dicomrelay.cli.answers import CsvWriter, JsonWriter, TableWriter, Writer
from dicomrelay.cli.options import Invocation, peer_options, relay_command
from dicomrelay.cli.peer import find_peer
from dicomrelay.cli.query_options import Query, conclusion_words, find_query, key_options
from dicomrelay.cli.signals import cancel_on_signals
from dicomrelay.dicom.query_status import Finality, finality
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.net.query_retrieve import Find, Stop

_DEFAULT_LIMIT: Final = 10_000


@relay_command(
    about="Ask a peer what it has (C-FIND): patients, studies, series, instances, or a worklist. --json writes the DICOM "
    "JSON model.",
    examples="dicomrelay find pacs --patient-name 'MUELLER*' --study-date 20260101-\n"
    "dicomrelay find PACS@10.0.0.9:104 --level SERIES --study 1.2.840.113619.2.1 --csv\n"
    "dicomrelay find pacs -k StudyDate=20261120 -k PatientComments --json\n"
    "dicomrelay find ris --worklist --modality CT --study-date 20261121",
)
@peer_options
@key_options
@click.option("--worklist", is_flag=True, help="Ask for scheduled procedure steps (Modality Worklist).")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000_000),
    help=f"Cancel after so many answers.  [default: {_DEFAULT_LIMIT}, and exit code 1 when there are more]",
)
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="One line an answer, one column a key, on standard output: UTF-8, control characters written as \\u001b, and an "
    "apostrophe before what a spreadsheet would take for a formula (what begins with =, +, -, @, tab or CR).",
)
def command(
    invocation: Invocation,
    destination: str,
    calling_ae: str | None,
    timeout_s: float | None,
    worklist: bool,
    limit: int | None,
    as_csv: bool,
    level: str | None,
    model: str | None,
    keys: tuple[str, ...],
    **options: Any,
) -> int:
    if as_csv and invocation.as_json:
        raise ConfigurationError("--csv and --json: choose one")
    query = find_query(worklist=worklist, level=level, model=model, keys=keys, options=options)
    peer = find_peer(invocation.settings, destination, calling_ae, timeout_s)
    identifier = query.identifier()
    stop = cancel_on_signals()
    with peer.associate([(query.model.find, IDENTIFIER_TRANSFER_SYNTAXES)]) as association:
        find = Find(association, query.model, identifier, limit=limit or _DEFAULT_LIMIT, stop=stop)
        with closing(_writer(invocation, query, as_csv)) as writer:
            count = 0
            for answer in find:
                writer.write(answer)
                count += 1
    return _conclude(invocation, find, count, is_limit_given=limit is not None)


def _writer(invocation: Invocation, query: Query, as_csv: bool) -> Writer:
    if invocation.as_json:
        return JsonWriter()
    return CsvWriter(query.keys) if as_csv else TableWriter(query.keys)


def _conclude(invocation: Invocation, find: Find, count: int, *, is_limit_given: bool) -> int:
    conclusion = find.conclusion
    assert conclusion is not None  # noqa: S101 - the iteration is over
    if find.unreadable:
        invocation.say(f"{find.unreadable} answers could not be read and are left out")
    if find.ignores_keys:
        invocation.say("the peer did not match some optional keys: more answers than asked for")
    how = finality(conclusion.status)
    answers = f"{count} answer{'' if count == 1 else 's'}"
    if conclusion.stopped is Stop.ASKED:
        invocation.say(f"{answers}, then interrupted")
        return ExitCode.INTERRUPTED
    if conclusion.stopped is Stop.LIMIT:
        invocation.say(
            f"{answers}, and there are more: {'' if is_limit_given else 'the default '}--limit is reached"
        )
        return ExitCode.OK if is_limit_given else ExitCode.SOME_FAILED
    if how is Finality.SUCCESS:
        invocation.say(answers)
        return ExitCode.SOME_FAILED if find.unreadable else ExitCode.OK
    invocation.say(f"{answers}; the peer ended with: {conclusion_words(conclusion)}")
    return ExitCode.SOME_FAILED
