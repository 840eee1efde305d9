"""`dicomrelay transfer-syntaxes`."""

from __future__ import annotations

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.registries import Row, choose, show
from dicomrelay.dicom.transfer_syntaxes import TransferSyntaxCategory, transfer_syntax, transfer_syntaxes
from dicomrelay.errors import ExitCode


@relay_command(
    about="The transfer syntaxes that are known, by category, retired ones too. All are accepted and forwarded as they "
    "come. WORDS choose by UID, or by a part of the name.",
    examples="dicomrelay transfer-syntaxes\n"
    "dicomrelay transfer-syntaxes jpeg 2000\n"
    "dicomrelay transfer-syntaxes 1.2.840.10008.1.2.4.90\n"
    "dicomrelay transfer-syntaxes --category htj2k --category jpeg-xl\n"
    "dicomrelay transfer-syntaxes --retired --json",
)
@click.argument("words", nargs=-1)
@click.option("--category", "categories", multiple=True, help="Only of this category; may be repeated.")
@click.option("--retired/--current", default=None, help="Only retired ones, or only the others.")
def command(
    invocation: Invocation, words: tuple[str, ...], categories: tuple[str, ...], retired: bool | None
) -> int:
    rows = [
        Row(entry.uid, entry.name, entry.category.value, entry.category.heading, entry.retired)
        for entry in transfer_syntaxes().values()
    ]
    known = [category.value for category in TransferSyntaxCategory]
    chosen = choose(rows, words, categories=categories, known=known, retired=retired)
    if invocation.as_json:
        invocation.emit([_as_json(row.uid) for row in chosen])
    else:
        show(chosen, known)
    of = "" if len(chosen) == len(rows) else f" of {len(rows)}"
    invocation.say(
        f"{len(chosen)}{of} transfer syntaxes, {sum(row.retired for row in chosen)} of them retired"
    )
    return ExitCode.OK if chosen else ExitCode.SOME_FAILED


def _as_json(uid: str) -> dict[str, str | bool]:
    entry = transfer_syntax(uid)
    return {
        "uid": uid,
        "name": entry.name,
        "category": entry.category.value,
        "retired": entry.retired,
        "encapsulated": entry.is_encapsulated,
        "deflated": entry.is_deflated,
        "implicit_vr": entry.is_implicit_vr,
        "little_endian": entry.is_little_endian,
    }
