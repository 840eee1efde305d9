"""The folder of an archive: which format it is of, which policy it has, who has it open; and how one is made.

`archive.json` is the folder's own word, so that it can be trusted when the index is gone (docs/design/archive-writing.md).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from archive.disk import Disk, temporary_name
from archive.layout import CONFLICTS, DATA, FRAMES, REMOVED
from archive.values import Policy
from dicomrelay.errors import ArchiveError, ConfigurationError, ServiceUnavailable

FORMAT: Final = 2
FACTS: Final = "archive.json"
LOCK: Final = "archive.lock"
INDEX: Final = "index.sqlite"
REBUILDING: Final = "index.rebuilding.sqlite"
# What is ours in the root; everything else is somebody's.
OURS: Final = (
    FACTS, DATA, FRAMES, CONFLICTS, REMOVED, "lost+found", "cache",
    *(f"{name}{suffix}" for name in (INDEX, REBUILDING) for suffix in ("", "-wal", "-shm")),
)  # fmt: skip
_CANNOT_WRITE: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Facts:
    """What `archive.json` says; made `created_ms` milliseconds since the epoch, 0 when it does not say.

    `of_a_relay`: a relay has had it open, so its ledger, and nobody else, says what of it has been delivered.
    """

    format: int = FORMAT
    created_ms: int = 0
    policy: Policy = Policy.KEEP_FIRST
    of_a_relay: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What another process needs to open an archive that has its files. The URL may hold a password: never to be shown."""

    root: Path
    database_url: str | None
    policy: Policy


def read_facts(root: Path) -> Facts | None:
    """What the folder says of itself; None when it says nothing.

    Raises
    ------
    ArchiveError
        It was made by a newer version, or `archive.json` cannot be read.
    """
    try:
        found: Any = json.loads((root / FACTS).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArchiveError(f"archive {root}: {FACTS} cannot be read: {error.strerror}") from error
    except ValueError:
        found = None
    format_ = found.get("format") if isinstance(found, dict) else None
    if not isinstance(format_, int):
        raise ArchiveError(
            f"archive {root}: {FACTS} is damaged: move it away, the next start writes it again (with the policy keep_first)"
        )
    if format_ > FORMAT:
        raise ArchiveError(
            f"archive {root} was made by a newer version of dicomrelay (format {format_}, this one knows {FORMAT}): "
            "update dicomrelay"
        )
    policies = {policy.value: policy for policy in Policy}
    policy = policies.get(str(found.get("policy", "")), Policy.KEEP_FIRST)
    created_ms = found.get("created_ms")
    return Facts(
        format_, created_ms if isinstance(created_ms, int) else 0, policy, found.get("of_a_relay") is True
    )


def write_facts(root: Path, facts: Facts, disk: Disk | None = None) -> None:
    """Write them, at once and durably. Raises OSError."""
    disk = disk or Disk()
    target = root / FACTS
    temporary = temporary_name(target)
    values: dict[str, Any] = {
        "format": facts.format,
        "created_ms": facts.created_ms,
        "policy": facts.policy.value,
    }
    if facts.of_a_relay:
        values["of_a_relay"] = True
    try:
        disk.write(temporary, json.dumps(values, indent=1).encode() + b"\n")
        disk.replace(temporary, target)
    except OSError:
        disk.remove(temporary)
        raise
    disk.sync_directory(root)


def enter(root: Path) -> Facts:
    """What an archive says of itself, written down where it says nothing yet and can.

    Raises
    ------
    ArchiveError
        It was made by a newer version, or `archive.json` cannot be read or written.
    """
    facts = read_facts(root)
    if facts is not None and facts.format == FORMAT:
        return facts
    known = facts or Facts()
    facts = replace(known, format=FORMAT, created_ms=known.created_ms or time.time_ns() // 1_000_000)
    _write_if_possible(root, facts)
    return facts


def mark_as_of_a_relay(root: Path) -> None:
    """Write down, once, that a relay works with the archive, which must be there: nobody else knows what is delivered.

    Raises
    ------
    ArchiveError
        As `enter`.
    """
    facts = read_facts(root)
    if facts is not None and not facts.of_a_relay:
        _write_if_possible(root, replace(facts, of_a_relay=True))


def _write_if_possible(root: Path, facts: Facts) -> None:
    """On a file system that is read-only nothing is written, and the archive can be read."""
    try:
        write_facts(root, facts)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise ArchiveError(f"archive {root}: {FACTS} cannot be written: {error.strerror}") from error


class UseLock:
    """Held by everybody who has an archive open; by a rebuild alone. The kernel lets go of it with the process.

    Parameters
    ----------
    alone : bool
        Nobody else may have the archive open.

    Raises
    ------
    ConfigurationError
        Others have it open that is to be had alone.
    ServiceUnavailable
        One has it alone.
    ArchiveError
        The file of the lock cannot be opened.
    """

    def __init__(self, root: Path, *, alone: bool = False) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # Who can only read cannot make the file; and nobody rebuilds here either.
            if alone or error.errno not in _CANNOT_WRITE:
                raise ArchiveError(f"archive {root}: {LOCK} cannot be opened: {error.strerror}") from error
            return
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ArchiveError(f"archive {root}: cannot be locked: {error.strerror}") from error
            if not alone:
                raise ServiceUnavailable(
                    f"archive {root}: its index is being made anew: wait until that is done"
                ) from None
            raise ConfigurationError(
                f"archive {root} is open elsewhere: stop `dicomrelay up` and whatever else uses it, then try again"
            ) from None

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """Who forgets an archive lets go of it."""
        self.close()

    def __enter__(self) -> UseLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
