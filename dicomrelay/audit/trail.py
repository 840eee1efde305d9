"""The trail: entries of one home, a line each, in files of a day (docs/design/audit.md)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from dicomrelay.audit.chain import KEY, Checker, link_of
from dicomrelay.audit.values import Entry, as_json, from_json
from dicomrelay.errors import AuditError
from dicomrelay.log import get_logger
from dicomrelay.ownership import give_to_owner_of

SEGMENT_BYTES: Final = 16 << 20
_TAIL_BYTES: Final = 2048
# No link: root gives what it opens here to the owner of the home, who may have put one there that leads elsewhere.
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(\d{1,6}))?\.jsonl")
_log = get_logger("dicomrelay.audit")


@dataclass(frozen=True, order=True, slots=True)
class Segment:
    """One file: its day, and which of that day's."""

    day: date
    number: int = 0

    @property
    def name(self) -> str:
        """Of the file."""
        return f"{self.day.isoformat()}{f'.{self.number}' if self.number else ''}.jsonl"

    @classmethod
    def of(cls, name: str) -> Segment | None:
        """By its name; None for another file."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        try:
            return cls(date.fromisoformat(found[1]), int(found[2] or 0))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long, and how much."""

    days: int = 366
    max_bytes: int = 4 << 30


def _today() -> date:
    return datetime.now(UTC).date()


