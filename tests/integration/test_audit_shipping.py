"""The trail to a repository over real TLS: all of it, in its order, whatever is away meanwhile."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trustme

from dicomrelay.audit import Audit, Entry, Kind, Party, Thing, trail_of
from dicomrelay.audit.repository import RepositoryAway
from dicomrelay.audit.shipping import Shipper
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import AuditSettings, Settings
from tests.support.audit_schema import faults

_HEAD = re.compile(
    rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ dicomrelay - DICOM\+RFC3881 - \xef\xbb\xbf(.*)",
    re.DOTALL,
)


class Repository:
    """Takes what is sent; can be gone, and can end connections after so many messages."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.port = free_ports(1)[0]
        self.messages: list[bytes] = []
        self.connections = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._context)

    @contextmanager
    def open(self, *, ends_after: int = 1 << 30) -> Iterator[None]:
        """Listening, while the block lasts."""
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        stop = threading.Event()
        thread = threading.Thread(target=self._serve, args=(listener, stop, ends_after))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(10)
            listener.close()

    def _serve(self, listener: socket.socket, stop: threading.Event, ends_after: int) -> None:
        listener.settimeout(0.05)
        while not stop.is_set():
            with suppress(OSError, ssl.SSLError):
                plain, _ = listener.accept()
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    self.connections += 1
                    connection.settimeout(0.05)
                    self._read(connection, stop, ends_after)

    def _read(self, connection: ssl.SSLSocket, stop: threading.Event, ends_after: int) -> None:
        buffer, taken = b"", 0
        while not stop.is_set() and taken < ends_after:
            try:
                more = connection.recv(65_536)
            except TimeoutError:
                continue
            if not more:
                with suppress(OSError):
                    connection.unwrap()
                return
            buffer += more
            while found := re.match(rb"(\d+) ", buffer):
                end = found.end() + int(found[1])
                if len(buffer) < end or taken >= ends_after:
                    break
                self.messages.append(buffer[found.end() : end])
                buffer, taken = buffer[end:], taken + 1

    @property
    def studies(self) -> list[str]:
        """What each message was about, in their order."""
        found = []
        for message in self.messages:
            head = _HEAD.fullmatch(message)
            assert head is not None, message[:200]
            root = ET.fromstring(head[2])
            assert not [*faults(root)]
            (thing,) = root.findall("ParticipantObjectIdentification")
            found.append(thing.attrib["ParticipantObjectID"])
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def settings_of(repository: Repository, home: Path) -> Settings:
    syslog = {"host": "127.0.0.1", "port": repository.port, "timeout_s": 5, "tls": {"ca": repository.ca}}
    return Settings(home=home, audit=AuditSettings.model_validate({"syslog": syslog}))


def happened(settings: Settings, *numbers: int) -> None:
    audit = Audit(settings)
    for number in numbers:
        things = (Thing("study", f"1.2.{number}", {"1.2.840.10008.5.1.4.1.1.2": 3}),)
        audit.note(Entry(Kind.TRANSFERRED, "association", Party("CT", "10.0.0.1"), things=things))


