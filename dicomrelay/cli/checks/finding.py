"""What a check has to say: one line, a verdict, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dicomrelay.errors import ExitCode


class Verdict(StrEnum):
    """How it looks."""

    OK = "ok"
    WARNING = "warning"  # works now, and should be looked at
    FAILED = "failed"


# Which of several exit codes is told.
_GRAVITY = (ExitCode.INTEGRITY, ExitCode.USAGE, ExitCode.UNREACHABLE, ExitCode.SOME_FAILED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    about : str
        What was looked at: "disk", "destination pacs".
    verdict : Verdict
    words : str
        What was found; never a password, a key or anything of a patient.
    do : str
        What to do next; empty when all is well.
    code : ExitCode
        What a failure is, in the terms of the exit codes.
    """

    about: str
    verdict: Verdict
    words: str
    do: str = ""
    code: ExitCode = ExitCode.SOME_FAILED


def ok(about: str, words: str) -> Finding:
    """All is well."""
    return Finding(about, Verdict.OK, words)


def warning(about: str, words: str, do: str) -> Finding:
    """It works now."""
    return Finding(about, Verdict.WARNING, words, do)


def failed(about: str, words: str, do: str, code: ExitCode = ExitCode.SOME_FAILED) -> Finding:
    """It does not work."""
    return Finding(about, Verdict.FAILED, words, do, code)


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """0 when nothing failed; warnings fail nothing. Else the gravest code of what failed."""
    codes = {finding.code for finding in findings if finding.verdict is Verdict.FAILED}
    return next((code for code in _GRAVITY if code in codes), ExitCode.OK)
