"""`dicomrelay worklist show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from pydicom.datadict import keyword_for_tag

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.worklist.list_items import entry_json
from dicomrelay.cli.worklist.opening import key_of, opened_worklist
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.scheduling.worklist_item import value_text
from dicomrelay.text import shown


@relay_command(
    about="All of an item, attribute by attribute. It shows what is known of the patient.",
    examples="dicomrelay worklist show A1\ndicomrelay worklist show 1.2.840.113619.2.1 --json",
)
@click.argument("item")
def command(invocation: Invocation, item: str) -> int:
    with opened_worklist(invocation.settings) as worklist:
        entries = [entry for entry, _ in worklist.find(keys=key_of(item))]
    if not entries:
        raise ConfigurationError(f"{item!r}: no item of the worklist has that id, accession number or study")
    if invocation.as_json:
        invocation.emit([entry_json(entry) for entry in entries])
        return ExitCode.OK
    for number, entry in enumerate(entries):
        click.echo(f"{chr(10) if number else ''}{entry.id}  {entry.status.value}")
        for line in _lines(entry.data_set, "  "):
            click.echo(line)
    return ExitCode.OK


def _lines(holder: Mapping[str, Any], indent: str) -> Iterator[str]:
    for tag, element in sorted(holder.items()):
        name = keyword_for_tag(int(tag, 16)) or tag
        values = element.get("Value") or []
        if element["vr"] != "SQ":
            text = "\\".join(map(value_text, values))
            if text:
                yield f"{indent}{name}: {shown(text)}"
            continue
        for place, item in enumerate(values):
            yield f"{indent}{name}[{place}]"
            yield from _lines(item, indent + "  ")