@contextmanager
def shipping(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=Shipper(settings).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_of_the_trail_comes_in_its_order(repository: Repository, tmp_path: Path) -> None:
    """What was there, and what comes; each once, and not again after a restart."""
    settings = settings_of(repository, tmp_path / "home")
    happened(settings, 1, 2, 3)
    with repository.open(), shipping(settings):
        wait_for(lambda: len(repository.messages) == 3)
        happened(settings, 4)
        wait_for(lambda: len(repository.messages) == 4)
    with repository.open(), shipping(settings):
        happened(settings, 5)
        wait_for(lambda: len(repository.messages) == 5)
    assert repository.studies == [f"1.2.{number}" for number in range(1, 6)]


def test_what_happens_while_it_is_away_comes_later(repository: Repository, tmp_path: Path) -> None:
    """Nothing is lost, and nothing waits for it."""
    settings = settings_of(repository, tmp_path / "home")
    with shipping(settings):
        happened(settings, 1, 2)
        time.sleep(0.3)
        with repository.open():
            wait_for(lambda: len(repository.messages) == 2)
    assert repository.studies == ["1.2.1", "1.2.2"]


def test_a_connection_that_breaks_loses_none(repository: Repository, tmp_path: Path) -> None:
    """What was not taken is sent again: at least once each."""
    settings = settings_of(repository, tmp_path / "home")
    happened(settings, *range(10))
    with repository.open(ends_after=4), shipping(settings):
        happened(settings, *range(10, 12))
        wait_for(lambda: {f"1.2.{number}" for number in range(4)} <= set(repository.studies))
    with repository.open(), shipping(settings):
        wait_for(lambda: set(repository.studies) >= {f"1.2.{number}" for number in range(4, 12)})


def test_a_server_that_is_somebody_else_hears_nothing(repository: Repository, tmp_path: Path) -> None:
    """Its certificate is of another authority: not a byte of the trail goes there."""
    settings = settings_of(repository, tmp_path / "home")
    trustme.CA().cert_pem.write_to_path(str(repository.ca))
    happened(settings, 1)
    with repository.open():
        with pytest.raises(RepositoryAway, match="no TLS connection"):
            Shipper(settings).send_some()
        assert not repository.messages


def test_segments_and_torn_lines_are_passed(repository: Repository, tmp_path: Path) -> None:
    """A segment that ends in the middle of a line does not stop the trail."""
    settings = settings_of(repository, tmp_path / "home")
    happened(settings, 1)
    trail = trail_of(settings)
    (today,) = trail.segments()
    old = trail.path(today).with_name("2020-01-01.jsonl")
    old.write_bytes(b'{"no": "entry"}\nnonsense\n' + trail.path(today).read_bytes() + b'{"id": "torn')
    with repository.open():
        shipper = Shipper(settings)
        while shipper.send_some():
            pass
        shipper.close()
        wait_for(lambda: len(repository.messages) == 2)
    assert repository.studies == ["1.2.1", "1.2.1"]


@pytest.mark.long
def test_a_shipper_that_is_killed_goes_on_where_it_was_heard(repository: Repository, tmp_path: Path) -> None:
    """The command itself, killed twice while entries come; then ended in good order. Each entry at least once."""
    home = tmp_path / "home"
    settings = settings_of(repository, home)
    home.mkdir()
    (home / "relay.toml").write_text(
        f'[audit.syslog]\nhost = "127.0.0.1"\nport = {repository.port}\n[audit.syslog.tls]\nca = "{repository.ca}"\n'
    )
    command = [sys.executable, "-m", "dicomrelay", "audit", "ship", "--home", str(home)]

    def have_come(last: int) -> Callable[[], bool]:
        return lambda: {f"1.2.{number}" for number in range(last)} <= set(studies())

    def studies() -> list[str]:
        """Without the services' own starts and stops."""
        found = []
        for message in repository.messages:
            head = _HEAD.fullmatch(message)
            assert head is not None
            root = ET.fromstring(head[2])
            assert not [*faults(root)]
            found += [
                each.attrib["ParticipantObjectID"] for each in root.findall("ParticipantObjectIdentification")
            ]
        return found

    with repository.open():
        for turn, ends in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)):
            process = subprocess.Popen(command)
            happened(settings, *range(turn * 100, turn * 100 + 100))
            if ends is signal.SIGTERM:
                wait_for(have_come(300))
            else:
                wait_for(lambda turn=turn: len(studies()) > turn * 50)  # type: ignore[misc]
            process.send_signal(ends)
            assert process.wait(30) == (0 if ends is signal.SIGTERM else -signal.SIGKILL)
        before = len(repository.messages)
        process = subprocess.Popen(command)
        happened(settings, 300)
        wait_for(have_come(301))
        process.terminate()
        assert process.wait(30) == 0
    # After the end in good order nothing came again: the end of the one and the start of the other, and the new entry.
    assert len(repository.messages) - before <= 5
