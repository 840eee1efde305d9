"""`dicomrelay archive retention`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click

from archive import Archive
from archive.removal import remove
from archive.retention import BY, Candidate, Deliveries, Stays, candidates, run
from archive.values import Selection
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.relays import deliveries_of
from dicomrelay.cli.archiving.words import many
from dicomrelay.cli.audited import Audited, studies_told
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings.storage import ArchiveRetentionRule, ArchiveRetentionSettings
from dicomrelay.text import size

_KEPT: Final = 1000


@relay_command(
    about="Remove studies that are old enough, or too many, oldest first: by the rules of [archive.retention] in the "
    "settings, or by the options here. A study goes only when everything of it has been delivered wherever it was to "
    "go, as the ledger says, nobody holds it and nothing of it is in conflict; what the ledger does not know stays, unless "
    "--undocumented. The archive of a relay wants the settings of that relay: --home or --config. What came within "
    "archive.retention.min_days stays in any case, also with these options. The scheduler of the relay "
    "does the same every hour.",
    examples="dicomrelay archive retention --dry-run\n"
    "dicomrelay archive retention --older-than 3650 --modality CT --modality MR --dry-run\n"
    "dicomrelay archive retention --max-bytes 2000000000000 --yes\n"
    "dicomrelay archive retention --archive /data/archive --older-than 365 --undocumented --yes --json",
    audited=Audited("archive.retention", looks=("dry_run",)),
)
@archive_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0, 365_000, min_open=True),
    metavar="DAYS",
    help="Studies whose last instance was stored so long ago, instead of the rules of the settings.",
)
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    metavar="PATTERN",
    help="With --older-than: only studies all of whose modalities are of these; * and ? are wildcards. Repeatable.",
)
@click.option(
    "--max-bytes", type=click.IntRange(1), help="While the files are more than that, the oldest studies go."
)
@click.option(
    "--undocumented", is_flag=True, help="What the ledger does not know may go, too: imported files."
)
def command(
    invocation: Invocation,
    folder: Path | None,
    dry_run: bool,
    yes: bool,
    days: float | None,
    modalities: tuple[str, ...],
    max_bytes: int | None,
    undocumented: bool,
) -> int:
    bounds = _bounds(invocation, days, modalities, max_bytes, undocumented=undocumented)
    account = _Account(says=not invocation.as_json, verbose=invocation.verbose)
    with (
        opened(invocation, folder) as archive,
        deliveries_of(invocation, folder) as deliveries,
        studies_told(invocation.settings, "deleted", "archive.retention") as told,
    ):
        if not dry_run and not yes:
            _ask(archive, bounds, deliveries)
        work = (
            candidates(archive, bounds, deliveries, with_young=True)
            if dry_run
            else run(archive, bounds, deliveries, remove=_remove, with_young=True)
        )
        for candidate in work:
            account.add(candidate)
            if candidate.stays is None and not dry_run:
                told(candidate.study_instance_uid, candidate.instances)
    if invocation.as_json:
        invocation.emit({"exit_code": 0, "dry_run": dry_run, **account.as_json()})
    gone = f"{account.gone['studies']} {'study' if account.gone['studies'] == 1 else 'studies'}"
    amount = f"{gone}, {many(account.gone['instances'], 'instance')}, {size(account.gone['bytes'])}"
    invocation.say(
        f"{'would go' if dry_run else 'removed'}: {amount}; {account.stay} stay though a bound would let them go"
    )
    if young := account.staying[Stays.YOUNG]:
        least = f"{bounds.min_days:g} {'day' if bounds.min_days == 1 else 'days'}"
        invocation.say(f"    {young} of them younger than archive.retention.min_days ({least})")
    return ExitCode.OK


def _bounds(
    invocation: Invocation,
    days: float | None,
    modalities: tuple[str, ...],
    max_bytes: int | None,
    *,
    undocumented: bool,
) -> ArchiveRetentionSettings:
    if modalities and days is None:
        raise ConfigurationError("--modality goes with --older-than")
    given = invocation.settings.archive.retention
    changed: dict[str, Any] = {"dry_run": False}
    if days is not None or max_bytes is not None:
        rules = [] if days is None else [ArchiveRetentionRule(modality=list(modalities), days=days)]
        changed |= {"rules": rules, "max_bytes": max_bytes}
    if undocumented:
        changed["undocumented"] = True
    bounds = given.model_copy(update=changed)
    if not bounds.is_on:
        raise ConfigurationError(
            "nothing says what may go: --older-than DAYS, --max-bytes, or [archive.retention] in the settings"
        )
    return bounds


def _ask(archive: Archive, bounds: ArchiveRetentionSettings, deliveries: Deliveries) -> None:
    going: Counter[str] = Counter()
    for candidate in candidates(archive, bounds, deliveries):
        if candidate.stays is None:
            going.update(studies=1, instances=candidate.instances, bytes=candidate.bytes)
    if not going:
        return
    studies = f"{going['studies']} {'study' if going['studies'] == 1 else 'studies'}"
    amount = f"{studies} with {many(going['instances'], 'instance')} ({size(going['bytes'])})"
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"this would remove {amount}: --dry-run shows which; say --yes when it is meant"
        )
    if not click.confirm(f"Remove {amount} for good?", err=True):
        raise click.Abort


def _remove(archive: Archive, selection: Selection, reason: str) -> int:
    return remove(archive, selection, reason=reason, by=BY)


class _Account:
    """What goes and what stays."""

    def __init__(self, *, says: bool, verbose: bool) -> None:
        self._says = says
        self._verbose = verbose
        self.gone: Counter[str] = Counter()
        self.staying: Counter[Stays] = Counter()
        self._kept: list[Candidate] = []

    @property
    def stay(self) -> int:
        """How many studies stay."""
        return self.staying.total()

    def add(self, candidate: Candidate) -> None:
        """One more."""
        if len(self._kept) < _KEPT:
            self._kept.append(candidate)
        if candidate.stays is None:
            self.gone.update(studies=1, instances=candidate.instances, bytes=candidate.bytes)
        else:
            self.staying[candidate.stays] += 1
        if self._says and (candidate.stays is None or self._verbose):
            amount = f"{many(candidate.instances, 'instance')}, {size(candidate.bytes)}"
            what, why = (
                ("goes ", candidate.reason) if candidate.stays is None else ("stays", candidate.stays.value)
            )
            click.echo(f"{what} {candidate.study_instance_uid}  {amount}: {why}")

    def as_json(self) -> dict[str, Any]:
        return {
            "studies": self.gone["studies"],
            "instances": self.gone["instances"],
            "bytes": self.gone["bytes"],
            "stay": {why.name.lower(): self.staying[why] for why in Stays},
            "candidates": [
                {
                    "study_instance_uid": each.study_instance_uid,
                    "instances": each.instances,
                    "bytes": each.bytes,
                    "reason": each.reason,
                    "stays": None if each.stays is None else each.stays.value,
                }
                for each in self._kept
            ],
        }
