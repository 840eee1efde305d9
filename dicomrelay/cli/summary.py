"""The account of a `send` session, for people and as `logs/send_summary_<id>.json`."""

from __future__ import annotations

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from dicomrelay.cli.files import Passed
from dicomrelay.cli.progress import size
from dicomrelay.errors import ExitCode


def new_session_id() -> str:
    """Sorts by time, and is ours alone."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Outcome(Enum):
    """What a result counts as."""

    DELIVERED = "delivered"
    WAITING = "waiting"  # will be tried again without us
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

    @property
    def delivered(self) -> bool:
        """Whether it arrived."""
        return self.outcome is Outcome.DELIVERED


@dataclass(slots=True)
class Session:
    """A `send` from the first file to the last answer."""

    id: str
    configuration: Mapping[str, Any]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    files: int = 0
    scan_seconds: float = 0.0
    submitted: int = 0
    bytes: int = 0
    passed: list[Passed] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    ending: str = "finished"
    unreachable: str = ""  # why not one association came about, sending directly

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
    def exit_code(self) -> ExitCode:
        """How it went, in a number."""
        if self.ending == "interrupted":
            return ExitCode.INTERRUPTED
        if self.unreachable or (self.waiting and not self.failed and not self.faults):
            return ExitCode.UNREACHABLE
        return ExitCode.SOME_FAILED if self.faults or self.failed else ExitCode.OK

    def account(self) -> dict[str, Any]:
        """All of it but studies and results."""
        ended = self.ended or datetime.now(UTC)
        seconds = (ended - self.started).total_seconds()
        times = [result.seconds for result in self.results if result.delivered]
        delivered_bytes = sum(result.bytes for result in self.results if result.delivered)
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
                "submitted": self.submitted,
                "delivered": len(times),
                "waiting": len(self.waiting),
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

    def lines(self) -> list[str]:
        """For people."""
        data = self.account()
        counts, seconds = data["instances"], data["timing"]["seconds"]
        rate = f"{counts['instances_per_second']:.0f} instances/s, {size(counts['bytes_per_second'])}/s"
        account = (
            f"{counts['delivered']} delivered, {counts['failed']} failed, {counts['waiting']} waiting, "
            f"{len(self.faults)} files unusable, "
            f"{data['files']['skipped']} skipped; {size(counts['bytes'])} in {seconds:.1f} s ({rate})"
        )
        lines = [account]
        missing = [*self.failed, *self.waiting]
        reasons = Counter((result.destination, _why(result)) for result in missing)
        lines += [
            f"  {count}{f' to {to}' if to else ''}: {why}" for (to, why), count in reasons.most_common(10)
        ]
        lines += [f"  {passed.path}: {passed.reason}" for passed in self.faults[:20]]
        if len(self.faults) > 20:
            lines.append(f"  and {len(self.faults) - 20} files more")
        return lines


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write a file under another name first, so that nobody finds half of it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(pieces)
    part.replace(path)


def _why(result: Result) -> str:
    return ": ".join(filter(None, (result.reason or result.state, result.comment)))


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
            "failed": sum(row.outcome is Outcome.FAILED for row in rows),
            "bytes": sum(row.bytes for row in rows if row.delivered),
            "average_seconds": round(sum(times) / len(times), 6) if times else None,
        }


def _row(result: Result) -> dict[str, Any]:
    return {
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
