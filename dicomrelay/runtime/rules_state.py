"""Which rules the relay that runs has in force, for who looks from outside: `run/rules.json` (docs/design/rules.md).

The relay knows the settings of its start, a command those of now: a file that passes here may be refused there.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from dicomrelay.log import get_logger
from dicomrelay.settings import Settings

_log = get_logger("dicomrelay.rules")


@dataclass(frozen=True, slots=True)
class RulesState:
    """What was told last: the version in force, which file was judged, and why it is not in force; "" where it is."""

    version: str
    file: str
    refused: str = ""


def tell(settings: Settings, state: RulesState) -> None:
    """Write it; what cannot be written is logged, and no reason to stop."""
    path = _path(settings)
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        _log.warning("cannot tell which rules are in force", reason=error.strerror)


def told(settings: Settings) -> RulesState | None:
    """What was told last; None where nothing was."""
    try:
        found = json.loads(_path(settings).read_text("utf-8"))
        return RulesState(str(found["version"]), str(found["file"]), str(found["refused"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _path(settings: Settings) -> Path:
    return settings.path("run", "rules.json")
