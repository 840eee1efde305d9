"""Log files of services that have grown too large are put away as `<name>.log.1`, `.2` and so on.

Whoever writes one has it open for appending and goes on writing to the same file, so it is copied and then cut to
nothing; it is not renamed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dicomrelay.log import get_logger

_log = get_logger("dicomrelay.supervisor")
_LOOK_EVERY_S: Final = 10.0


def rotate(path: Path, *, max_bytes: int, files: int) -> bool:
    """Put a log file away when it is larger than it may be; whether it was.

    A line that is written between the copy and the cut is lost; what came during the copy is copied, too.

    Parameters
    ----------
    path : Path
        Must be written with O_APPEND only.
    files : int
        How many are kept beside it, 1 or more; the oldest goes.

    Raises
    ------
    OSError
        The folder cannot be written; the file stays as it is.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    fresh = path.with_name(f"{path.name}.new")
    with path.open("rb") as source, fresh.open("wb") as target:
        os.fchmod(target.fileno(), path.stat().st_mode & 0o777)
        shutil.copyfileobj(source, target, 1 << 20)
        for number in range(files - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        shutil.copyfileobj(source, target)  # what has come since
        os.truncate(path, 0)
    fresh.replace(path.with_name(f"{path.name}.1"))
    return True


def rotate_until(
    stop: threading.Event, paths: Sequence[Path], *, max_bytes: int, files: int
) -> threading.Thread:
    """Look at some log files every ten seconds, in a thread of its own, until `stop` is set."""

    def watch() -> None:
        while not stop.wait(_LOOK_EVERY_S):
            for path in paths:
                try:
                    rotate(path, max_bytes=max_bytes, files=files)
                except OSError as error:
                    _log.warning("a log file cannot be put away", path=str(path), reason=error.strerror)

    thread = threading.Thread(target=watch, name="logs", daemon=True)
    thread.start()
    return thread
