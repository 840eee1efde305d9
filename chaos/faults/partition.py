"""A wire is cut without a word, no reset comes: R19, in front of a destination and in front of a sender."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

from chaos.campaign import campaign
from chaos.destination import Behaviour
from chaos.destination_process import DestinationProcess
from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure
from chaos.gateway_process import GatewayProcess
from chaos.network import Wire, missing_network

_CAUGHT_UP_WITHIN_S: Final = 150.0
_RESPONSE_S: Final = 5.0
_DELAY_S: Final = 0.01
_GATEWAY_TIMEOUT_S: Final = 3.0
_SENDERS: Final = 4
_CONNECTED_WITHIN_S: Final = 20.0


def before_a_destination(run: Run) -> Outcome:
    """One of two destinations is behind a wire that is cut while something is on its way."""
    seconds: list[float] = []
    length_s = run.outage_s / 2
    run.folder.mkdir(parents=True, exist_ok=True)
    with Wire() as wire:
        known = [
            DestinationProcess("north", run.folder),
            DestinationProcess(
                "far",
                run.folder,
                host=wire.far,
                prefix=wire.prefix,
                more=f"response_timeout_s = {_RESPONSE_S}\nconnect_timeout_s = 3",
            ),
        ]
        with campaign(run.folder, run.seed, destinations=known, senders=1) as under_load:
            known[1].behave(Behaviour(delay_s=_DELAY_S))
            for _ in range(run.trials):
                time.sleep(run.chance.uniform(0.5, 2.0))
                wire.cut()
                time.sleep(length_s)
                wire.mend()
                seconds.append(under_load.catch_up(within_s=_CAUGHT_UP_WITHIN_S))
                run.say(f"cut for {length_s:.0f} s, all of before has arrived {seconds[-1]:.1f} s after")
            account = under_load.finish()
    return Outcome(
        account,
        (
            Figure("all has arrived after the wire was mended, the longest", max(seconds), "s", bar=60),
            Figure("duplicates for a cut and association", account.duplicates / run.trials / 2, bar=1),
        ),
        note=f"cut for {length_s:.0f} s; response_timeout_s = {_RESPONSE_S:.0f}",
    )


def before_a_sender(run: Run) -> Outcome:
    """Senders behind a wire that is cut in the middle of what they send: the gateway lets go of them."""
    left: list[int] = []
    with Wire() as wire:
        settings = {
            "host": "0.0.0.0",
            **dict.fromkeys(("pdu_timeout_s", "idle_timeout_s"), _GATEWAY_TIMEOUT_S),
        }
        peers = '[[peers]]\nae_title = "*"\nhost = "*"\n'
        with GatewayProcess(run.folder / "gateway", settings, more=peers) as gateway:
            before = gateway.at_rest()
            for _ in range(run.trials):
                senders = [
                    subprocess.Popen(
                        [*wire.prefix, sys.executable, "-c", _HALF, wire.near, str(gateway.port)]
                    )
                    for _ in range(_SENDERS)
                ]
                deadline = time.monotonic() + _CONNECTED_WITHIN_S
                while (busy := gateway.usage().threads) < before.threads + _SENDERS:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"only {busy - before.threads} senders have come")
                    time.sleep(0.05)
                wire.cut()
                for sender in senders:
                    sender.kill()
                    sender.wait()
                after = gateway.settle(before, within_s=2 * _GATEWAY_TIMEOUT_S)
                left.append(after.threads - before.threads)
                run.say(f"{busy - before.threads} threads at the cut, {left[-1]} left")
                wire.mend()
    return Outcome(
        figures=(
            Figure("threads left after twice the timeout", max(left), bar=0),
            Figure("threads at the last cut", busy - before.threads, bar=_SENDERS, at_least=True),
        ),
        note=f"{_SENDERS} senders a cut, every deadline {_GATEWAY_TIMEOUT_S:.0f} s",
    )


# Asks for an association, and then sends the first half of a PDU and no more.
_HALF: Final = """
import socket, sys, time
from dicomrelay.ul.pdu import AssociateRequest, ProposedContext, UserInformation
from dicomrelay.ul.writer import encode
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
context = ProposedContext(1, "1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2.1",))
sock.sendall(encode(AssociateRequest("DICOMRELAY", "FAR", "1.2.840.10008.3.1.1.1", (context,), UserInformation(16384, "1.2.3"))))
sock.recv(4096)
while True:
    sock.sendall(bytes((4, 0, 0, 0, 64, 0)))
    time.sleep(60)
"""
FAULTS: Final = (
    Fault(
        "R19", "the wire to a destination is cut, no reset", "cuts", 5, before_a_destination, missing_network
    ),
    Fault(
        "R19-sender",
        "the wire to four senders is cut, no reset",
        "cuts",
        10,
        before_a_sender,
        missing_network,
    ),
)
