"""`dicomrelay move`."""

from __future__ import annotations

from typing import Any

import click

from dicomrelay.cli.audited import Audited
from dicomrelay.cli.options import Invocation, peer_options, relay_command
from dicomrelay.cli.peer import find_peer
from dicomrelay.cli.progress import Progress
from dicomrelay.cli.query_options import key_options, retrieve_query
from dicomrelay.cli.retrieval import conclude, show
from dicomrelay.cli.signals import cancel_on_signals
from dicomrelay.dimse.identifier_buffer import IDENTIFIER_TRANSFER_SYNTAXES
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.query_retrieve import Move


@relay_command(
    about="Let a peer send what it has to a third AE (C-MOVE). The peer must know that AE title with its host and port.",
    examples="dicomrelay move pacs --to DICOMRELAY --study 1.2.840.113619.2.1\n"
    "dicomrelay move PACS@10.0.0.9:104 --to WORKSTATION --patient-id 4711 --model patient",
    audited=Audited("move", {"destination": "destination"}),
)
@peer_options
@click.option(
    "--to", "move_destination", required=True, metavar="AET", help="AE title that the peer sends to."
)
@key_options
def command(
    invocation: Invocation,
    destination: str,
    calling_ae: str | None,
    timeout_s: float | None,
    move_destination: str,
    level: str | None,
    model: str | None,
    keys: tuple[str, ...],
    **options: Any,
) -> int:
    if not 0 < len(move_destination) <= 16 or not move_destination.isascii():
        raise ConfigurationError(f"--to {move_destination!r}: an AE title has 1 to 16 characters of ASCII")
    query = retrieve_query(level=level, model=model, keys=keys, options=options)
    peer = find_peer(invocation.settings, destination, calling_ae, timeout_s)
    identifier = query.identifier()
    stop = cancel_on_signals()
    with peer.associate([(query.model.move, IDENTIFIER_TRANSFER_SYNTAXES)]) as association:
        move = Move(association, query.model, identifier, move_destination, stop=stop)
        with Progress("moved") as progress:
            for counts in move:
                show(progress, counts)
    return conclude(invocation, move.conclusion, what="moved")
