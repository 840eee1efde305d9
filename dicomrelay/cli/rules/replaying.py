"""Asks rules about what was decided, study by study; for `replay` and `activate`."""

from __future__ import annotations

import re
from typing import Final

import click

from dicomrelay.cli.rules.subjects import Bytes
from dicomrelay.ledger import Ledger
from dicomrelay.routing.replay import Replay, replay_study
from dicomrelay.routing.rules import RuleSet
from dicomrelay.settings import Settings

_STUDIES: Final = 50
_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FORM: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|h|d|w)", re.ASCII)


def age(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    """A time such as 7d, 12h, 30min, in seconds; the callback of an option."""
    found = _FORM.fullmatch(value.strip())
    if found is None:
        raise click.BadParameter(f"{value!r} is no time: say 7d, 12h, 30min or 90s")
    return float(found[1]) * _UNITS[found[2]]


def replay(ledger: Ledger, settings: Settings, rules: RuleSet, *, age_s: float) -> Replay:
    """What rules would have decided of every study of which something was decided since."""
    found = Replay()
    reader = Bytes(settings)
    after = ""
    while uids := ledger.rulings.studies_since(round(1000 * age_s), after=after, limit=_STUDIES):
        after = uids[-1]
        instances = ledger.rulings.of_instances(uids)
        later = ledger.rulings.of_later(uids)
        for uid in uids:
            replay_study(
                found,
                [each for each in instances if each.row.study_instance_uid == uid],
                [row for row in later if row.study_instance_uid == uid],
                rules,
                reader=reader,
                archived=settings.archive.enabled,
            )
    return found
