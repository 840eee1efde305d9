"""The ledger of a home, for commands that look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger import Ledger
from dicomrelay.runtime import home
from dicomrelay.settings import Settings


def has_run(settings: Settings) -> bool:
    """Whether there can be a ledger. A `send` without `up` makes the folders and no more."""
    if settings.database.url.get_secret_value() != "embedded":
        return settings.path("run").is_dir()
    file = settings.path("db", "ledger.sqlite")
    return file.is_file() and file.stat().st_size > 0


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger that is there; none is made.

    Raises
    ------
    ConfigurationError
        Nothing has run in this home yet.
    """
    if not has_run(settings):
        raise ConfigurationError(
            f"{settings.home}: nothing has run here yet: start `dicomrelay up`, or name another home with --home"
        )
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        yield ledger
    finally:
        ledger.dispose()
