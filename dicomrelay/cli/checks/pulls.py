"""Doctor: the entries of [[pulls]]."""

from __future__ import annotations

from collections.abc import Iterator

from dicomrelay.cli.checks.finding import Finding, failed, ok
from dicomrelay.errors import ConfigurationError
from dicomrelay.routing.pulls import check_entry
from dicomrelay.settings import Settings


def check_pulls_of(settings: Settings) -> Iterator[Finding]:
    """Whether each can be asked; one that cannot is left out, and the others go on."""
    wrong = 0
    for entry in settings.pulls:
        try:
            check_entry(settings, entry)
        except ConfigurationError as error:
            wrong += 1
            yield failed("pulls", str(error), "correct it in relay.toml; the others are pulled all the same")
    if settings.pulls and not wrong:
        yield ok("pulls", f"{len(settings.pulls)} can be asked")
