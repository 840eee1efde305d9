"""Which services are not ready, and when those are started again that ended: `run/services.json`, for who asks.

Only for people: a file that is not there, or cannot be read, says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = "services.json"


@dataclass(frozen=True, slots=True)
class NotReady:
    """A service that is not ready.

    Attributes
    ----------
    again_at_s : float, optional
        When it is started again, in seconds since the epoch; None while it is starting.
    """

    name: str
    again_at_s: float | None = None


def show(folder: Path, services: Sequence[NotReady]) -> None:
    """Write them down in the folder `run/`, in place of those of before; nothing is left when all are ready."""
    with suppress(OSError):  # a full disk is told elsewhere
        target = folder / FILE
        if not services:
            target.unlink(missing_ok=True)
            return
        part = folder / f".{FILE}.part"
        part.write_text(json.dumps([asdict(each) for each in services]), "utf-8")
        part.replace(target)


def shown(folder: Path) -> tuple[NotReady, ...]:
    """What was written down last."""
    try:
        return tuple(NotReady(**each) for each in json.loads((folder / FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return ()
