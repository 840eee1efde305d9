"""How fast does an archive give a study of 600 slices, by C-MOVE and by C-GET?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import dcmread

from benchmarks.archives import ARCHIVES, OURS, ArchiveServer, serving
from benchmarks.contest import stored_in, turns
from benchmarks.data_sets import DataSets, write
from benchmarks.figures import Bar, Place, Row, Section
from benchmarks.folders import emptied
from benchmarks.our_retriever import CALLING
from benchmarks.peers import RunFailed, require
from benchmarks.receivers import RECEIVERS, Receiver, Running, running
from benchmarks.relays import DESTINATION_AE_TITLE
from benchmarks.run import Run
from benchmarks.senders import run as run_program
from benchmarks.senders import timed, without_no_delay

TITLE = "Retrieve: a study out of an archive"
OPERATIONS = ("C-MOVE", "C-GET")
# Also in a quick run: less is over before a disturbance is.
_LEAST_INSTANCES, _LEAST_ROUNDS = 60, 3
_OF = {"dcmqrscp": 2.0, "Orthanc": 3.0}


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks: our requestor and receiver, with peers that are told of TCP_NODELAY; or DCMTK's, and nobody is told."""

    is_ours: bool

    @property
    def sink(self) -> Receiver:
        """Where a C-MOVE goes."""
        return RECEIVERS["ours" if self.is_ours else "storescp as installed"]

    def server(self, server: ArchiveServer) -> ArchiveServer:
        """As it is started."""
        return server if self.is_ours else replace(server, environment={})


def measure(run: Run) -> Iterator[Section]:
    """A section of all archives and both operations, on disk: that is where archives are."""
    if "ct" not in run.loads:
        return
    servers = [each for each in ARCHIVES.values() if not (run.only_ours and each.needs)]
    require({program for server in servers for program in server.needs})
    load = run.load("ct")
    instances = max(_LEAST_INSTANCES, load.instances)
    load = replace(load, instances=instances, instances_a_study=instances)
    with emptied(run.disk) as folder:
        source = folder / "source"
        write(load, source)
        # What waits for Nagle's algorithm takes a minute of nothing but waiting.
        by_dcmtk = [] if run.only_ours or run.is_eased else [_Asker(is_ours=False)]
        for asker in (_Asker(is_ours=True), *by_dcmtk):
            rows = _contest(run, load, source, servers, asker, folder)
            bars = _bars(run, rows, asker)
            title, note = (TITLE, _NOTE) if asker.is_ours else (f"{TITLE}, all as installed", _NOTE_INSTALLED)
            yield Section("retrieve", title, "ct", Place.DISK, tuple(rows), bars=bars, notes=(note,))


_NOTE = (
    "Both by our requestor, over one association. A C-MOVE goes to our receiver, which writes what comes and does not flush; "
    "what comes by C-GET is counted and thrown away."
)


_NOTE_INSTALLED = (
    "C-MOVE by movescu to storescp, C-GET by getscu, timed from outside, one round that counts. Neither DCMTK's programs nor "
    "Orthanc are told of TCP_NODELAY: an archive that leaves Nagle's algorithm on waits for a delayed acknowledgement at "
    "each instance."
)


def _contest(
    run: Run,
    load: DataSets,
    source: Path,
    servers: Sequence[ArchiveServer],
    asker: _Asker,
    folder: Path,
) -> list[Row]:
    study = str(dcmread(next(source.iterdir()), stop_before_pixels=True).StudyInstanceUID)
    found: dict[tuple[str, str], list[float]] = {
        (server.name, operation): [] for server in servers for operation in OPERATIONS
    }
    with ExitStack() as stack:
        # One port for the destination of all of them, in all turns: archives are told of it when they start.
        received = stack.enter_context(emptied(folder))
        sink = stack.enter_context(running(asker.sink, received))
        ports = {
            server.name: stack.enter_context(
                serving(asker.server(server), stack.enter_context(emptied(folder)), source, sink.port)
            )
            for server in servers
        }
        contestants = [(server, operation) for server in servers for operation in OPERATIONS]
        # Always a turn that does not count: what an archive loads for its first answer is no part of its speed.
        for (server, operation), counts in turns(
            contestants, max(_LEAST_ROUNDS, run.rounds) if asker.is_ours else 1, max(1, run.warm_up)
        ):
            if asker.is_ours:
                seconds = _asked(server, operation, ports, study, load, source, sink)
            else:
                with emptied(folder) as got:
                    seconds = _asked_by_dcmtk(server, operation, ports[server.name], study, source, sink, got)
            if counts:
                found[server.name, operation].append(seconds)
    return [
        Row(_name(server, operation), tuple(values), amount=load.instances)
        for (server, operation), values in found.items()
    ]


def _asked(
    server: ArchiveServer,
    operation: str,
    ports: Mapping[str, int],
    study: str,
    load: DataSets,
    source: Path,
    sink: Running,
) -> float:
    """Seconds from the request to the last response, once it is seen that everything came.

    Raises
    ------
    RunFailed
        Not all of it came.
    """
    for path in sink.files():
        path.write_bytes(b"")
    command = [sys.executable, "-m", "benchmarks.our_retriever", str(ports[server.name]), server.ae_title]
    is_move = operation == "C-MOVE"
    options = ["--move-to", DESTINATION_AE_TITLE] if is_move else []
    told = json.loads(run_program([*command, study, load.sop_class_uid, *options]))
    sent = stored_in(source.iterdir())
    if is_move:
        came = stored_in(sink.files())
        instances, data_set_bytes = came.instances, came.data_set_bytes
    else:
        instances, data_set_bytes = told["instances"], told["bytes"]
    if (instances, data_set_bytes) != (sent.instances, sent.data_set_bytes):
        raise RunFailed(
            f"{_name(server.name, operation)}: {instances} instances with {data_set_bytes} bytes came, "
            f"{sent.instances} with {sent.data_set_bytes} are in the archive"
        )
    return float(told["seconds"])


def _asked_by_dcmtk(
    server: ArchiveServer, operation: str, port: int, study: str, source: Path, sink: Running, got: Path
) -> float:
    """Seconds that movescu or getscu takes, once it is seen that everything came.

    Raises
    ------
    RunFailed
        Not all of it came.
    """
    for path in sink.files():
        path.write_bytes(b"")
    is_move = operation == "C-MOVE"
    program = ["movescu", "-aem", DESTINATION_AE_TITLE] if is_move else ["getscu", "-od", str(got)]
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    command = [*program, "-S", "-aet", CALLING, "-aec", server.ae_title, *keys, "127.0.0.1", str(port)]
    seconds = timed(command, without_no_delay())
    sent, came = stored_in(source.iterdir()), stored_in(sink.files() if is_move else got.iterdir())
    if came != sent:
        raise RunFailed(
            f"{_name(server.name, operation)}, as installed: {came} came, {sent} are in the archive"
        )
    return seconds


def _name(server: str, operation: str) -> str:
    return f"{server}, {operation}"


def _bars(run: Run, rows: Sequence[Row], asker: _Asker) -> tuple[Bar, ...]:
    words = "" if asker.is_ours else ", as installed"
    return tuple(
        bar
        for operation in OPERATIONS
        for peer, times in _OF.items()
        for bar in run.faster(
            rows,
            f"our {operation} beside {peer}'s{words}",
            (_name(OURS, operation),),
            _name(peer, operation),
            times,
        )
    )
