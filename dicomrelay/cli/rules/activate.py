"""`dicomrelay rules activate`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.ledgers import has_run, opened_ledger
from dicomrelay.cli.options import GivenPath, Invocation, relay_command
from dicomrelay.cli.rules.putting import previous_of, put_in_place, text_before
from dicomrelay.cli.rules.replaying import replay
from dicomrelay.cli.rules.telling import replay_json, replay_lines
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger import Ledger
from dicomrelay.routing.book import SETTLE_S, identity_of, rule_set_of
from dicomrelay.routing.replay import Replay
from dicomrelay.routing.rules import RuleSet
from dicomrelay.runtime import home, rules_state
from dicomrelay.runtime.rules_state import RulesState
from dicomrelay.settings import Settings
from dicomrelay.settings.rules_file import RulesFileError, read_rules_text

_PATIENCE_S: Final = 2.0
_AT_MOST_S: Final = 10.0
_LOOK_S: Final = 0.1


@relay_command(
    about="Put the rules of FILE in force: they are checked, asked about everything that was decided in the last days "
    "(rule_changes.days), and written to the file that `rules_file` names, which running services read again by themselves. "
    "The file before is kept beside it as <name>.previous. Refused, with exit code 1, when more than rule_changes.max_percent "
    "of the decisions would be others or are not known, unless --force is given; exit code 1 too when the relay "
    "that runs here refuses the file, for it has the settings of its start.",
    examples="dicomrelay rules activate new.toml\ndicomrelay rules activate new.toml --force\n"
    "dicomrelay rules activate rules.toml.previous",
    audited=Audited("rules.activate"),
)
@click.argument("file", type=GivenPath(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="However many decisions would be others.")
def command(invocation: Invocation, file: Path, force: bool) -> int:
    settings = invocation.settings
    target = settings.rules_path
    if target is None:
        raise ConfigurationError(
            'rules_file is not set: rules in relay.toml are read at a start only. Say rules_file = "rules.toml" there, move '
            "[[rules]] to that file in the home, and start again"
        )
    # Read once: what is checked is what is put in force.
    text = read_rules_text(file)
    fresh = rule_set_of(settings, text, str(file))
    before = text_before(target)
    is_there = before == text.encode()
    found, refused = Replay(), False
    if has_run(settings) and not is_there:
        with opened_ledger(settings) as ledger:
            found = replay(ledger, settings, fresh, age_s=86_400 * settings.rule_changes.days)
            refused = found.percent > settings.rule_changes.max_percent and not force
            if not refused:
                _record(ledger, fresh, _before(settings, before, target), target, found, forced=force)
    if not refused and not is_there:
        put_in_place(target, text, before)
    outcome = _Outcome(fresh, target, before is not None, is_there, refused)
    if not refused and home.HomeLock(settings).is_held():
        outcome.is_up = True
        outcome.taken = _taken(settings, target)
    if invocation.as_json:
        invocation.emit(outcome.as_json(found))
    else:
        for line in outcome.lines(found, settings.rule_changes.max_percent):
            click.echo(line)
    return ExitCode.OK if outcome.is_well else ExitCode.SOME_FAILED


def _record(
    ledger: Ledger, fresh: RuleSet, before: RuleSet | None, target: Path, found: Replay, *, forced: bool
) -> None:
    """Before the file is there: whoever dies between leaves a line too many, and no change that nobody knows of."""
    for each in (before, fresh):
        if each is not None:
            ledger.rulings.know_version(each.version, each.body, str(target))
    ledger.rulings.activated(
        version=fresh.version,
        previous=before.version if before else "",
        changed=found.changed + found.unknown,
        of=found.decisions,
        forced=forced,
    )


def _before(settings: Settings, before: bytes | None, target: Path) -> RuleSet | None:
    """The rules before; None where there were none, or none that passed."""
    try:
        return None if before is None else rule_set_of(settings, before.decode(), str(target))
    except (RulesFileError, UnicodeDecodeError):
        return None


def _taken(settings: Settings, target: Path) -> RulesState | None:
    """What the relay that runs says of the file; None where it says nothing in time."""
    wanted = identity_of(target)
    until = time.monotonic() + SETTLE_S + min(2 * settings.worker.sweep_seconds, _AT_MOST_S) + _PATIENCE_S
    while time.monotonic() < until:
        state = rules_state.told(settings)
        if state is not None and state.file == wanted:
            return state
        time.sleep(_LOOK_S)
    return None


@dataclass(slots=True)
class _Outcome:
    """What came of it."""

    fresh: RuleSet
    target: Path
    had_rules: bool
    is_there: bool
    refused: bool
    is_up: bool = False  # a relay runs here
    taken: RulesState | None = None

    @property
    def refused_by_relay(self) -> str:
        """Why the relay that runs did not take it; "" where it did, or none runs."""
        return self.taken.refused if self.taken else ""

    @property
    def is_well(self) -> bool:
        return not self.refused and not self.refused_by_relay

    def as_json(self, found: Replay) -> dict[str, Any]:
        """For machines."""
        return {
            "activated": not self.refused,
            "in_force": None if self.taken is None else not self.taken.refused,
            "refused_by_relay": self.refused_by_relay,
            **replay_json(found, self.fresh.version),
        }

    def lines(self, found: Replay, limit: float) -> Iterator[str]:
        """For people."""
        version, name = self.fresh.version, previous_of(self.target).name
        if self.is_there:
            yield f"{self.target} says so already: nothing was written, version {version}"
        else:
            yield from replay_lines(found, 5)
        if self.refused:
            yield (
                f"not in force: {found.percent:.1f} % is more than rule_changes.max_percent ({limit:g} %); "
                "`dicomrelay rules replay --with` lists the changes, --force puts them in force all the same"
            )
            return
        if not self.is_there:
            what = f"what was there is {name}" if self.had_rules else "there was none before"
            yield f"version {version} is written: {self.target}; {what}"
        if self.taken is None and self.is_up:
            yield "the relay that runs has not said yet whether it takes it: `dicomrelay status` says"
        elif self.taken is None:
            yield "it is in force within seconds where a relay runs, and else when one starts"
        elif self.taken.refused:
            yield (
                f"NOT in force: the relay that runs refuses it, and goes on by version {self.taken.version}. It has the settings "
                "of its start: where relay.toml changed since, stop the relay and start it again"
            )
            yield from (f"    {line}" for line in self.taken.refused.splitlines())
        else:
            yield "it is in force"
