"""Unfinished files of imports that were killed: removed by the next import, a day later."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Final

from archive.archive import Archive
from archive.layout import CONFLICTS, DATA
from archive.storage import LocalStorage
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger

_PART: Final = re.compile(r"\.[0-9a-f]{32}\.part", re.ASCII)
# Nobody writes to one file for so long: what is older is nobody's.
DAY_S: Final = 86_400.0

_log = get_logger("dicomrelay.archive")


@contextmanager
def importing(archive: Archive) -> Iterator[None]:
    """Around an import: it is noted as long as it lasts, and what one left that was killed is removed.

    Only when there was one: to look for its files all names of the archive are read. What cannot be done, because there is
    no room say, is left to the next one: the import itself meets the same, and says so.
    """
    changes = archive.writing_tools.changes
    name = ""
    try:
        cut = changes.old_imports(round(DAY_S * 1000))
        if cut:
            removed = remove_leftovers(archive)
            changes.end_import(*cut)
            _log.info("unfinished files of an import that was cut were removed", files=removed)
        name = changes.begin_import()
    except (RelayError, OSError) as error:
        kind = getattr(error, "strerror", None) or type(error).__name__
        _log.warning("unfinished files of the archive are left for later", reason=kind)
    try:
        yield
    finally:
        if name:
            with suppress(RelayError):
                changes.end_import(name)


def remove_leftovers(archive: Archive) -> int:
    """Remove every unfinished file that is older than a day; how many there were. Raises OSError."""
    removed = 0
    if not isinstance(archive.storage, LocalStorage):
        return removed  # there are none: uploads are the service's, and `check` lists them
    for folder in (DATA, CONFLICTS):
        for page in archive.storage.list(folder):
            for each in page:
                is_part = _PART.fullmatch(PurePosixPath(each.key).name)
                if is_part and time.time() - each.changed_s > DAY_S:
                    archive.storage.delete(each.key)
                    removed += 1
    return removed
