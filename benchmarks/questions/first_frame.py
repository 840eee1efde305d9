"""How long after the response to a C-STORE can its frame be had over HTTP, from a whole `dicomrelay up`?"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from benchmarks.data_sets import LOADS, write
from benchmarks.figures import Bar, Measured, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.frame_servers import BARE, frame_bytes, frame_path
from benchmarks.our_sender import SYNTAX, item_of
from benchmarks.peers import RunFailed
from benchmarks.relays import Relay, ours, relaying
from benchmarks.run import Run
from dicomrelay.net.requestor import Association, RemoteAe
from dicomrelay.net.service import StoreReply

TITLE = "From C-STORE to the frame"
# A CT that reconstructs ten slices a second, and one study of them.
A_SECOND, _INSTANCES, _LEAST = 10.0, 200, 30
_P95_S = 2.0
_WITHIN_S = 120.0
_LOOK_EVERY_S, _SHARE = 0.05, 0.1
_RELAY = ours("dicomrelay", lambda _port: "")


def measure(run: Run) -> Iterator[Section]:
    """One section: 512 × 512 slices at a steady pace, each asked for until it is there."""
    if "ct" not in run.loads:
        return
    count = max(_LEAST, round(_INSTANCES * run.scale))
    # One more: the first wakes workers that have done nothing yet, and does not count.
    load = replace(LOADS["ct"], instances=count + 1, instances_a_study=count + 1)
    rounds = []
    for _ in range(min(3, run.rounds)):
        with emptied(run.disk) as folder:
            source = folder / "source"
            write(load, source)
            rounds.append(_once(_RELAY, folder, sorted(source.iterdir()), load.sop_class_uid))
    rows = (
        Row("95 of 100 instances", tuple(1000 * quantiles(each, n=20)[-1] for each in rounds), unit="ms"),
        Row("half of them", tuple(1000 * median(each) for each in rounds), unit="ms"),
        Row("the slowest", tuple(1000 * max(each) for each in rounds), unit="ms"),
    )
    asked = "from the response to the frame, 95 of 100 instances, at most"
    bar = Bar(asked, (Measured(rows[0].name, rows[0].median),), at_most=1000 * _P95_S / run.ease, unit="ms")
    note = (
        f"{count} instances of one study over one association, {A_SECOND:.0f} a second, after one that does not count; no "
        "destination, all else as it comes. Each is asked for after 50 ms, and then after each tenth of the time that it has "
        "taken, until its first frame comes with the right bytes."
    )
    yield Section("first-frame", TITLE, "ct", Place.DISK, rows, bars=(bar,), notes=(note,))


def _once(relay: Relay, folder: Path, paths: list[Path], sop_class_uid: str) -> list[float]:
    """Seconds for each instance."""
    with (
        emptied(folder) as home,
        relaying(relay, home, 0) as running,
        ThreadPoolExecutor(max_workers=64) as waiters,
        Association.request(
            RemoteAe("ANY", "127.0.0.1", running.port),
            calling_ae_title="BENCH",
            contexts=[(sop_class_uid, (SYNTAX,))],
            window=1,
        ) as association,
    ):
        os.sync()
        port = _streamer_port(home)
        _wait(port, paths[0], _sent(association, paths[0], sop_class_uid))
        found: list[Future[float]] = []
        pace, began = threading.Event(), time.monotonic()
        for number, path in enumerate(paths[1:]):
            pace.wait(max(0.0, began + number / A_SECOND - time.monotonic()))
            found.append(waiters.submit(_wait, port, path, _sent(association, path, sop_class_uid)))
        return [each.result() for each in found]


def _sent(association: Association, path: Path, sop_class_uid: str) -> float:
    """When the response to a C-STORE came. Raises RunFailed when it was no success."""
    for _, reply in association.stores([item_of(path, sop_class_uid)]):
        if not isinstance(reply, StoreReply) or reply.status:
            raise RunFailed(f"the relay does not take {path.name}: {reply}")
    return time.monotonic()


def _wait(port: int, path: Path, answered_at: float) -> float:
    """Seconds until the first frame comes.

    Raises
    ------
    RunFailed
        It does not in two minutes, or it is another.
    """
    url, expected = frame_path(path, 1), frame_bytes(path, 1)
    pause = threading.Event()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WITHIN_S)
    try:
        while time.monotonic() - answered_at < _WITHIN_S:
            connection.request("GET", url, headers=dict(BARE))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == http.HTTPStatus.OK:
                if body != expected:
                    raise RunFailed(f"{url}: another frame than was sent")
                return time.monotonic() - answered_at
            # So exactly that it does not matter, and not so often that asking is what takes the time.
            pause.wait(max(_LOOK_EVERY_S, _SHARE * (time.monotonic() - answered_at)))
    except OSError as error:
        raise RunFailed(f"{url}: {error}") from None
    finally:
        connection.close()
    raise RunFailed(f"{url}: not there after {_WITHIN_S:g} s")


def _streamer_port(home: Path) -> int:
    lines = (home / "relay.toml").read_text("ascii").splitlines()
    return int(lines[lines.index("[streamer]") + 1].rpartition("=")[2])
