"""Known holes in the packages that are locked, by pip-audit.

`python -m tests.support.dependency_audit [--require] [FILE…]` asks for each lock file, by default that of the runtime. Exit
codes: 0 nothing that was not accepted; 1 something was found; 3, with `--require`, it could not be asked. Without `--require` a
machine without network, or without pip-audit, is told so and goes on: the check of a release requires.

What is accepted stands in `tests/security/advisories.toml`, with a reason and a last day.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from dicomrelay.errors import ExitCode
from tests.support.locked import RUNTIME
from tests.support.markdown import ROOT

ACCEPTED: Final = ROOT / "tests" / "security" / "advisories.toml"
_LONGEST_S: Final = 300


@dataclass(frozen=True, slots=True)
class Hole:
    """One advisory about one package.

    Attributes
    ----------
    names : tuple of str
        Its id, and what else it is called (CVE, GHSA).
    fixed_in : tuple of str
        Versions without it.
    """

    package: str
    version: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...] = ()

    def __str__(self) -> str:
        fixed = f"; mended in {', '.join(self.fixed_in)}" if self.fixed_in else "; mended nowhere yet"
        return f"{self.package} {self.version}: {', '.join(self.names)}{fixed}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An advisory that is known, does not reach us, and is looked at again after a day."""

    id: str
    package: str
    until: date
    why: str


def holes(report: Mapping[str, Any]) -> list[Hole]:
    """What pip-audit's JSON says."""
    return [
        Hole(
            each["name"],
            each["version"],
            (hole["id"], *hole.get("aliases", ())),
            tuple(hole.get("fix_versions", ())),
        )
        for each in report["dependencies"]
        for hole in each.get("vulns", ())
    ]


def not_accepted(found: Iterable[Hole], accepted: Sequence[Accepted], today: date) -> list[Hole]:
    """Those that nobody has accepted, or not any more."""
    return [
        hole
        for hole in found
        if not any(
            each.package == hole.package and each.id in hole.names and today <= each.until
            for each in accepted
        )
    ]


def accepted_ones(path: Path = ACCEPTED) -> list[Accepted]:
    """What stands in the file. Raises KeyError when a row lacks its reason or its day."""
    rows = tomllib.loads(path.read_text("utf-8")).get("accepted", [])
    return [Accepted(row["id"], row["package"], row["until"], row["why"]) for row in rows]


def judged(report: Mapping[str, Any]) -> tuple[list[Hole] | None, str]:
    """The holes of a report; None when it leaves out a package, as it does of one that the service does not know."""
    left_out = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    found = holes(report)
    if left_out and not found:
        return None, f"the service knows nothing of {len(left_out)} packages, {left_out[0]} among them"
    return found, ""


def ask(lock: Path) -> tuple[list[Hole] | None, str]:
    """The holes of a lock, or None and why nobody could be asked."""
    argv = [
        sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip",
        "--format", "json", "--progress-spinner", "off",
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_LONGEST_S} s"
    try:
        return judged(json.loads(done.stdout))
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        return None, last[:300]


def main(arguments: Sequence[str]) -> int:
    """Ask, and say what came of it."""
    files = [Path(each) for each in arguments if not each.startswith("--")] or [RUNTIME]
    code = ExitCode.OK
    for lock in files:
        found, why = ask(lock)
        if found is None:
            sys.stderr.write(f"{lock.name}: not audited: {why}\n")
            if "--require" in arguments and code == ExitCode.OK:
                code = ExitCode.UNREACHABLE
            continue
        left = not_accepted(found, accepted_ones(), datetime.now(UTC).date())
        for hole in left:
            sys.stdout.write(f"{hole}\n")
        sys.stderr.write(
            f"{lock.name}: {len(left)} known holes, {len(found) - len(left)} more are accepted\n"
        )
        if left:
            code = ExitCode.SOME_FAILED
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
