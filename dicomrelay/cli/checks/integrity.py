"""Is a `dicomrelay check` worth running: what the last one found, and what happened since."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.cli.integrity_report import last_check_path
from dicomrelay.errors import ExitCode
from dicomrelay.runtime import home
from dicomrelay.settings import Settings
from workers.integrity.check import has_run
from workers.integrity.databases import sqlite_path

_DAY_S: Final = 86_400.0
_OLD_DAYS: Final = 30
_ABOUT: Final = "integrity"


def check_integrity(settings: Settings, *, is_up: bool) -> Iterator[Finding]:
    """Looks at notes only, and is done at once; the check itself reads every row and every name."""
    if not has_run(settings):
        yield ok(_ABOUT, "nothing has arrived yet: there is nothing to check")
        return
    ledger = sqlite_path(home.ledger_url(settings))
    if ledger is not None and not ledger.exists():
        yield failed(
            _ABOUT,
            f"{ledger} is gone, and spool or archive are not",
            ("stop the relay, then " if is_up else "")
            + "`dicomrelay repair` rebuilds it (docs/howto/check-and-repair.md says what is sent again)",
            ExitCode.INTEGRITY,
        )
        return
    # `up` takes the file away when it stops.
    if settings.path("run", "ready").exists() and not is_up:
        yield warning(
            _ABOUT,
            "the relay ended without stopping: it was killed, or the power went",
            "nothing is lost by that; `dicomrelay check` says so, or what is",
        )
        return
    yield _last_check(settings)


def _last_check(settings: Settings) -> Finding:
    try:
        last: dict[str, Any] = json.loads(last_check_path(settings).read_text("utf-8"))
        age_s, faults, read_data = (
            time.time() - float(last["at"]),
            int(last["faults"]),
            bool(last["read_data"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ok(_ABOUT, "not checked yet: `dicomrelay check` may run beside the relay, and changes nothing")
    days = int(age_s // _DAY_S)
    when = "today" if days < 1 else f"{days} days ago"
    how = "every byte" if read_data else "names, records and rows"
    if faults:
        words = f"the last check ({when}, {how}) found {faults} faults"
        return warning(
            _ABOUT, words, "`dicomrelay check` for what is left of them, `dicomrelay repair` to mend it"
        )
    if days > _OLD_DAYS:
        return warning(_ABOUT, f"last checked {when}", "`dicomrelay check`; with --read-data now and then")
    return ok(_ABOUT, f"checked {when}: {how}, no fault")
