"""What the archive set aside, against its list of it: it is nowhere else, and served to nobody, so nobody would see it go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from archive.looking import look_aside
from archive.storage import Storage
from archive.values import Conflict
from dicomrelay.errors import ServiceUnavailable
from workers.integrity.findings import Finding
from workers.integrity.invariants import Invariant
from workers.integrity.looking import AGAIN_S, Look

_PAGE: Final = 1000


def check_aside(look: Look) -> Iterator[Finding]:
    """See docs/design/integrity.md, `archive.aside`."""
    if look.archive is None or look.health is None:
        return
    done = last = read = 0
    while asides := look.health.asides_after(last, _PAGE):
        for last, conflict in asides:
            words, count = _wrong(look.archive.storage, conflict, read=look.read_data)
            read += count
            if words:
                # A rebuild, or who undoes a change, may just have taken row and file away.
                time.sleep(AGAIN_S)
                is_listed = (last, conflict) in look.health.asides_after(last - 1, 1)
                words = _wrong(look.archive.storage, conflict, read=look.read_data)[0] if is_listed else ""
            if words:
                uid = conflict.sop_instance_uid
                yield Finding(
                    Invariant.ARCHIVE_ASIDE, uid, f"what was set aside: {words}", sop_instance_uid=uid
                )
        done += len(asides)
        look.tick("archive: set aside", done, 0, read)


def _wrong(storage: Storage, conflict: Conflict, *, read: bool) -> tuple[str, int]:
    """What is wrong with it, "" when nothing is, and how many bytes were read to see that."""
    try:
        seen = look_aside(storage, conflict, read=read)
    except ServiceUnavailable as error:
        return f"its file cannot be looked at: {error}", 0
    return ("" if seen.damage is None else seen.words), seen.read_bytes