class Trail:
    """Writes and reads it. Safe for several threads and processes.

    Parameters
    ----------
    folder : Path
        Made with the first entry.
    heard : callable
        Whether the repository has heard a segment whole; there is none by default, so that age alone counts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keeping: Keeping = Keeping(),
        heard: Callable[[Segment], bool] = lambda _segment: True,
        today: Callable[[], date] = _today,
    ) -> None:
        self._folder = folder
        self._keeping = keeping
        self._heard = heard
        self._today = today
        self._current = Segment(date.min)

    def write(self, entry: Entry, *, durable: bool = False) -> None:
        """Write an entry; with `durable` it outlives a power cut once this returns.

        Raises
        ------
        AuditError
            It cannot be written.
        """
        found = as_json(entry)
        descriptor = -1
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                give_to_owner_of(self._folder.parent, self._folder)
            with self._locked():
                descriptor, is_new = self._opened()
                found[KEY] = self._last_link(descriptor)
                line = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
                _append(descriptor, line.encode() + b"\n")
                if is_new:
                    self._prune()
            if durable:
                os.fdatasync(descriptor)
                _sync_folder(self._folder)
        except OSError as error:
            raise AuditError(
                f"{self._folder}: the audit trail cannot be written: {error.strerror or type(error).__name__}"
            ) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def segments(self) -> list[Segment]:
        """Those there are, the oldest first."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AuditError(f"{self._folder}: the audit trail cannot be read: {error.strerror}") from None
        return sorted(segment for name in names if (segment := Segment.of(name)) is not None)

    def lines(self, segment: Segment, offset: int = 0, most_bytes: int = 1 << 20) -> list[tuple[bytes, int]]:
        """Whole lines of a segment from an offset on, each with the offset behind it; one at least, however long it is.

        Raises
        ------
        AuditError
            It cannot be read; gone counts as empty.
        """
        try:
            with (self._folder / segment.name).open("rb") as file:
                file.seek(offset)
                content = file.read(most_bytes)
                while len(content) >= most_bytes and b"\n" not in content:
                    more = file.read(most_bytes)
                    content += more
                    if not more:
                        break
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AuditError(
                f"{self._folder / segment.name}: the audit trail cannot be read: {error.strerror}"
            ) from None
        found = []
        for line in content.split(b"\n")[:-1]:  # a carriage return that somebody put in ends no line
            offset += len(line) + 1
            found.append((line + b"\n", offset))
        return found

    def entries(self, since: datetime | None = None) -> Iterator[Entry]:
        """Entries in their order, from a time on; what is torn or no entry is passed over."""
        first = since.astimezone(UTC).date() - timedelta(days=1) if since else date.min
        for segment in self.segments():
            if segment.day < first:
                continue
            offset = 0
            while lines := self.lines(segment, offset):
                offset = lines[-1][1]
                for line, _ in lines:
                    entry = read_line(line)
                    if entry is not None and (since is None or entry.at >= since):
                        yield entry

    def check(self, wanted: str = "") -> Checker:
        """Whether each line follows the one before it, and one of them has the digest that is wanted.

        Raises
        ------
        AuditError
            It cannot be read.
        """
        checker = Checker(wanted)
        segments = self.segments()
        for segment in segments:
            offset = number = 0
            while lines := self.lines(segment, offset):
                for line, offset in lines:  # noqa: B007 - the last one is where the next begin
                    number += 1
                    checker.look(segment.name, number, line)
            # Of the last one it may be under way; of another it was torn, and the next segment names it as if it had its end.
            if segment != segments[-1] and (torn := self._rest(segment, offset)):
                checker.look(segment.name, number + 1, torn + b"\n")
        return checker

    def _rest(self, segment: Segment, offset: int) -> bytes:
        try:
            with (self._folder / segment.name).open("rb") as file:
                file.seek(offset)
                return file.read(SEGMENT_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise AuditError(
                f"{self._folder / segment.name}: the audit trail cannot be read: {error.strerror}"
            ) from None

    def path(self, segment: Segment) -> Path:
        """Where a segment is."""
        return self._folder / segment.name

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Opened each time: what a fork inherits is one lock for both.
        descriptor = os.open(self._folder / "lock", _OPEN | os.O_CREAT, 0o600)
        try:
            give_to_owner_of(self._folder, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _opened(self) -> tuple[int, bool]:
        """The segment to write to, and whether it is new. Never one before the newest there is, whatever the clock says."""
        day = self._today()
        # Gone: removed for its bytes while this process had nothing to say. Made anew it would stand before what is shipped.
        if day > self._current.day or not (self._folder / self._current.name).exists():
            newest = max(self.segments(), default=Segment(day))
            self._current = max(newest, Segment(day))
        while True:
            path = self._folder / self._current.name
            is_new = not path.exists()
            descriptor = os.open(path, _OPEN | os.O_APPEND | os.O_CREAT, 0o600)
            give_to_owner_of(self._folder, descriptor)
            if os.fstat(descriptor).st_size < SEGMENT_BYTES:
                return descriptor, is_new
            os.close(descriptor)
            self._current = Segment(self._current.day, self._current.number + 1)

    def _last_link(self, descriptor: int) -> str:
        """What the next line says of the one before it, in this segment or the one before; "" for the first of all."""
        line = _last_line(descriptor)
        before = [] if line else [each for each in self.segments() if each < self._current]
        while not line and before:  # one that a full disk left empty says nothing
            other = os.open(self._folder / before.pop().name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                line = _last_line(other)
            finally:
                os.close(other)
        return link_of(line if line.endswith(b"\n") else line + b"\n") if line else ""

    def _prune(self) -> None:
        """Remove what is too old, and the oldest of what is too much; never the one that is written to."""
        found = [each for each in self.segments() if each < self._current]
        oldest = self._current.day - timedelta(days=self._keeping.days)
        for segment in [each for each in found if each.day < oldest and self._heard(each)]:
            (self._folder / segment.name).unlink(missing_ok=True)
            found.remove(segment)
        sizes = {each: _size(self._folder / each.name) for each in found}
        total = sum(sizes.values())
        for segment in found:
            if total <= self._keeping.max_bytes:
                return
            (self._folder / segment.name).unlink(missing_ok=True)
            total -= sizes[segment]
            _log.warning(
                "a segment of the audit trail was removed for its bytes",
                action="audit.removed",
                segment=segment.name,
                sent=self._heard(segment),
            )


def read_line(line: bytes) -> Entry | None:
    """An entry from a line; None when it is torn or none."""
    try:
        found = json.loads(line)
        return from_json(found) if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return None


def _append(descriptor: int, line: bytes) -> None:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        line = b"\n" + line  # somebody's write was torn
    if os.write(descriptor, line) < len(line):
        raise OSError("no space left")


def _last_line(descriptor: int) -> bytes:
    """With its end, where it has one; empty of an empty file."""
    end, size = os.lseek(descriptor, 0, os.SEEK_END), _TAIL_BYTES
    while end:
        begin = max(0, end - size)
        tail = os.pread(descriptor, end - begin, begin)
        at = tail.rfind(b"\n", 0, len(tail) - 1)
        if at >= 0 or not begin:
            return tail[at + 1 :]
        size *= 8
    return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
