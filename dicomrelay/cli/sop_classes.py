"""`dicomrelay sop-classes`."""

from __future__ import annotations

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.registries import Row, choose, show
from dicomrelay.dicom.sop_class_categories import SopClassCategory
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.errors import ExitCode


@relay_command(
    about="The storage SOP classes that are known, by category: those of the standard, retired ones too, and the private "
    "ones of the settings. WORDS choose by UID, or by a part of the name.",
    examples="dicomrelay sop-classes\n"
    "dicomrelay sop-classes enhanced mr\n"
    "dicomrelay sop-classes 1.2.840.10008.5.1.4.1.1.2\n"
    "dicomrelay sop-classes --category waveform --category structured-report\n"
    "dicomrelay sop-classes --retired --json",
)
@click.argument("words", nargs=-1)
@click.option("--category", "categories", multiple=True, help="Only of this category; may be repeated.")
@click.option("--retired/--current", default=None, help="Only retired ones, or only the others.")
def command(
    invocation: Invocation, words: tuple[str, ...], categories: tuple[str, ...], retired: bool | None
) -> int:
    rows = [
        Row(
            entry.uid,
            entry.name if entry.name != entry.uid else "(no name in PS3.6)",
            entry.category.value,
            entry.category.heading,
            entry.retired,
            "retired" if entry.retired else "",
        )
        for entry in sorted(storage_sop_classes().values(), key=lambda entry: _in_order(entry.uid))
    ]
    rows += [
        Row(uid, "(private, accepted by setting)", "private", SopClassCategory.PRIVATE.heading, retired=False)
        for uid in invocation.settings.gateway.private_sop_classes
    ]
    known = [category.value for category in SopClassCategory]
    chosen = choose(rows, words, categories=categories, known=known, retired=retired)
    if invocation.as_json:
        invocation.emit(
            [
                {"uid": row.uid, "name": row.name, "category": row.category, "retired": row.retired}
                for row in chosen
            ]
        )
    else:
        show(chosen, known)
    of = "" if len(chosen) == len(rows) else f" of {len(rows)}"
    invocation.say(
        f"{len(chosen)}{of} storage SOP classes, {sum(row.retired for row in chosen)} of them retired"
    )
    return ExitCode.OK if chosen else ExitCode.SOME_FAILED


def _in_order(uid: str) -> list[int]:
    return [int(number) for number in uid.split(".")]
