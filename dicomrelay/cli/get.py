"""`dicomrelay get`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, peer_options, relay_command
from dicomrelay.cli.outputs import refuse_own_folders
from dicomrelay.cli.peer import find_peer
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.query_options import key_options, retrieve_query
from dicomrelay.cli.retrieval import conclude, show
from dicomrelay.cli.retrieved import RetrievedFolder, Tally
from dicomrelay.cli.signals import cancel_on_signals
from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY
from dicomrelay.dicom.uids import is_valid_uid
from dicomrelay.errors import ConfigurationError, RelayError
from dicomrelay.net.query_retrieve import Counts, Get
from dicomrelay.net.retrieve_contexts import retrieve_contexts
from dicomrelay.text import shown, size

_FEW = 5


@relay_command(
    about="Fetch from a peer into a folder (C-GET): one Part 10 file an instance, named by its SOP Instance UID, byte for byte "
    "as the peer sends it. No file is written over.",
    examples="dicomrelay get pacs --study 1.2.840.113619.2.1 -o study\n"
    "dicomrelay get PACS@10.0.0.9:104 --series 1.2.3 --study 1.2 --sop-class CTImageStorage -o series",
    private=False,
    audited=Audited("get", {"destination": "destination"}),
)
@peer_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files; made if need be.",
)
@key_options
@click.option(
    "--sop-class",
    "sop_classes",
    multiple=True,
    metavar="UID|KEYWORD",
    help="Storage SOP class that may come, such as CTImageStorage; the fewer, the more transfer syntaxes each can have. "
    "Repeatable.  [default: the 31 most common]",
)
@click.option("--limit", type=click.IntRange(1, 10_000_000), help="Cancel after so many instances.")
def command(
    invocation: Invocation,
    destination: str,
    calling_ae: str | None,
    timeout_s: float | None,
    output: Path,
    level: str | None,
    model: str | None,
    keys: tuple[str, ...],
    sop_classes: tuple[str, ...],
    limit: int | None,
    **options: Any,
) -> int:
    refuse_own_folders(invocation.settings, output)
    query = retrieve_query(level=level, model=model, keys=keys, options=options)
    peer = find_peer(invocation.settings, destination, calling_ae, timeout_s)
    contexts, roles = retrieve_contexts(query.model, [_sop_class_uid(text) for text in sop_classes])
    identifier = query.identifier()
    folder = RetrievedFolder(output, peer_ae_title=peer.remote.ae_title, own_ae_title=peer.calling_ae_title)
    tally = folder.tally
    stop = cancel_on_signals()
    with closing(folder), peer.associate(contexts, roles) as association:
        get = Get(association, query.model, identifier, folder, limit=limit, stop=stop)
        try:
            with Progress("fetched") as progress:
                for counts in get:
                    show(progress, _own(counts, tally), size(tally.bytes))
        except (RelayError, KeyboardInterrupt):
            _say_tally(invocation, tally, output)
            raise
    _say_tally(invocation, tally, output)
    return conclude(
        invocation,
        get.conclusion,
        what="fetched",
        done=tally.stored + tally.already_there,
        faults=get.refused,
        more={
            "output": str(output),
            "bytes": tally.bytes,
            "already_there": tally.already_there,
            "kept_beside_other_bytes": tally.beside,
            "refused": tally.refused,
        },
    )


def _own(counts: Counts, tally: Tally) -> Counts:
    """What has come is our own count, since some peers tell nothing until the end."""
    came = tally.stored + tally.already_there
    total = sum(each or 0 for each in (counts.remaining, counts.completed, counts.failed, counts.warning))
    remaining = None if counts.remaining is None else max(0, total - came - (counts.failed or 0))
    return Counts(remaining, came, counts.failed, None)


def _say_tally(invocation: Invocation, tally: Tally, output: Path) -> None:
    invocation.say(f"{tally.stored} files written to {output} ({size(tally.bytes)})")
    if tally.already_there:
        invocation.say(f"{tally.already_there} were there already, with the same bytes")
    for name in tally.beside[:_FEW]:
        invocation.say(f"    the name was taken by other bytes: kept as {name}")
    if len(tally.beside) > _FEW:
        invocation.say(f"    and {len(tally.beside) - _FEW} more (--json lists all)")
    for uid, reason in list(tally.refused.items())[:_FEW]:
        invocation.say(f"    not kept: {shown(uid)}: {shown(reason)}")


def _sop_class_uid(text: str) -> str:
    if is_valid_uid(text):
        return text
    for uid, (_name, kind, _info, _retired, keyword) in UID_DICTIONARY.items():
        if kind == "SOP Class" and keyword == text:
            return uid
    raise ConfigurationError(
        f"--sop-class {text!r}: no UID and no keyword of a SOP class (`dicomrelay sop-classes` lists them)"
    )
