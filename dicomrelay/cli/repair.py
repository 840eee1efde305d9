"""`dicomrelay repair`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.integrity_report import (
    KEPT_FINDINGS,
    SHOWN_FINDINGS,
    Progresses,
    as_json,
    echo,
    last_check_path,
)
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings import Settings
from workers.integrity import Invariant, Severity
from workers.integrity.check import has_run
from workers.integrity.repair import Extent, repair
from workers.integrity.tools import Choices, Mended


@relay_command(
    about="Mend what `dicomrelay check` finds, without losing anything: nothing is deleted that anybody was told is here. "
    "What cannot be trusted is moved to spool/corrupt/ or archive/lost+found/. A ledger that is lost or damaged is rebuilt: "
    "items of the spool are sent where the rules say, what only the archive has is not sent. May run beside a working "
    "relay, except where a database is damaged or gone. Exit code 4 when a fault is left that a person has to look at.",
    examples="dicomrelay repair --dry-run\ndicomrelay repair --read-data\n"
    "dicomrelay repair --mark-delivered pacs\ndicomrelay repair --resend pacs --json",
    audited=Audited("repair", {"mark_delivered": "transfer", "resend": "transfer"}, looks=("dry_run",)),
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--read-data", is_flag=True, help="Read every data set and hold it against its digest.")
@click.option(
    "--mark-delivered",
    multiple=True,
    metavar="NAME",
    help="This destination has what is registered from the spool: send it nothing of that. On your word: evidence says so.",
)
@click.option(
    "--resend",
    multiple=True,
    metavar="NAME",
    help="Send this destination what only the archive has and the ledger did not know.",
)
def command(
    invocation: Invocation,
    dry_run: bool,
    read_data: bool,
    mark_delivered: tuple[str, ...],
    resend: tuple[str, ...],
) -> int:
    settings = invocation.settings
    if not has_run(settings):
        raise ConfigurationError(
            f"{settings.home}: nothing has run here yet: there is nothing to repair; or name another home with --home"
        )
    _check_names(settings, "--mark-delivered", mark_delivered)
    _check_names(settings, "--resend", resend)
    account = _Account(says=not invocation.as_json, verbose=invocation.verbose)
    started = time.monotonic()
    with _log(settings) as log, Progresses() as progresses:
        choices = Choices(dry_run, mark_delivered, resend)
        for mended in repair(settings, choices, Extent(read_data, progresses.tick)):
            account.add(mended)
            log.write(_line(mended) + "\n")
    if not dry_run:
        last_check_path(settings).unlink(missing_ok=True)  # what that found is no longer so
    # A rehearsal leaves every fault where it is.
    code = ExitCode.INTEGRITY if (account.faults if dry_run else account.left) else ExitCode.OK
    seconds = time.monotonic() - started
    if invocation.as_json:
        invocation.emit(
            {"exit_code": int(code), "dry_run": dry_run, "seconds": round(seconds, 3), **account.as_json()}
        )
    else:
        account.summary(dry_run=dry_run)
        done = (
            f"{account.would} would be mended, {account.left} faults would be left"
            if dry_run
            else f"{sum(account.mended.values())} mended, {account.left} faults left"
        )
        invocation.say(f"{done}; {seconds:.1f} s; see {log.name}")
    return code


class _Account:
    """What was done, counted; the first of each kind are shown and kept."""

    def __init__(self, *, says: bool, verbose: bool) -> None:
        self._says = says
        self._verbose = verbose
        self.mended: Counter[Invariant] = Counter()
        self.not_mended: Counter[Invariant] = Counter()
        self.left = self.would = self.faults = 0
        self._kept: dict[Invariant, list[Mended]] = {}

    def add(self, mended: Mended) -> None:
        invariant = mended.finding.invariant
        self.faults += mended.finding.severity is Severity.FAULT
        (self.mended if mended.done else self.not_mended)[invariant] += 1
        self.left += not (mended.done or mended.would) and mended.finding.severity is Severity.FAULT
        self.would += mended.would
        kept = self._kept.setdefault(invariant, [])
        if len(kept) < KEPT_FINDINGS:
            kept.append(mended)
        if self._says and (self._verbose or len(kept) <= SHOWN_FINDINGS):
            echo(_line(mended))

    def summary(self, *, dry_run: bool) -> None:
        for invariant in Invariant:
            if count := self.mended[invariant]:
                echo(f"{count} × {invariant.value} mended")
            if count := self.not_mended[invariant]:
                echo(f"{count} × {invariant.value} {'found' if dry_run else 'left as it is'}")

    def as_json(self) -> dict[str, object]:
        return {
            "mended": sum(self.mended.values()),
            "would_be_mended": self.would,
            "faults_left": self.left,
            "invariants": {
                invariant.value: {
                    "mended": self.mended[invariant],
                    "not_mended": self.not_mended[invariant],
                    "findings": [
                        {
                            **as_json(each.finding),
                            "mended": each.done,
                            "would_be_mended": each.would,
                            "done": each.words,
                        }
                        for each in kept
                    ],
                }
                for invariant, kept in self._kept.items()
            },
        }


def _line(mended: Mended) -> str:
    finding = mended.finding
    what = "mended" if mended.done else "would " if mended.would else "left  "
    return f"{what} {finding.invariant.value}: {finding.about}: {finding.words} → {mended.words}"


@contextmanager
def _log(settings: Settings) -> Iterator[TextIO]:
    """Where every line goes, also those that are not shown."""
    folder: Path = settings.path("logs")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"repair_{time.strftime('%Y%m%d-%H%M%S')}.log").open("a", encoding="utf-8") as log:
        yield log


def _check_names(settings: Settings, option: str, names: Sequence[str]) -> None:
    known = {destination.name for destination in settings.destinations}
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"{option} {name}: there is no destination of that name in the settings; there are: "
                f"{', '.join(sorted(known)) or 'none'}"
            )
