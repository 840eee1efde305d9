"""The audit trail in a backup: whole lines, packed; restored, it joins what is there and replaces none of it."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dicomrelay.errors import BackupDamaged
from dicomrelay.ownership import give_to_owner_of

FOLDER: Final = "audit"
_CURSOR: Final = "shipped.json"
_PACKED: Final = ".gz"
# As the trail names its segments (docs/design/audit.md); what has another name is none of it.
_SEGMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(\d{1,6}))?\.jsonl")
# Four times what a segment may grow to: what unpacks to more is another file.
_MOST_BYTES: Final = 64 << 20

Order = tuple[str, int]


def packed(home_path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file for the backup, as of now; who writes to the trail is not kept waiting.

    How far the repository has heard is read first, so that it never is behind the end of what is copied.
    """
    folder = home_path / FOLDER
    with contextlib.suppress(OSError):
        cursor = (folder / _CURSOR).read_bytes()
        if _place(cursor) is not None:
            yield _CURSOR, cursor
    for name in sorted(_segments(folder), key=_order):
        try:
            content = (folder / name).read_bytes()
        except FileNotFoundError:  # its time was over just now
            continue
        # The last line may be under way.
        yield name + _PACKED, gzip.compress(content[: content.rfind(b"\n") + 1], compresslevel=1, mtime=0)


def restore(home_path: Path, files: Mapping[str, bytes]) -> bool:
    """Join the trail of a backup with the one of the home; whether anything was written.

    A segment that is not there is made. One that is there stays, and what it does not have becomes a further segment of that
    day. The place up to which the repository has heard is the backup's where the home has none, or before that where the home
    has entries of its own: what was sent may be sent again, and nothing is left out.

    Parameters
    ----------
    files : mapping
        Name → content, as `packed` gave them.

    Raises
    ------
    BackupDamaged
        A file is no segment of a trail.
    OSError
        It cannot be written.
    """
    contents = {
        name.removesuffix(_PACKED): _unpacked(name, content)
        for name, content in files.items()
        if name != _CURSOR
    }
    folder = home_path / FOLDER
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_to_owner_of(home_path, folder)
    with _locked(folder):
        written = [name for name in sorted(contents, key=_order) if _joined(folder, name, contents[name])]
        place = _place(files.get(_CURSOR, b""))
        if place is None or (folder / _CURSOR).exists():
            return bool(written)
        own = [
            (_order(name), 0)
            for name in _segments(folder)
            if not contents.get(name) or (folder / name).read_bytes() != contents[name]
        ]
        (day, number), offset = min([place, *own])
        text = json.dumps({"segment": _name(day, number), "offset": offset})
        _write(folder, _CURSOR, text.encode())
        return True


def _joined(folder: Path, name: str, content: bytes) -> bool:
    """Whether a segment was written: not where the home has its lines already."""
    day, number = _order(name)
    own = {each: (folder / each).read_bytes() for each in _segments(folder) if _order(each)[0] == day}
    if not content or any(each.startswith(content) for each in own.values()):
        return False
    if name in own and not content.startswith(own[name]):
        number = max(_order(each)[1] for each in own) + 1
    _write(folder, _name(day, number), content)
    return True


def _unpacked(name: str, content: bytes) -> bytes:
    if not name.endswith(_PACKED) or not _SEGMENT.fullmatch(name.removesuffix(_PACKED)):
        raise BackupDamaged(f"{FOLDER}/{name} of the manifest: is no segment of an audit trail")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise BackupDamaged(f"{FOLDER}/{name}: cannot be unpacked") from error
    if len(found) > _MOST_BYTES:
        raise BackupDamaged(f"{FOLDER}/{name}: unpacks to more than a segment of an audit trail can be")
    return found


def _segments(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if _SEGMENT.fullmatch(name)]
    except FileNotFoundError:
        return []


def _order(name: str) -> Order:
    found = _SEGMENT.fullmatch(name)
    assert found is not None  # noqa: S101 - of names that were looked at
    return found[1], int(found[2] or 0)


def _name(day: str, number: int) -> str:
    return f"{day}{f'.{number}' if number else ''}.jsonl"


def _place(text: bytes) -> tuple[Order, int] | None:
    try:
        found = json.loads(text)
        name, offset = found["segment"], found["offset"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(name, str) or not isinstance(offset, int) or not _SEGMENT.fullmatch(name):
        return None
    return _order(name), max(offset, 0)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """As who writes to the trail."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        give_to_owner_of(folder, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, name: str, content: bytes) -> None:
    fresh = folder / f".{name}.restoring"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        give_to_owner_of(folder, descriptor)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
