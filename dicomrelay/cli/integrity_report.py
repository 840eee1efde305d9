"""What `check` and `repair` say: findings as they come, a summary at the end, and a note of the last check for `doctor`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import click

from dicomrelay.cli.progress import Progress
from dicomrelay.settings import Settings
from workers.integrity import Finding, Invariant, Severity
from workers.integrity.invariants import WORDS

# Of each invariant; more are counted only.
KEPT_FINDINGS: Final = 1000
SHOWN_FINDINGS: Final = 20
LAST_CHECK: Final = "last_check.json"


@dataclass
class Report:
    """The findings of one run: all are counted, the first of each kind are kept.

    Parameters
    ----------
    show : callable
        Takes a line for people, as it comes.
    """

    show: Callable[[str], None]
    counts: Counter[tuple[Invariant, Severity]] = field(default_factory=Counter)
    kept: dict[Invariant, list[Finding]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """One more."""
        self.counts[finding.invariant, finding.severity] += 1
        kept = self.kept.setdefault(finding.invariant, [])
        if len(kept) < KEPT_FINDINGS:
            kept.append(finding)
        if len(kept) <= SHOWN_FINDINGS and self.of(finding.invariant) <= SHOWN_FINDINGS:
            self.show(
                f"{finding.severity.value:5} {finding.invariant.value}: {finding.about}: {finding.words}"
            )
        elif self.of(finding.invariant) == SHOWN_FINDINGS + 1:
            self.show(f"{'':5} {finding.invariant.value}: and more; all are counted, --json lists them")

    def of(self, invariant: Invariant) -> int:
        """How many findings of an invariant there are."""
        return sum(count for (name, _), count in self.counts.items() if name is invariant)

    def total(self, severity: Severity) -> int:
        """How many findings of a severity there are."""
        return sum(count for (_, found), count in self.counts.items() if found is severity)

    def advice(self) -> list[str]:
        """What does not hold and what to do about it, a line each."""
        return [
            f"{self.of(invariant)} × {WORDS[invariant][0]}\n      → {WORDS[invariant][1]}"
            for invariant in Invariant
            if self.of(invariant)
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines: every invariant, also those that hold."""
        return {
            "faults": self.total(Severity.FAULT),
            "notes": self.total(Severity.NOTE),
            "invariants": [
                {
                    "name": invariant.value,
                    "holds": WORDS[invariant][0],
                    "faults": self.counts[invariant, Severity.FAULT],
                    "notes": self.counts[invariant, Severity.NOTE],
                    "do": WORDS[invariant][1] if self.of(invariant) else "",
                    "findings": [as_json(finding) for finding in self.kept.get(invariant, [])],
                }
                for invariant in Invariant
            ],
        }


def as_json(finding: Finding) -> dict[str, str]:
    """One finding; its path is not shown, for in the archive it holds the patient id."""
    return {
        "about": finding.about,
        "words": finding.words,
        "severity": finding.severity.value,
        "spool_id": finding.spool_id,
        "sop_instance_uid": finding.sop_instance_uid,
        "study_instance_uid": finding.study_instance_uid,
        "transfer_id": finding.transfer_id,
    }


class Progresses:
    """One line of progress after another: each part of the work has its own, with its rate and the time it still takes."""

    def __init__(self) -> None:
        self._what = ""
        self._progress: Progress | None = None

    def __enter__(self) -> Progresses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def tick(self, what: str, done: int, total: int, data_bytes: int) -> None:
        """So far is a part of the work."""
        if what != self._what:
            self._end()
            self._what = what
            self._progress = Progress(what, total or None)
            self._progress.__enter__()
        if self._progress is not None:
            self._progress.show(done, total=total or None, data_bytes=data_bytes)

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None


def keep_last_check(settings: Settings, result: dict[str, Any]) -> None:
    """Note what a whole check found, for `doctor`; where that cannot be written, nothing is lost."""
    path = last_check_path(settings)
    with suppress(OSError):
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(result), "utf-8")
        temporary.replace(path)


def last_check_path(settings: Settings) -> Path:
    """Where it is noted."""
    return settings.path("logs", LAST_CHECK)


def echo(line: str) -> None:
    """A line of the result, on standard output."""
    click.echo(line)
