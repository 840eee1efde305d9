"""What the faults of those who mean harm share."""

from __future__ import annotations

import http.client
from itertools import islice
from typing import Final

from chaos.campaign import Campaign
from chaos.faults import Run
from chaos.instances import make_instances
from chaos.senders import Tally, send_study

MEGABYTE: Final = 1 << 20


def answer(port: int, method: str, path: str, body: bytes = b"", **fields: str) -> int:
    """The status of a request; 0 when the connection broke."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, path, body or None, {name.replace("_", "-"): text for name, text in fields.items()}
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def still_works(running: Campaign, run: Run, name: str) -> int:
    """How many of twenty ordinary instances did not arrive everywhere afterwards."""
    folder = run.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    made = list(islice(make_instances(folder, run.seed + 77, per_study=20, size=4_000), 20))
    send_study(running.relay.remote, made, tally)
    running.tallies.append(tally)
    late = running.catch_up(within_s=60) == float("inf")
    return len(tally.offered) - len(tally.acknowledged) + (20 if late else 0)
