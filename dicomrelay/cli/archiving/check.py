"""`dicomrelay archive check`."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from archive.checking import CheckLevel, Fault, Finding, check
from dicomrelay.cli.archiving.opening import archive_option, opened
from dicomrelay.cli.archiving.words import many, took
from dicomrelay.cli.integrity_report import Progresses
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.text import shown

_SHOWN: Final = 20
_KEPT: Final = 1000
_REMEMBERED: Final = 100_000
_BASIC: Final = frozenset({CheckLevel.INDEX, CheckLevel.SIZES, CheckLevel.ORPHANS})
_HOME: Final = (
    "`dicomrelay repair` puts it back where the spool has it; else import it again, that takes its place"
)
_ANEW: Final = (
    "look at the disk; `dicomrelay repair` mends it where the spool has it; else `dicomrelay archive remove --sop-uid` it, and "
    "import it again"
)
_DO: Final = {
    Fault.MISSING: _HOME,
    Fault.SIZE: _HOME,
    Fault.DIGEST: _ANEW,
    Fault.UNREADABLE: _ANEW,
    Fault.NOT_DICOM: "it came so: the archive keeps it as it is",
    Fault.DISAGREES: "`dicomrelay archive rebuild-index` files it anew",
    Fault.COUNTERS: "`dicomrelay archive rebuild-index` counts anew",
    Fault.ORPHAN: "`dicomrelay archive rebuild-index` takes it in, where it is an instance",
    Fault.ASIDE: "nothing else has these bytes: whoever sent them sends them again, and they are set aside anew",
    Fault.LEFTOVER: "remove the file: a crash left it, and nothing reads it",
}


@relay_command(
    about="Hold the archive's index and its files against each other: files that are missing, have another size, or have no"
    " row. Changes nothing and may run while others write. Exit code 4 when something is lost or damaged.",
    examples="dicomrelay archive check\n"
    "dicomrelay archive check --archive /data/archive --verify-files --verbose\n"
    "dicomrelay archive check --digests --json\n"
    "dicomrelay archive check --damaged",
)
@archive_option
@click.option(
    "--verify-files", is_flag=True, help="Read every file too: its digest, and whether it is readable DICOM."
)
@click.option("--digests", is_flag=True, help="Read every file too, for its digest only.")
@click.option("--damaged", is_flag=True, help="Only list what the scrub has found damaged; reads no file.")
def command(
    invocation: Invocation, folder: Path | None, verify_files: bool, digests: bool, damaged: bool
) -> int:
    if damaged and (verify_files or digests):
        raise ConfigurationError("--damaged reads no file: choose it, or --verify-files, or --digests")
    levels = {CheckLevel.INDEX} if damaged else set(_BASIC)
    if verify_files or digests:
        levels.add(CheckLevel.DIGESTS)
    if verify_files:
        levels.add(CheckLevel.DICOM)
    account = _Account(says=not invocation.as_json, shows_all=invocation.verbose)
    started = time.monotonic()
    with opened(invocation, folder) as archive, Progresses() as progresses:
        total = archive.health.totals()[0]

        def tick(what: str, done: int, data_bytes: int) -> None:
            account.looked[what] = done
            progresses.tick(what, done, max(total, done), data_bytes)

        for finding in check(archive, levels, on_progress=tick, on_young=account.pass_over):
            account.add(finding)
    seconds = time.monotonic() - started
    code = ExitCode.INTEGRITY if account.faults else ExitCode.OK
    if invocation.as_json:
        invocation.emit(
            {
                "exit_code": int(code),
                "levels": [level.value for level in CheckLevel if level in levels],
                "instances": total,
                "seconds": round(seconds, 3),
                **account.as_json(),
            }
        )
        return code
    account.summary()
    looked = ", ".join(_LOOKED[each] for each in CheckLevel if each in levels)
    found = f"{many(account.faults, 'fault')}, {many(account.notes, 'note')}"
    invocation.say(f"{many(total, 'instance')} in the index, looked at: {looked}; {found}; {took(seconds)}")
    return code


_LOOKED: Final = {
    CheckLevel.INDEX: "index",
    CheckLevel.SIZES: "sizes",
    CheckLevel.ORPHANS: "files without a row",
    CheckLevel.DIGESTS: "digests",
    CheckLevel.DICOM: "DICOM",
}


@dataclass
class _Account:
    """What was found, counted; the first of each kind are shown and kept."""

    says: bool
    shows_all: bool
    counts: Counter[Fault] = field(default_factory=Counter)
    looked: dict[str, int] = field(default_factory=dict)
    kept: dict[Fault, list[Finding]] = field(default_factory=dict)
    faults: int = 0
    notes: int = 0
    young: int = 0
    _seen: set[tuple[Fault, str]] = field(default_factory=set)

    def pass_over(self, count: int) -> None:
        """Files without a row that are too young to be judged."""
        self.young = count

    def add(self, finding: Finding) -> None:
        """One more; what the scrub has found is not told again when it is seen again."""
        known = (finding.fault, finding.about)
        if known in self._seen:
            return
        if len(self._seen) < _REMEMBERED:
            self._seen.add(known)
        self.counts[finding.fault] += 1
        self.faults += finding.is_fault
        self.notes += not finding.is_fault
        kept = self.kept.setdefault(finding.fault, [])
        if len(kept) < _KEPT:
            kept.append(finding)
        if not self.says:
            return
        count = self.counts[finding.fault]
        if self.shows_all or count <= _SHOWN:
            kind = "fault" if finding.is_fault else "note "
            click.echo(f"{kind} {finding.fault.value}: {shown(finding.about)}: {shown(finding.words)}")
            if self.shows_all and finding.study_instance_uid:
                click.echo(f"      in study {finding.study_instance_uid}")
        elif count == _SHOWN + 1:
            click.echo(f"      {finding.fault.value}: and more; --verbose shows all")

    def summary(self) -> None:
        """What to do about each kind."""
        for fault, count in self.counts.items():
            click.echo(f"{count} × {fault.value}\n      → {_DO[fault]}")
        if self.young:
            one = self.young == 1
            click.echo(
                f"{many(self.young, 'file')} without a row {'is' if one else 'are'} younger than an hour: not judged, for "
                f"{'it' if one else 'they'} may be about to get one"
            )

    def as_json(self) -> dict[str, Any]:
        return {
            "faults": self.faults,
            "notes": self.notes,
            "not_judged": self.young,
            "counts": {fault.value: self.counts[fault] for fault in Fault},
            "findings": [
                {
                    "fault": each.fault.value,
                    "is_fault": each.is_fault,
                    "about": each.about,
                    "words": each.words,
                    "study_instance_uid": each.study_instance_uid,
                    "do": _DO[each.fault],
                }
                for kept in self.kept.values()
                for each in kept
            ],
        }
