"""The account of a `receive` session: counts in memory, a line an instance on disk, a summary at the end."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dicomrelay.cli.receiving.folder import Keeping
from dicomrelay.cli.receiving.sink import Received
from dicomrelay.cli.summary import write_whole
from dicomrelay.dicom.status import status_name
from dicomrelay.errors import ExitCode
from dicomrelay.net.service import AssociationEnding, AssociationInfo
from dicomrelay.text import shown, size

_MOST_STUDIES: Final = 10_000
_MOST_NAMED: Final = 1_000


@dataclass(slots=True)
class _Study:
    instances: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Caller:
    associations: int = 0
    stored: int = 0
    refused: int = 0


@dataclass
class Account:
    """What a session has received; for all threads.

    Attributes
    ----------
    rows : Path
        Gets one line of JSON for each instance.
    """

    session_id: str
    configuration: Mapping[str, Any]
    rows: Path
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ending: str = ""
    stored: int = 0
    bytes: int = 0
    open: int = 0
    touched_at: float = field(default_factory=time.monotonic)  # when anything came or ended last

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._by_keeping: Counter[Keeping] = Counter()
        self._refusals: Counter[str] = Counter()
        self._seconds = 0.0
        self._busy_since = 0.0
        self._busy_s = 0.0  # in which there was an association
        self._turned_away: Counter[str] = Counter()
        self._studies: OrderedDict[str, _Study] = OrderedDict()
        self._forgotten_studies = 0
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._beside: list[str] = []
        self._file = self.rows.open("a", encoding="utf-8")
        self.rows.chmod(0o600)

    @property
    def refused(self) -> int:
        """Instances that were answered with a failure."""
        return sum(self._refusals.values())

    @property
    def exit_code(self) -> ExitCode:
        """How it went, in a number: to be interrupted is how a receiver ends."""
        return ExitCode.SOME_FAILED if self.refused else ExitCode.OK

    def opened(self) -> None:
        """An association began."""
        with self._lock:
            self.touched_at = time.monotonic()
            if not self.open:
                self._busy_since = self.touched_at
            self.open += 1

    def received(self, association: AssociationInfo, received: Received) -> None:
        """An instance was kept or refused."""
        row = json.dumps(_row(association, received))
        with self._lock:
            self.touched_at = time.monotonic()
            if received.kept is None:
                self._refusals[received.reply.comment or status_name(received.reply.status)] += 1
            else:
                self._keep(received, received.kept.keeping, received.kept.relative)
            if not self._file.closed:
                self._file.write(row + "\n")

    def closed(self, association: AssociationInfo, ending: AssociationEnding) -> None:
        """An association is over."""
        with self._lock:
            self.open -= 1
            self.touched_at = time.monotonic()
            if not self.open:
                self._busy_s += self.touched_at - self._busy_since
            caller = self._callers.setdefault(association.calling_ae_title, _Caller())
            caller.associations += 1
            caller.stored += ending.stored
            caller.refused += ending.failed
            if len(self._callers) > _MOST_NAMED:
                self._callers.popitem(last=False)

    @property
    def turned(self) -> int:
        """Callers that got no association."""
        return self._turned_away.total()

    def turned_away(self, reason: str) -> None:
        """A caller got no association."""
        with self._lock:
            is_known = reason in self._turned_away or len(self._turned_away) < _MOST_NAMED
            self._turned_away[reason if is_known else "other reasons"] += 1

    def flush(self) -> None:
        """Let the rows so far be seen."""
        with self._lock:
            self._file.flush()

    def finish(self, ending: str, folder: Path) -> tuple[Path, dict[str, Any]]:
        """The session is over: the summary, and where it is."""
        self.ending = ending
        with self._lock:
            self._file.close()
            data = self._data()
        path = folder / f"receive_summary_{self.session_id}.json"
        write_whole(path, [json.dumps(data, indent=2), "\n"])
        return path, data

    def lines(self) -> list[str]:
        """For people."""
        seconds = (datetime.now(UTC) - self.started).total_seconds()
        again, beside = self._by_keeping[Keeping.AGAIN], self._by_keeping[Keeping.BESIDE]
        there = f" ({again} of them were there already)" if again else ""
        busy_s = self._busy_seconds()
        rate = f" ({self.stored / busy_s:.0f} instances/s, {size(self.bytes / busy_s)}/s)" if busy_s else ""
        took = f"{size(self.bytes)} in {busy_s:.1f} s of associations{rate}; listened for {seconds:.1f} s"
        lines = [f"{self.stored} instances stored{there}, {self.refused} refused; {took}"]
        if beside:
            lines.append(f"  {beside} had other bytes under the same SOP Instance UID, and are kept beside:")
            lines += [f"    {relative}" for relative in self._beside[:20]]
        lines += [f"  {count} refused: {why}" for why, count in self._refusals.most_common(10)]
        if self.turned:
            lines.append(f"  {self.turned} callers were turned away:")
            lines += [f"    {count}: {shown(why)}" for why, count in self._turned_away.most_common(10)]
        return lines

    def _busy_seconds(self) -> float:
        return self._busy_s + (time.monotonic() - self._busy_since if self.open else 0.0)

    def _keep(self, received: Received, keeping: Keeping, relative: str) -> None:
        self.stored += 1
        self.bytes += received.data_set_bytes
        self._seconds += received.seconds
        self._by_keeping[keeping] += 1
        if keeping is Keeping.BESIDE and len(self._beside) < _MOST_NAMED:
            self._beside.append(relative.rpartition("/")[2])  # above it there may be a patient's id
        study = self._studies.setdefault(received.header.study_instance_uid, _Study())
        study.instances += 1
        study.bytes += received.data_set_bytes
        self._studies.move_to_end(received.header.study_instance_uid)
        if len(self._studies) > _MOST_STUDIES:
            self._studies.popitem(last=False)
            self._forgotten_studies += 1

    def _data(self) -> dict[str, Any]:
        ended = datetime.now(UTC)
        seconds = (ended - self.started).total_seconds()
        busy_s = self._busy_seconds()
        return {
            "session_id": self.session_id,
            "ending": self.ending,
            "exit_code": int(self.exit_code),
            "configuration": dict(self.configuration),
            "timing": {
                "started": self.started.isoformat(),
                "ended": ended.isoformat(),
                "seconds": round(seconds, 3),
                "busy_seconds": round(busy_s, 3),
            },
            "instances": {
                "stored": self.stored,
                "already_there": self._by_keeping[Keeping.AGAIN],
                "kept_beside": self._by_keeping[Keeping.BESIDE],
                "refused": self.refused,
                "bytes": self.bytes,
                "bytes_per_second": round(self.bytes / busy_s) if busy_s else 0,
                "instances_per_second": round(self.stored / busy_s, 3) if busy_s else 0.0,
                "average_seconds": round(self._seconds / self.stored, 6) if self.stored else None,
            },
            "refusals": dict(self._refusals.most_common(_MOST_NAMED)),
            "kept_beside": self._beside,
            "turned_away": dict(self._turned_away.most_common(_MOST_NAMED)),
            "callers": [
                {
                    "calling_ae_title": title,
                    "associations": caller.associations,
                    "stored": caller.stored,
                    "refused": caller.refused,
                }
                for title, caller in self._callers.items()
            ],
            "studies": [
                {"study_instance_uid": uid, "instances": study.instances, "bytes": study.bytes}
                for uid, study in self._studies.items()
            ],
            "studies_left_out": self._forgotten_studies,
        }


def _row(association: AssociationInfo, received: Received) -> dict[str, Any]:
    kept = received.kept
    return {
        "time": datetime.now(UTC).isoformat(),
        "association_id": association.id,
        "calling_ae_title": association.calling_ae_title,
        "sop_class_uid": received.request.sop_class_uid,
        "sop_instance_uid": received.request.sop_instance_uid,
        "study_instance_uid": received.header.study_instance_uid,
        "status": f"0x{received.reply.status:04X}",
        "state": kept.keeping.value if kept else "refused",
        "reason": received.reply.comment,
        "bytes": received.data_set_bytes,
        "seconds": received.seconds,
    }
