"""`dicomrelay edits list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.edits.profiles import compiled
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.routing.book import rule_set
from dicomrelay.settings import Settings
from dicomrelay.settings.edits import EditSettings
from dicomrelay.settings.rules import RuleSettings


@relay_command(
    about="The profiles of [[edits]]: version, what they do, and which destinations and rules name them, those of "
    "`rules_file` too. Exit code 2 when a key cannot be used, or the rules cannot be read.",
    examples="dicomrelay edits list\ndicomrelay edits list --json",
)
def command(invocation: Invocation, /) -> int:
    settings = invocation.settings
    rules: Sequence[RuleSettings] = ()
    unread = ""
    try:
        rules = rule_set(settings).settings
    except ConfigurationError as error:
        unread = str(error)
    rows = [_row(settings, rules, each) for each in settings.edits]
    if invocation.as_json:
        invocation.emit(rows)
    for row in rows if not invocation.as_json else ():
        used = ", ".join([*row["destinations"], *(f"rule {number}" for number in row["rules"])]) or "nobody"
        click.echo(f"{row['name']}@{row['version'] or '?'}: {row['does']}; named by {used}")
        if row["fault"]:
            invocation.say(f"  {row['fault']}")
    if not rows:
        invocation.say("there are no [[edits]] in the settings: what goes out is what arrived")
    if unread:
        invocation.say(f"which rules name them is not known: {unread}")
    return ExitCode.USAGE if unread or any(row["fault"] for row in rows) else ExitCode.OK


def _row(settings: Settings, rules: Sequence[RuleSettings], profile: EditSettings) -> dict[str, Any]:
    version, fault = "", ""
    try:
        version = compiled(profile).version
    except ConfigurationError as error:
        fault = str(error)
    return {
        "name": profile.name,
        "version": version,
        "does": _words(profile),
        "destinations": [each.name for each in settings.destinations if each.edits == profile.name],
        "rules": [number for number, rule in enumerate(rules) if rule.edits == profile.name],
        "fault": fault,
    }


def _words(profile: EditSettings) -> str:
    parts = []
    if profile.deidentify is not None:
        options = ", ".join(profile.deidentify.options)
        parts.append(f"de-identifies ({options or 'no options'})")
    counts = (
        (len(profile.remove), "removes"),
        (len(profile.copies), "copies"),
        (len(profile.map), "maps"),
        (len(profile.set), "sets"),
    )
    parts += [f"{verb} {count}" for count, verb in counts if count]
    if profile.private == "remove":
        parts.append("removes private elements")
    return ", ".join(parts) or "does nothing"
