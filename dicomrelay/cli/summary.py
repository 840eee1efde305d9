"""The account of a `send` session, for people and as `logs/send_summary_<id>.json`."""

from __future__ import annotations

import json
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from dicomrelay.cli.files import Passed
from dicomrelay.errors import ExitCode
from dicomrelay.text import shown, size

_FEW: Final = 5
_MOST_REASONS: Final = 10


def new_session_id() -> str:
    """Sorts by time, and is ours alone."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Outcome(Enum):
    """What a result counts as."""

    DELIVERED = "delivered"
    WAITING = "waiting"  # will be tried again without us
    NOT_SENT = "not_sent"  # we were interrupted before
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one instance at one destination ("" when none was named)."""

    sop_instance_uid: str
    study_instance_uid: str
    destination: str
    state: str
    outcome: Outcome
    status: int | None
    reason: str
    bytes: int
    seconds: float
    attempts: int = 1
    transfer_syntax_uid: str = ""  # of what was sent, where it is known
    comment: str = ""  # the peer's own words: for the one who looks, in no file of ours
    path: str = ""  # the file, where one file alone can be meant

    @property
    def delivered(self) -> bool:
        """Whether it arrived."""
        return self.outcome is Outcome.DELIVERED

    @property
    def warned(self) -> bool:
        """Whether it arrived and the peer had a remark (Bxxx)."""
        return self.delivered and self.status is not None and self.status >> 12 == 0xB


@dataclass(slots=True)
class Session:
    """A `send` from the first file to the last answer."""

    id: str
    configuration: Mapping[str, Any]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    files: int = 0
    scan_seconds: float = 0.0
    submitted: int = 0  # into the spool
    bytes: int = 0
    passed: list[Passed] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    ending: str = "finished"
    unregistered: int = 0  # in the spool, and looked at by no worker yet
    unreachable: str = ""  # why not one association came about, sending directly
    relay_gone: str = ""  # why nobody works on what was submitted

    @property
    def faults(self) -> list[Passed]:
        """Files that should have been sent and could not."""
        return [passed for passed in self.passed if passed.fault]

    @property
    def failed(self) -> list[Result]:
        """Instances that did not arrive and will not by themselves."""
        return [result for result in self.results if result.outcome is Outcome.FAILED]

    @property
    def waiting(self) -> list[Result]:
        """Instances whose destination could not be reached yet."""
        return [result for result in self.results if result.outcome is Outcome.WAITING]

    @property
    def not_sent(self) -> int:
        """Instances whose turn never came, because of an interruption."""
        return sum(result.outcome is Outcome.NOT_SENT for result in self.results)

    @property
    def exit_code(self) -> ExitCode:
        """How it went, in a number."""
        if self.ending == "interrupted":
            return ExitCode.INTERRUPTED
        if self.unreachable or self.relay_gone or (self.waiting and not self.failed and not self.faults):
            return ExitCode.UNREACHABLE
        return ExitCode.SOME_FAILED if self.faults or self.failed else ExitCode.OK

    def account(self) -> dict[str, Any]:
        """All of it but studies and results."""
        ended = self.ended or datetime.now(UTC)
        seconds = (ended - self.started).total_seconds()
        times = [result.seconds for result in self.results if result.delivered]
        delivered_bytes = sum(result.bytes for result in self.results if result.delivered)
        is_direct = bool(self.configuration.get("direct"))
        return {
            "session_id": self.id,
            "job_id": self.id if self.submitted else None,
            "ending": self.ending,
            "exit_code": int(self.exit_code),
            "configuration": dict(self.configuration),
            "timing": {
                "started": self.started.isoformat(),
                "ended": ended.isoformat(),
                "seconds": round(seconds, 3),
                "scan_seconds": round(self.scan_seconds, 3),
            },
            "files": {
                "dicom": self.files,
                "skipped": len(self.passed) - len(self.faults),
                "unusable": [{"path": str(passed.path), "reason": passed.reason} for passed in self.faults],
            },
            "instances": {
                "submitted": None if is_direct else self.submitted,
                "delivered": len(times),
                "warnings": sum(result.warned for result in self.results),
                "waiting": len(self.waiting),
                "unregistered": self.unregistered,
                "not_sent": self.not_sent,
                "failed": len(self.failed),
                "bytes": delivered_bytes,
                "bytes_per_second": round(delivered_bytes / seconds) if seconds else 0,
                "instances_per_second": round(len(times) / seconds, 3) if seconds else 0.0,
                "average_seconds": round(sum(times) / len(times), 6) if times else None,
            },
        }

    def text(self) -> Iterator[str]:
        """The account as JSON, in pieces: there may be a million results.

        UIDs and paths of the files that were left out are in it, and no attribute of a patient.
        """
        yield json.dumps(self.account(), indent=2)[:-2]
        yield ',\n  "studies": ['
        yield from _rows(_by_study(self.results))
        yield '],\n  "results": ['
        yield from _rows(map(_row, self.results))
        yield "]\n}\n"

    def write(self, folder: Path) -> Path:
        """Write the JSON file, whole or not at all; where it is."""
        path = folder / f"send_summary_{self.id}.json"
        write_whole(path, self.text())
        return path

    def lines(self, *, verbose: bool = False) -> list[str]:
        """For people; with what the peer says of its own when they ask for it."""
        data = self.account()
        counts, seconds = data["instances"], data["timing"]["seconds"]
        rate = f"{counts['instances_per_second']:.0f} instances/s, {size(counts['bytes_per_second'])}/s"
        warned = f" ({counts['warnings']} with a warning)" if counts["warnings"] else ""
        not_sent = f"{self.not_sent} not sent, " if self.not_sent else ""
        account = (
            f"{counts['delivered']} delivered{warned}, {counts['failed']} failed, {counts['waiting']} waiting, {not_sent}"
            f"{len(self.faults)} files unusable, "
            f"{data['files']['skipped']} skipped; {size(counts['bytes'])} in {seconds:.1f} s ({rate})"
        )
        lines = [account]
        if self.unregistered:
            lines.append(f"  {self.unregistered} lie in the spool and have not been looked at yet")
        lines += _reasons([*self.failed, *self.waiting], verbose=verbose)
        lines += [f"  {passed.path}: {passed.reason}" for passed in self.faults[:20]]
        if len(self.faults) > 20:
            lines.append(f"  and {len(self.faults) - 20} files more")
        return lines


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write a file for our user only, under another name first, so that nobody finds half of it."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8", opener=_private) as file:
        file.writelines(pieces)
    part.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _reasons(missing: Sequence[Result], *, verbose: bool) -> Iterator[str]:
    """What did not arrive: alike ones together, the first few by name."""
    alike: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in missing:
        alike[result.destination, _why(result, verbose=verbose)].append(result)
    most = sorted(alike.items(), key=lambda item: -len(item[1]))
    for (to, why), results in most[:_MOST_REASONS]:
        yield f"  {len(results)}{f' to {to}' if to else ''}: {why}"
        paths = [result.path for result in results if result.path]
        yield from (f"    {path}" for path in paths[:_FEW])
        if len(paths) > _FEW:
            yield f'    and {len(paths) - _FEW} more: "results" of the summary has them all'
    if len(most) > _MOST_REASONS:
        yield f"  and {len(most) - _MOST_REASONS} other reasons, in the summary"


