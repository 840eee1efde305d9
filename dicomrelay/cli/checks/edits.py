"""Every profile of [[edits]]: can it be applied, is its key there and for nobody else to read."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.edits.profiles import compiled
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings import Settings
from dicomrelay.settings.edits import EditSettings


def check_edits(settings: Settings) -> Iterator[Finding]:
    """One finding each; none where there are none."""
    for each in settings.edits:
        try:
            yield ok(f"edits {each.name}", f"version {compiled(each).version}")
            yield from _key_rights(each)
        except ConfigurationError as error:
            yield failed(
                f"edits {each.name}",
                str(error),
                "put the key back from your copy: a new one gives other UIDs and ids",
                ExitCode.USAGE,
            )


def _key_rights(profile: EditSettings) -> Iterator[Finding]:
    if profile.deidentify is None:
        return
    key = profile.deidentify.key_file
    if stat.S_IMODE(key.stat().st_mode) & 0o077:
        words = f"{key}: the key may be read by other users, who could look up pseudonyms with it"
        yield warning(f"edits {profile.name}", words, f"chmod 600 {key}")
