"""`dicomrelay check`."""

from __future__ import annotations

import time

import click

from dicomrelay.cli.integrity_report import Progresses, Report, echo, keep_last_check
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from workers.integrity import Severity
from workers.integrity.check import Scope, check, has_run


@relay_command(
    about="Hold spool, ledger and archive against each other: every invariant of docs/design/integrity.md. Changes nothing, "
    "and may run beside a working relay. Without --read-data it looks at every file and every row, and reads no image. "
    "Exit code 4 when something is lost, damaged or stuck; notes (what only takes room, or is to be known) do not count.",
    examples="dicomrelay check\ndicomrelay check --read-data\ndicomrelay check --spool --json",
)
@click.option("--read-data", is_flag=True, help="Read every data set and hold it against its digest.")
@click.option("--spool", is_flag=True, help="Look at the spool; with none of the three, at all of them.")
@click.option("--ledger", is_flag=True, help="Look at the ledger.")
@click.option("--archive", is_flag=True, help="Look at the archive.")
def command(invocation: Invocation, read_data: bool, spool: bool, ledger: bool, archive: bool) -> int:
    settings = invocation.settings
    if not has_run(settings):
        raise ConfigurationError(
            f"{settings.home}: nothing has run here yet: start `dicomrelay up`, or name another home with --home"
        )
    everything = not (spool or ledger or archive)
    scope = Scope(spool or everything, ledger or everything, archive or everything, read_data)
    report = Report(show=(lambda _line: None) if invocation.as_json else echo)
    started = time.monotonic()
    with Progresses() as progresses:
        for finding in check(settings, scope, tick=progresses.tick):
            report.add(finding)
    faults, notes = report.total(Severity.FAULT), report.total(Severity.NOTE)
    code = ExitCode.INTEGRITY if faults else ExitCode.OK
    result = {
        "exit_code": int(code),
        "read_data": read_data,
        "at": time.time(),
        "seconds": round(time.monotonic() - started, 3),
        **report.as_json(),
    }
    if everything:
        keep_last_check(settings, {name: result[name] for name in ("at", "read_data", "faults", "notes")})
    if invocation.as_json:
        invocation.emit(result)
    else:
        for line in report.advice():
            echo(line)
        invocation.say(f"{faults} faults, {notes} notes" if faults or notes else "all invariants hold")
    return code
