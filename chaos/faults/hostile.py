"""Whoever means harm, on the network of a whole relay: R21 dawdlers, R32 associations without end, R34 what is open."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from chaos.campaign import campaign
from chaos.faults import Fault, Outcome, Run
from chaos.faults.hostile_tools import MEGABYTE, answer, still_works
from chaos.figures import Figure
from chaos.gateway_process import usage_of
from chaos.relay import processes_of
from dicomrelay.errors import RelayError
from dicomrelay.net.requestor import Association

_SHORT: Final = "association_timeout_s = 3\npdu_timeout_s = 3\nidle_timeout_s = 3\n"
_ECHO: Final = [("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))]


def dawdlers(run: Run) -> Outcome:
    """R21: connections that say nothing, a byte, or stop in the middle, at DICOM and HTTP, while a modality stores."""
    starts = (
        b"",
        b"\1",
        b"\1\0\0\0\0",
        b"\1\0\0\0\1\0" + bytes(20),
        b"GET / HTTP/1.1\r\nHost:",
        b"POST /studies HTTP/1.1\r\n",
    )
    with campaign(run.folder, run.seed, senders=1, storescu=False, gateway=_SHORT) as running:
        ports = (running.relay.remote.port, running.relay.settings.streamer.port)
        gateway = next(each.pid for each in processes_of(running.relay.home) if each.role == "gateway")
        before = usage_of(gateway)
        open_ones = []
        for number in range(run.trials):
            # From another address than the modality's: places are by address.
            sock = socket.create_connection(
                ("127.0.0.1", ports[number % 2]), timeout=10, source_address=("127.0.0.2", 0)
            )
            with suppress(OSError):
                sock.sendall(starts[number % len(starts)])
            open_ones.append(sock)
        sent_before = len(running.acknowledged())
        began = time.monotonic()
        left = list(open_ones)
        while left and time.monotonic() - began < 90:
            left = [sock for sock in left if not _is_closed(sock)]
            time.sleep(0.2)
        took = time.monotonic() - began
        stored = len(running.acknowledged()) - sent_before
        for sock in open_ones:
            sock.close()
        refused = sum(sender.tally.broken_associations for sender in running.senders)
        account = running.finish()
        after = usage_of(gateway) if Path(f"/proc/{gateway}").exists() else before
    return Outcome(
        account=account,
        figures=(
            Figure("of them still open after a minute and a half", len(left), bar=0),
            Figure("until the last was closed", took, "s", bar=90),
            Figure("stored meanwhile by a modality", stored, bar=1, at_least=True),
            Figure("associations of the modality that broke", refused, bar=0),
            Figure(
                "memory of the gateway beyond that before",
                (after.peak_rss_bytes - before.peak_rss_bytes) / MEGABYTE,
                "MB",
                bar=200,
            ),
        ),
        note=f"half of {run.trials} at each port; times of 3 s at the DICOM port, the streamer's own at HTTP",
    )


def _is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def without_end(run: Run) -> Outcome:
    """R32: associations by the thousand, each ended another way; memory, threads and descriptors of the gateway."""
    with campaign(run.folder, run.seed, senders=0, storescu=False, gateway=_SHORT) as running:
        gateway = next(each.pid for each in processes_of(running.relay.home) if each.role == "gateway")
        still_works(running, run, "before")

        def some(count: int) -> None:
            for number in range(count):
                if number % 3 == 2:
                    with socket.create_connection(
                        ("127.0.0.1", running.relay.remote.port), timeout=10
                    ) as sock:
                        sock.sendall(os.urandom(20))
                    continue
                with (
                    suppress(RelayError),
                    Association.request(
                        running.relay.remote, calling_ae_title="SOAK", contexts=_ECHO
                    ) as association,
                ):
                    association.echo()

        # The first hundreds make what a process keeps: threads, their memory, tables of modules.
        some(max(500, run.trials // 10))
        time.sleep(4)
        before = usage_of(gateway)
        some(run.trials)
        time.sleep(4)
        after = usage_of(gateway)
        still = still_works(running, run, "afterwards")
    grown = (after.rss_bytes - before.rss_bytes) / 1024
    return Outcome(
        figures=(
            Figure("memory kept for a thousand associations", grown / run.trials * 1000, "kB", bar=200),
            Figure("threads beyond those before", max(0, after.threads - before.threads), bar=0),
            Figure("descriptors beyond those before", max(0, after.descriptors - before.descriptors), bar=0),
            Figure("ordinary instances that did not arrive afterwards", still, bar=0),
        ),
        note="two of three say C-ECHO and release, one sends twenty bytes of noise; a first tenth, 500 at least, is not counted",
    )


def open_to_the_network(run: Run) -> Outcome:
    """R34: a relay as it is installed: where it listens, what its files and command lines show, whom it lets in."""
    listening: set[str] = set()
    with campaign(run.folder, run.seed, senders=0, storescu=False, monitor=True) as running:
        home, settings = running.relay.home, running.relay.settings
        still_works(running, run, "before")
        inodes = {
            str(entry.readlink()) for process in processes_of(home) for entry in _descriptors(process.pid)
        }
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                    listening.add(words[1])
        beyond = [
            each
            for each in listening
            if not each.startswith("0100007F:") and not each.startswith("0" * 24 + "01000000:")
        ]
        readable = [
            path
            for path in home.rglob("*")
            # The settings file is written by whoever tries it here.
            if path.name != "relay.toml"
            and not path.is_symlink()
            and path.exists()
            and path.stat().st_mode & 0o007
        ]
        inside = [path for path in readable if home.stat().st_mode & 0o007]
        foreign = {
            "another Host": answer(settings.streamer.port, "GET", "/studies", Host="evil.example"),
            "another Origin, POST": answer(
                settings.streamer.port, "POST", "/studies", b"x", Origin="https://evil.example"
            ),
            "Flower, another Host": answer(settings.monitor.port, "GET", "/", Host="evil.example"),
            "Flower, a worker is shut down": answer(
                settings.monitor.port, "POST", "/api/worker/shutdown/x", b"x", Origin="https://evil.example"
            ),
        }
    let_in = [name for name, status in foreign.items() if not 400 <= status < 500]
    run.say(f"listening {sorted(listening)}; {foreign}")
    return Outcome(
        figures=(
            Figure("sockets that listen", len(listening), bar=3, at_least=True),
            Figure("of them not on loopback", len(beyond), bar=0),
            Figure("files that others than the user may read or write", len(inside), bar=0),
            Figure("requests of another site that were let in", len(let_in), bar=0),
        ),
        note="; ".join(f"{name}: {status}" for name, status in foreign.items()),
    )


def _descriptors(pid: int) -> list[Path]:
    try:
        return [entry for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    except OSError:
        return []


FAULTS: Final = (
    Fault("R21", "connections that dawdle, at DICOM and HTTP", "connections", 200, dawdlers),
    Fault("R32", "associations without end", "associations", 10_000, without_end),
    Fault("R34", "what an installation shows the network", "relays", 1, open_to_the_network),
)
