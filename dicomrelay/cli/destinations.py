"""`dicomrelay destinations`."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import click

from dicomrelay.cli.audited import Audited, recorded
from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.cli.operating.words import counted
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.breaker import BreakerState
from dicomrelay.ledger.flow_summary import DestinationFlow
from dicomrelay.routing import resolve
from dicomrelay.settings import Settings
from dicomrelay.text import shown, size

_VERBS = ("hold", "release")


@relay_command(
    about="How each destination is doing: whether it answers, what waits for it and for how long, how fast it goes and when it "
    "will be through. `hold NAME` sends it nothing until `release NAME`; what is under way stops at the next instance, and "
    "nothing is lost. Exit code 1 when one of those shown does not answer.",
    examples="dicomrelay destinations\ndicomrelay destinations pacs --json\ndicomrelay destinations hold pacs\n"
    "dicomrelay destinations release pacs",
)
@click.argument("words", metavar="[[hold|release] NAME]", nargs=-1)
def command(invocation: Invocation, words: tuple[str, ...]) -> int:
    verb, name = _parsed(words)
    with opened_ledger(invocation.settings) as ledger:
        flows = ledger.flow.destinations(name)
        if name is not None and not flows:
            known = ", ".join(flow.name for flow in ledger.flow.destinations()) or "none"
            raise ConfigurationError(f"There is no destination {name!r}; known: {known}")
        if verb is not None and name is not None:
            how = Audited(f"destinations.{verb}", {"name": "destination"})
            return recorded(
                how, invocation.settings, {"name": name}, lambda: _do(invocation, ledger, verb, name)
            )
    if invocation.as_json:
        invocation.emit([_row(flow, invocation.settings) for flow in flows])
    else:
        for flow in flows:
            for line in lines(flow, invocation.settings):
                click.echo(line)
        if not flows:
            click.echo("no destination yet")
    down = any(flow.breaker != BreakerState.CLOSED for flow in flows)
    return ExitCode.SOME_FAILED if down else ExitCode.OK


def _parsed(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    if len(words) < 2:
        if words and words[0] in _VERBS:
            raise ConfigurationError(
                f"{words[0]} which destination? say dicomrelay destinations {words[0]} NAME"
            )
        return None, words[0] if words else None
    if len(words) > 2 or words[0] not in _VERBS:
        raise ConfigurationError(
            "say dicomrelay destinations [NAME], or destinations hold NAME, or release NAME"
        )
    return words[0], words[1]


def _do(invocation: Invocation, ledger: Ledger, verb: str, name: str) -> int:
    changed = ledger.flow.hold(name) if verb == "hold" else ledger.flow.release(name)
    if invocation.as_json:
        invocation.emit({"destination": name, "verb": verb, "changed": bool(changed)})
    elif verb == "hold":
        before = "is held" if changed else "was held already"
        click.echo(
            f"{name} {before}: nothing is sent to it until `dicomrelay destinations release {name}`; what is under way "
            "stops at the next instance and keeps its place"
        )
    else:
        before = "is released: what waits for it goes on within seconds" if changed else "was not held"
        click.echo(f"{name} {before}")
    return ExitCode.OK


def _row(flow: DestinationFlow, settings: Settings) -> dict[str, Any]:
    there = {"address": _address(flow, settings), "in_window": _in_window(flow, settings)}
    return {**dataclasses.asdict(flow), **there}


def _in_window(flow: DestinationFlow, settings: Settings) -> bool:
    if flow.name not in {each.name for each in settings.destinations}:
        return True
    now = time.localtime()
    return resolve(flow.name, settings.destinations).is_open(now.tm_hour * 60 + now.tm_min)


def lines(flow: DestinationFlow, settings: Settings) -> list[str]:
    """A destination for people."""
    to_do = (
        f"{counted(flow.instances, 'instance')} ({size(flow.bytes)}) in {counted(flow.transfers, 'transfer')} to go, "
        f"the oldest for {duration(flow.oldest_ms)}"
        if flow.oldest_ms is not None
        else "nothing waits"
    )
    found = [f"{flow.name}  {_address(flow, settings)}  {_state(flow, settings)}", f"    {to_do}"]
    if flow.running or flow.instances_per_s:
        left = "" if flow.eta_s is None else f", {duration(round(flow.eta_s * 1000))} to go"
        fewer = "" if flow.limit == flow.associations else f" (it stands {flow.limit} at present)"
        found.append(
            f"    {flow.running} of {flow.associations} associations in use{fewer}: {size(flow.bytes_per_s)}/s, "
            f"{flow.instances_per_s:.1f} instances/s{left}"
        )
    if flow.refused:
        found.append(
            f"    {counted(flow.refused, 'instance')} refused: `dicomrelay jobs list --state needs_attention` says which and why"
        )
    if flow.last_error and flow.failures:
        found.append(f"    last error: {shown(flow.last_error)}")
    if flow.last_delivered_ms is not None:
        found.append(f"    last delivered to {duration(flow.last_delivered_ms)} ago")
    return found


def _address(flow: DestinationFlow, settings: Settings) -> str:
    """Where it is: the URL of a DICOMweb destination, which the ledger does not have."""
    urls = {each.name: each.url for each in settings.destinations}
    return urls.get(flow.name) or flow.address


def _state(flow: DestinationFlow, settings: Settings) -> str:
    if flow.held_for_ms is not None:
        return f"held for {duration(flow.held_for_ms)}"
    if flow.breaker == BreakerState.HALF_OPEN:
        return f"does not answer for {duration(flow.open_for_ms)}; it is being asked now"
    if flow.breaker == BreakerState.OPEN:
        due = duration(flow.probe_in_ms) if flow.probe_in_ms else "no time: as soon as something waits for it"
        return f"does not answer for {duration(flow.open_for_ms)}; asked again in {due}"
    if not _in_window(flow, settings):
        return "outside of its time windows"
    if flow.failures:
        return f"in trouble: {counted(flow.failures, 'association')} failed in a row"
    if flow.last_delivered_ms is not None:
        return "answers"
    return "answers, and has taken nothing yet" if flow.answered_refused else "not tried yet"


def duration(milliseconds: int | None) -> str:
    """A time for people: 12 s, 5 min, 3.5 h, 2.1 days."""
    seconds = (milliseconds or 0) / 1000
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