def _why(result: Result, *, verbose: bool) -> str:
    # A peer may name a patient, and standard error ends in logs of others; what has no status is not the peer's.
    comment = result.comment if verbose or result.status is None else ""
    return ": ".join(filter(None, (result.reason or result.state, shown(comment))))


def _rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    separator = "\n    "
    for row in rows:
        yield separator + json.dumps(row)
        separator = ",\n    "
    yield "" if separator == "\n    " else "\n  "


def _by_study(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    studies: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        studies[result.study_instance_uid].append(result)
    for uid, rows in studies.items():
        times = [row.seconds for row in rows if row.delivered]
        yield {
            "study_instance_uid": uid,
            "delivered": len(times),
            "waiting": sum(row.outcome is Outcome.WAITING for row in rows),
            "not_sent": sum(row.outcome is Outcome.NOT_SENT for row in rows),
            "failed": sum(row.outcome is Outcome.FAILED for row in rows),
            "bytes": sum(row.bytes for row in rows if row.delivered),
            "average_seconds": round(sum(times) / len(times), 6) if times else None,
        }


def _row(result: Result) -> dict[str, Any]:
    return {
        "path": result.path,
        "sop_instance_uid": result.sop_instance_uid,
        "study_instance_uid": result.study_instance_uid,
        "destination": result.destination,
        "state": result.state,
        "status": None if result.status is None else f"0x{result.status:04X}",
        "reason": result.reason,
        "attempts": result.attempts,
        "bytes": result.bytes,
        "seconds": result.seconds,
        "transfer_syntax_uid": result.transfer_syntax_uid,
    }
