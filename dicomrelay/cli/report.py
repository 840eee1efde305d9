"""`dicomrelay report`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

import click

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.cli.reporting.csv_file import CsvFile
from dicomrelay.cli.reporting.json_file import JsonFile
from dicomrelay.cli.reporting.making import records
from dicomrelay.cli.reporting.records import Format, Record, ReportHash, closed
from dicomrelay.cli.reporting.summary import in_words
from dicomrelay.cli.reporting.verifying import Verdict, verify
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger import DeliveryState

_FORMATS: Final[dict[str, Format]] = {"csv": CsvFile(), "json": JsonFile()}
_ARRIVED: Final = (DeliveryState.DELIVERED.value, DeliveryState.WARNING.value)


@relay_command(
    about="What was sent of a study or a job: for every instance and destination when, with which answer, and which digest; "
    "and the evidence that it rests on, so that --verify can tell without a relay whether the file is whole and unchanged. "
    "Exit code 1 when something is not delivered, 4 when a file that is verified is not whole.",
    examples="dicomrelay report 1.2.840.113619.2.1 -o study.csv\n"
    "dicomrelay report 1.2.840.113619.2.1 --format json -o study.json\n"
    "dicomrelay report --verify study.csv\n"
    "dicomrelay report --verify study.csv --against-ledger",
)
@click.argument("subject", metavar="[STUDY|JOB]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json"]),
    help="Kind of file.  [default: by the end of its name, else csv; json with --json]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
@click.option(
    "--verify",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Check a report instead of making one; needs no relay and no home.",
)
@click.option(
    "--against-ledger", is_flag=True, help="With --verify: hold its chains against those of the ledger, too."
)
@click.option("--hash", "noted", help="With --verify: the hash of the report as it was noted down elsewhere.")
def command(
    invocation: Invocation,
    subject: str | None,
    form: str | None,
    output: Path | None,
    file: Path | None,
    against_ledger: bool,
    noted: str | None,
) -> int:
    if (subject is None) == (file is None):
        raise ConfigurationError("say a study or a job to report on, or --verify FILE; not both")
    if file is not None:
        return _verify(invocation, file, form, against_ledger=against_ledger, noted=noted)
    if against_ledger or noted is not None:
        raise ConfigurationError("--against-ledger and --hash go with --verify")
    if output is not None:
        refuse_own_folders(invocation.settings, output, config=invocation.config)
    name = form or _by_name(output) or ("json" if invocation.as_json else "csv")
    return _make(invocation, str(subject), _FORMATS[name], output)


def _by_name(path: Path | None) -> str:
    ending = path.suffix.lower().removeprefix(".") if path is not None else ""
    return ending if ending in _FORMATS else ""


def _make(invocation: Invocation, text: str, form: Format, output: Path | None) -> int:
    summaries: list[Record] = []
    total = ReportHash()
    with opened_ledger(invocation.settings) as ledger:
        evidence = ledger.evidence
        about = evidence.subject(text)
        heads = evidence.heads(about.study_instance_uids)
        ledger_says = sum(count.deliveries for count in evidence.deliveries(about))
        with _opened(output) as stream:
            form.write(closed(records(evidence, about, heads, summaries), form.text, total=total), stream)
    bodies = [record.body for record in summaries]
    for line in in_words(bodies):
        invocation.say(line)
    for line in _without_evidence(ledger_says, bodies[0]["deliveries"]):
        invocation.say(line)
    pruned = sum(head.pruned for head in heads)
    if pruned:
        invocation.say(
            f"{pruned} rows are older than retention.evidence_days and gone; the chains continue behind them"
        )
    invocation.say(
        f"hash of this report: {total.end().body['hash']}: keep it where nobody can write who can write the file"
    )
    states: dict[str, int] = bodies[0]["states"]
    return ExitCode.OK if all(state in _ARRIVED for state in states) else ExitCode.SOME_FAILED


def _without_evidence(in_ledger: int, in_report: int) -> Iterator[str]:
    if in_ledger > in_report:
        yield (
            f"{in_ledger - in_report} deliveries that the ledger knows are in no row of evidence: they are from before there "
            "was any, or it was pruned; the head of the report counts them by state"
        )


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that gets its name when it is whole."""
    if output is None:
        yield sys.stdout
        return
    try:
        fd, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.absolute().parent)
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written ({error.strerror})") from error
    try:
        with open(fd, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(output)
    except BaseException as error:
        with suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise ConfigurationError(f"{output}: cannot be written ({error.strerror})") from error
        raise


def _verify(
    invocation: Invocation, file: Path, name: str | None, *, against_ledger: bool, noted: str | None
) -> int:
    form = _FORMATS[name or _by_name(file) or _looks_like(file)]
    try:
        # Whatever is no UTF-8 was not written so: it is read as something else, and found.
        with file.open(encoding="utf-8", errors="backslashreplace", newline="") as stream:
            verdict = verify(form.read(stream), form)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from error
    if noted is not None and noted.strip().lower() != verdict.hash:
        verdict.say(
            f"the hash of the report is {verdict.hash or 'not known'}, and not the one that was noted"
        )
    later = _against_ledger(invocation, verdict) if against_ledger else None
    _tell(invocation, file, verdict, later)
    return ExitCode.OK if verdict.is_whole else ExitCode.INTEGRITY


def _looks_like(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return "json" if stream.read(64).lstrip().startswith(b"{") else "csv"
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from error


def _against_ledger(invocation: Invocation, verdict: Verdict) -> int:
    """Hold each chain against the ledger's, at the same number; how many rows came since."""
    later = 0
    with opened_ledger(invocation.settings) as ledger:
        uids = [chain["study_instance_uid"] for chain in verdict.chains]
        heads = {head.study_instance_uid: head for head in ledger.evidence.heads(uids)}
        for chain in verdict.chains:
            uid, count = chain["study_instance_uid"], chain["count"]
            head = heads.get(uid)
            if head is None or head.count < count:
                now = head.count if head else 0
                verdict.say(f"study {uid}: the ledger has {now} rows of evidence, the report {count}")
                continue
            later += head.count - count
            if count < head.pruned:
                invocation.say(f"study {uid}: the ledger has pruned what the report holds: not compared")
            elif count and ledger.evidence.hash_at(uid, count) != chain["hash"]:
                verdict.say(f"study {uid}: row {count} of the ledger is another than that of the report")
    return later


def _tell(invocation: Invocation, file: Path, verdict: Verdict, later: int | None) -> None:
    if invocation.as_json:
        invocation.emit(
            {
                "file": str(file),
                "whole": verdict.is_whole,
                "findings": verdict.findings,
                "rows": verdict.rows,
                "deliveries": verdict.deliveries,
                "chains": verdict.chains,
                "hash": verdict.hash,
                "rows_since": later,
            }
        )
        return
    for finding in verdict.findings:
        click.echo(f"{file}: {finding}")
    if verdict.is_whole:
        click.echo(
            f"{file}: whole and unchanged: {len(verdict.chains)} chains, {verdict.rows} rows, {verdict.deliveries} deliveries"
        )
        click.echo(f"hash of this report: {verdict.hash}")
        if later is not None:
            click.echo(f"the ledger holds the same chains, and {later} rows that came since")
    else:
        click.echo(f"{file}: NOT as it was written")
