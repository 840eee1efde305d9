"""Where the bytes of an instance are: in the spool until it is released, from then on in the archive."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dicomrelay import metrics
from dicomrelay.errors import ServiceUnavailable, SpoolCorrupt
from dicomrelay.ledger.values import InstanceFacts
from dicomrelay.metrics.catalogue import DIGEST_FAILURES
from dicomrelay.runtime import home
from workers.rooms import Rooms

_CHUNK_BYTES: Final = 1 << 20
_AGAIN: Final = "send it again from where it came"


def verified(rooms: Rooms, facts: InstanceFacts, *, moved: Callable[[], None] = lambda: None) -> Path:
    """Where an instance's bytes are, once they are seen to be the bytes that were acknowledged.

    Parameters
    ----------
    moved : callable
        Called for every MiB that was read: of a large file on a slow disk that takes minutes, in which a lease must live.

    Raises
    ------
    SpoolCorrupt
        Nowhere, or they are others now: a bad disk, or a file that was read where it lay and has changed.
        It names no path.
    OSError
        They cannot be read.
    """
    path = locate(rooms, facts, moved=moved)
    if facts.source_path and not path.exists():
        raise SpoolCorrupt("the file that was to be read where it lies is gone")
    digest = hashlib.sha256()
    left = facts.data_set_bytes
    with path.open("rb", buffering=0) as file:
        file.seek(facts.data_set_offset)
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
            moved()
    if left or digest.hexdigest() != facts.digest:
        metrics.add(DIGEST_FAILURES, "use")
        raise SpoolCorrupt("the bytes are not those that were acknowledged: their digest differs")
    return path


def locate(rooms: Rooms, facts: InstanceFacts, *, moved: Callable[[], None] = lambda: None) -> Path:
    """Where an instance's bytes are now.

    Raises
    ------
    SpoolCorrupt
        Nowhere: time does not mend that.
    OSError
        They are in the archive, and its storage or its index is away.
    """
    foreign = facts.host != rooms.host
    if foreign and not facts.archive_path and home.is_shared(rooms.settings):
        # Claims pass over it; whoever has it all the same lets it wait.
        raise OSError(errno.EAGAIN, "its bytes are in another host's spool, and not in the archive yet")
    elsewhere = facts.released or foreign
    if facts.archive_path and elsewhere:
        try:
            return _in_the_archive(rooms, facts, moved)
        except ServiceUnavailable as error:
            # Of this instance and for now, like a disk that does not answer.
            raise OSError(errno.EAGAIN, str(error)) from error
    return Path(facts.source_path) if facts.source_path else rooms.spool.locate(facts.spool_id)


def _in_the_archive(rooms: Rooms, facts: InstanceFacts, moved: Callable[[], None]) -> Path:
    """Its file there, by the ledger's word; where that is not so, by the index's. Raises SpoolCorrupt, ServiceUnavailable."""
    path = _file(rooms, facts.archive_path, facts.digest, moved)
    if path is not None:
        return path
    uid, inventory = facts.sop_instance_uid, rooms.archive.inventory()
    stored = inventory.known([uid]).get(uid)
    if stored is None:
        why = "it was removed" if inventory.removed([uid]) else "it is not there any more"
        raise SpoolCorrupt(f"the archive does not have the instance: {why}; {_AGAIN}")
    if stored.digest != facts.digest:
        raise SpoolCorrupt("the archive has other bytes under its SOP Instance UID")
    if stored.relative_path != facts.archive_path:
        path = _file(rooms, stored.relative_path, stored.digest, moved)
    if path is None:
        rooms.archive.storage.require()
        raise SpoolCorrupt(f"its file in the archive is gone; {_AGAIN}")
    return path


def _file(rooms: Rooms, relative_path: str, digest: str, moved: Callable[[], None]) -> Path | None:
    """The file at a path of the archive; None when there is none."""
    try:
        path = rooms.archive.path_at(relative_path, digest, moved=moved)
    except FileNotFoundError:
        return None
    return path if path.exists() else None
