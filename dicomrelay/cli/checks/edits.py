"""Every profile of [[edits]]: can it be applied, is its key there and nobody else's to read."""

from __future__ import annotations

from collections.abc import Iterator

from dicomrelay.cli.checks.finding import Finding, failed, ok
from dicomrelay.edits.profiles import compiled
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings import Settings


def check_edits(settings: Settings) -> Iterator[Finding]:
    """One finding each; none where there are none."""
    for each in settings.edits:
        try:
            yield ok(f"edits {each.name}", f"version {compiled(each).version}")
        except ConfigurationError as error:
            yield failed(
                f"edits {each.name}",
                str(error),
                "put the key back from your copy: a new one gives other UIDs and ids",
                ExitCode.USAGE,
            )
