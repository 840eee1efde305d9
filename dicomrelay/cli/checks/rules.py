"""Doctor: the rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import ConfigurationError
from dicomrelay.routing.book import rule_set, warnings_of
from dicomrelay.runtime import home, rules_state
from dicomrelay.settings import Settings


def check_rules(settings: Settings) -> Iterator[Finding]:
    """Whether they can be asked, and what looks wrong with them."""
    path: Path | None = settings.rules_path
    try:
        rules = rule_set(settings)
    except ConfigurationError as error:
        yield failed("rules", str(error), "`dicomrelay rules check` says what is wrong, with file and line")
        return
    running = rules_state.told(settings) if home.HomeLock(settings).is_held() else None
    if running is not None and running.refused:
        yield failed(
            "rules",
            f"the relay that runs refuses {path}, and goes on by version {running.version}: {running.refused}",
            "it has the settings of its start: where relay.toml changed since, stop the relay and start it again",
        )
    where = f" of {path}" if path else ""
    found = warnings_of(rules.settings, settings)
    for problem in found:
        yield warning("rules", f"{problem.key}: {problem.reason}", "`dicomrelay rules check` names the line")
    if not found:
        yield ok("rules", f"{len(rules.rules)}{where}, version {rules.version}")
