"""A whole relay on two hosts: one receives, the other forwards, and it may be lost. `make hosts` is the proof at full size."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from chaos.destination import Destination
from chaos.hosts.host import Host, Network, missing_hosts
from chaos.instances import Instance, make_instances
from chaos.senders import Tally, send_study
from dicomrelay.net.requestor import RemoteAe
from dicomrelay.runtime.process import start, stop
from tests.support.house import wait_for
from tests.support.postgresql import running_server

_WITHIN_S: Final = 60.0
# All parts of a host from one import: each is a fork, with a log of its own.
_PARTS: Final = """
import os, shlex, sys
os.environ["REMAP_SIGTERM"] = "SIGQUIT"
import workers.app, workers.scheduler, scp_gateway.app, celery.bin.worker, celery.worker.consumer, kombu.transport.redis
from dicomrelay.cli.main import main
for words in sys.argv[2:]:
    if not os.fork():
        log = os.open(f"{sys.argv[1]}/{words.split()[0]}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["dicomrelay", *shlex.split(words), "--home", f"{sys.argv[1]}/home"]
        main()
while True:
    os.wait()
"""
_RECEIVES: Final = (
    "gateway",
    "worker --name intake --queues group,archive,maintenance --processes 1",
    "scheduler",
)
_FORWARDS: Final = (
    "worker --name forward --queues forward.urgent,forward.normal,forward.bulk --processes 2",
)


@dataclass
class _TwoHosts:
    """Both, and a destination on this machine."""

    receives: Host
    forwards: Host
    journal: Path

    def run(self, host: Host, parts: Sequence[str]) -> None:
        host.run("relay", [sys.executable, "-c", _PARTS, str(host.folder), *parts])

    def said(self, host: Host, part: str) -> str:
        path = host.folder / f"{part}.said"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def arrived(self) -> dict[str, str]:
        """Digests by SOP Instance UID."""
        lines = [line.split() for line in self.journal.read_text("ascii").splitlines()]
        return {words[2]: words[3] for words in lines if words[0] == "i"}

    def until_arrived(self, sent: Sequence[Instance]) -> None:
        wanted = {each.item.sop_instance_uid: each.digest for each in sent}
        try:
            wait_for(
                lambda: wanted.items() <= self.arrived().items(), timeout_s=_WITHIN_S, what="all is there"
            )
        except pytest.fail.Exception:
            for host, part in (
                (self.receives, "worker"),
                (self.receives, "scheduler"),
                (self.forwards, "worker"),
            ):
                print(host.name, part, self.said(host, part)[-3000:])
            raise


@pytest.fixture
def two_hosts(tmp_path: Path) -> Iterator[_TwoHosts]:
    """A Redis with a password on the network between them; the database's socket and the archive are files that both see."""
    why = missing_hosts() or ("" if shutil.which("redis-server") else "redis-server is not installed")
    if why and os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(why)
    if why:
        pytest.skip(why)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        database = stack.enter_context(running_server()).create_database()
        redis = [
            "redis-server",
            "--bind",
            network.near,
            "--port",
            "6379",
            "--requirepass",
            "word",
            "--save",
            "",
        ]
        with (tmp_path / "redis.log").open("wb") as log:
            stack.callback(stop, start(redis, output=log), grace_s=10)
        listener = stack.enter_context(socket.create_server((network.near, 0)))
        journal = tmp_path / "journal"
        fd = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        stack.callback(os.close, fd)
        destination = Destination(listener, fd)

        def serve() -> None:
            with suppress(OSError):  # its socket is closed at the end
                destination.serve()

        threading.Thread(target=serve, daemon=True).start()
        hosts = [Host(network, name, tmp_path / "hosts") for name in ("receives", "forwards")]
        for host in hosts:
            stack.callback(host.close)
            host.start()
            (host.folder / "home").mkdir(mode=0o700)
            (host.folder / "home" / "relay.toml").write_text(
                f'[gateway]\nhost = "0.0.0.0"\nmin_free_bytes = 0\n[[peers]]\nae_title = "*"\nhost = "{network.range}"\n'
                f'[broker]\nurl = "redis://:word@{network.near}:6379/0"\n[database]\nurl = "{database}"\n'
                f'[archive]\npath = "{tmp_path}/archive"\n[study]\nquiet_seconds = 0.3\n[worker]\nsweep_seconds = 0.3\n'
                f'[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "{network.near}"\n'
                f"port = {listener.getsockname()[1]}\n",
                "utf-8",
            )
        yield _TwoHosts(hosts[0], hosts[1], journal)


def test_what_one_host_receives_another_forwards_and_may_be_lost(
    two_hosts: _TwoHosts, tmp_path: Path
) -> None:
    """Over queues of both, and queues of one; the archive is all that the forwarder can read."""
    one, other = two_hosts.receives, two_hosts.forwards
    two_hosts.run(one, _RECEIVES)
    two_hosts.run(other, _FORWARDS)
    wait_for(
        lambda: "listening" in two_hosts.said(one, "gateway"), timeout_s=_WITHIN_S, what="the gateway listens"
    )
    source, tally = make_instances(tmp_path, 1, per_study=3, size=4000), Tally()
    remote = RemoteAe("DICOMRELAY", one.address, 11112)
    first, second = ([next(source) for _ in range(3)] for _ in range(2))
    send_study(remote, first, tally)
    two_hosts.until_arrived(first)

    other.kill()
    send_study(remote, second, tally)
    assert len(tally.acknowledged) == 6
    other.start()
    two_hosts.run(other, _FORWARDS)
    two_hosts.until_arrived(second)
    # Nobody else can have sent it, and nobody but the leader has begun a transfer.
    assert '"leads"' in two_hosts.said(one, "scheduler")
    assert not (other.folder / "home" / "archive").exists() or not any(
        (other.folder / "home" / "archive").iterdir()
    )
