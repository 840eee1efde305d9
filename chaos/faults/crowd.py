"""A thousand associations at once: R20. Served or told to come again, and a modality that is known goes on."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from typing import Final

from chaos.faults import Fault, Outcome, Run
from chaos.figures import Figure, percentile
from chaos.gateway_process import GatewayProcess
from chaos.instances import make_instances
from chaos.senders import Tally, send_study
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.ul.pdu import AssociateReject, AssociateRequest, PduType, ProposedContext, UserInformation
from dicomrelay.ul.writer import encode

_CROWD: Final = 1000
_HUNG_AFTER_S: Final = 20.0
_CONTEXT: Final = ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",))
_REQUEST: Final = encode(
    AssociateRequest(
        "DICOMRELAY", "CROWD", "1.2.840.10008.3.1.1.1", (_CONTEXT,), UserInformation(16_384, "1.2.3")
    )
)
_BUSY: Final = encode(AssociateReject(2, 3, 2))
_SETTINGS: Final = {
    "max_associations": 100,
    "max_associations_per_peer": 60,
    "reserved_associations": 20,
    "association_timeout_s": 4.0,
    "pdu_timeout_s": 4.0,
    "idle_timeout_s": 4.0,
}
# Addresses of the crowd's are any but that of the modality.
_PEERS: Final = '[[peers]]\nae_title = "*"\nhost = "*"\n[[peers]]\nae_title = "CT_1"\nhost = "127.0.0.1"\n'


def crowd(run: Run) -> Outcome:
    """Each trial is a thousand that connect, ask, and stay until they are answered."""
    answers: Counter[str] = Counter()
    waits: list[float] = []
    tally = Tally()
    with GatewayProcess(run.folder / "gateway", _SETTINGS, more=_PEERS) as gateway:
        files = run.folder / "files"
        files.mkdir()
        made = make_instances(files, run.seed, size=8_000)
        known = RemoteAe("DICOMRELAY", "127.0.0.1", gateway.port)
        # The first instance starts what stays.
        send_study(known, list(islice(made, 1)), tally, calling_ae_title="CT_1")
        before = gateway.at_rest()
        for _ in range(run.trials):
            over = threading.Event()

            def modality(over: threading.Event = over) -> None:
                while not over.is_set():
                    began = time.monotonic()
                    send_study(known, list(islice(made, 1)), tally, calling_ae_title="CT_1")
                    waits.append(time.monotonic() - began)

            thread = threading.Thread(target=modality)
            thread.start()
            found = _thousand(gateway.port)
            over.set()
            thread.join()
            answers += found
            run.say(str(dict(found)))
            after = gateway.settle(before, within_s=15)
        peak = gateway.usage().peak_rss_bytes - before.rss_bytes
    return Outcome(
        figures=(
            Figure("hung", answers["hung"], bar=0),
            Figure("other endings", answers["other"] + answers["closed"], bar=0),
            Figure("accepted", answers["accepted"]),
            Figure("told to come again (2, 3, 2)", answers["busy"]),
            Figure("a known modality stores, p99 with association", percentile(waits, 0.99), "s", bar=2),
            Figure("of its instances not stored", len(tally.offered) - len(tally.acknowledged), bar=0),
            Figure("threads beyond those before", max(0, after.threads - before.threads), bar=0),
            Figure("memory beyond that before, at most", peak / (1 << 20), "MB", bar=200),
        ),
        note=f"{_CROWD} connections each time, 100 places, 20 of them for known peers",
    )


def _thousand(port: int) -> Counter[str]:
    """Connect all, ask all, and see what each is told; who has got a place keeps it until all are answered."""
    found: Counter[str] = Counter()
    places: list[socket.socket] = []
    with selectors.DefaultSelector() as waiting:
        for number in range(_CROWD):
            sock = socket.socket()
            sock.bind((f"127.0.3.{1 + number % 100}", 0))
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", port))
            waiting.register(sock, selectors.EVENT_WRITE)
        deadline = time.monotonic() + _HUNG_AFTER_S
        while waiting.get_map() and time.monotonic() < deadline:
            for key, _ in waiting.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                _go_on(waiting, key.fileobj, key.events, found, places)
        for key in list(waiting.get_map().values()):
            found["hung"] += 1
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    for sock in places:
        sock.close()
    return found


def _go_on(
    waiting: selectors.BaseSelector,
    sock: socket.socket,
    events: int,
    found: Counter[str],
    places: list[socket.socket],
) -> None:
    try:
        if events == selectors.EVENT_WRITE:
            sock.send(_REQUEST)
            waiting.modify(sock, selectors.EVENT_READ)
            return
        answer = sock.recv(4096)
    except ConnectionError:
        answer = b""
    waiting.unregister(sock)
    if answer[:1] == bytes((PduType.ASSOCIATE_AC,)):
        found["accepted"] += 1
        places.append(sock)
        return
    sock.close()
    if not answer:
        found["closed"] += 1
    else:
        found["busy" if answer == _BUSY else "other"] += 1


FAULTS: Final = (Fault("R20", "a thousand associations at once", "crowds", 5, crowd),)
