"""Frames that go from the page cache to the socket: right bytes, whatever the client does, and nothing left open."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from streamer import zero_copy
from streamer.bounds import Bounds
from tests.support.frames import archived, items, pixel_file
from tests.support.processes import until
from tests.support.streamer import parts, running_streamer

EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
BARE = {"accept": 'application/octet-stream; transfer-syntax="*"'}
SIDE, FRAMES = 512, 5
PIXELS = np.random.default_rng(6).integers(0, 2**16, (FRAMES, SIDE, SIDE), dtype=np.uint16)
MANY = ",".join(["1,2,3,4,5"] * 8)
# Two fragments that are sent from the file, and a small one between them that is read.
FRAGMENTS = [bytes([number]) * size for number, size in enumerate((100_000, 10, 3_000_000), start=1)]

pytestmark = pytest.mark.skipif(
    not hasattr(os, "RWF_NOWAIT"), reason="only Linux says what the page cache has"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def urls(home: Path) -> list[str]:
    """A native instance of five frames, and one of a frame in three fragments."""
    native = pixel_file(
        home,
        PIXELS.tobytes(),
        EXPLICIT,
        Rows=SIDE,
        Columns=SIDE,
        BitsAllocated=16,
        NumberOfFrames=FRAMES,
    )
    return archived(home, [native, pixel_file(home, items(*FRAGMENTS), JPEG, undefined=True)])


@pytest.fixture(scope="module")
def client(home: Path, urls: list[str]) -> Iterator[httpx.Client]:
    with running_streamer(home, bounds=Bounds(write_s=1.0)) as client:
        yield client


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each sendfile took."""
    found: list[int] = []
    really = os.sendfile

    def sendfile(out: int, descriptor: int, offset: int, count: int) -> int:
        found.append(really(out, descriptor, offset, count))
        return found[-1]

    monkeypatch.setattr(zero_copy.os, "sendfile", sendfile)
    return found


def open_sockets() -> int:
    """Descriptors of this process that are sockets."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found += Path(f"/proc/self/fd/{name}").readlink().name.startswith("socket:")
    return found


def begun(client: httpx.Client, url: str) -> socket.socket:
    """A connection with little room that has asked, and has taken nothing yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", client.base_url.port or 0))
    connection.sendall(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    return connection


def test_the_kernel_sends_large_frames(client: httpx.Client, urls: list[str], sent: list[int]) -> None:
    """Every byte of the body went by sendfile, and it is the right one."""
    for number, frame in enumerate(PIXELS, start=1):
        answer = client.get(f"{urls[0]}/frames/{number}", headers=BARE)
        assert answer.content == frame.tobytes()
    assert sum(sent) == PIXELS.nbytes


def test_parts_and_files_come_in_order(client: httpx.Client, urls: list[str], sent: list[int]) -> None:
    """The heads of parts go beside the loop's buffers too; a small fragment is read and sent between two large ones."""
    several = client.get(f"{urls[0]}/frames/3,1,5")
    fragments = client.get(f"{urls[1]}/frames/1", headers={"accept": "image/jpeg"})

    assert [body for _, body in parts(several)] == [PIXELS[n].tobytes() for n in (2, 0, 4)]
    assert fragments.content == b"".join(FRAGMENTS)
    assert sum(sent) == 3 * PIXELS[0].nbytes + len(FRAGMENTS[0]) + len(FRAGMENTS[2])
    assert max(sent) <= zero_copy.TURN_BYTES


def test_what_the_page_cache_has_not_is_read_in_a_thread(
    client: httpx.Client, home: Path, urls: list[str], sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if nothing were cached: the same bytes, and not by sendfile."""

    def nothing(*_arguments: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "would wait")

    monkeypatch.setattr(os, "preadv", nothing)

    assert client.get(f"{urls[0]}/frames/2", headers=BARE).content == PIXELS[1].tobytes()
    assert sent == []


def test_head_sends_no_file(client: httpx.Client, urls: list[str], sent: list[int]) -> None:
    """The length of what would come."""
    answer = client.head(f"{urls[0]}/frames/1", headers=BARE)

    assert (answer.headers["content-length"], answer.content, sent) == (str(PIXELS[0].nbytes), b"", [])


def test_requests_in_one_piece_are_answered_one_after_the_other(
    client: httpx.Client, urls: list[str]
) -> None:
    """What waits in the transport's buffer goes first: files and errors do not mix."""
    port = client.base_url.port or 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/octet-stream\r\n"
        asked = (f"{urls[0]}/frames/1", f"{urls[0]}/frames/0", f"{urls[0]}/frames/2", f"{urls[1]}/frames/2")
        requests = [f"GET {path} {head}\r\n" for path in asked]
        requests.append(f"GET {urls[0]}/frames/3 {head}Connection: close\r\n\r\n")
        connection.sendall("".join(requests).encode())
        got = b"".join(iter(lambda: connection.recv(1 << 20), b""))

    assert re.findall(rb"HTTP/1\.1 ([0-9]{3})", got) == [b"200", b"400", b"200", b"404", b"200"]
    assert all(frame.tobytes() in got for frame in PIXELS[:2])
    assert got.endswith(PIXELS[2].tobytes())


def test_a_client_that_reads_slowly_gets_everything(
    client: httpx.Client, urls: list[str], sent: list[int]
) -> None:
    """A socket that takes no more is waited for; others are served meanwhile."""
    with begun(client, f"{urls[0]}/frames/{MANY}") as slow:
        got = bytearray(slow.recv(1))
        assert client.get(f"{urls[0]}/frames/4", headers=BARE).content == PIXELS[3].tobytes()
        while piece := slow.recv(65_536):
            got += piece
    whole = b"".join(frame.tobytes() for frame in PIXELS)
    assert len(got) > 8 * len(whole)
    assert got.count(PIXELS[4].tobytes()) == 8
    # Not all of it went at once: the rest was asked for again where the socket had room.
    assert min(sent) < PIXELS[0].nbytes


def test_clients_that_go_leave_nothing_open(client: httpx.Client, urls: list[str]) -> None:
    """In the middle of an answer, while it is waited for, by FIN and by RST."""
    client.get(f"{urls[0]}/frames/1", headers=BARE)
    before = open_sockets()
    for number in range(12):
        gone = begun(client, f"{urls[0]}/frames/{MANY}")
        if number % 2:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.recv(100)
        gone.close()

    until(lambda: open_sockets() <= before, seconds=20, what="sockets are given back")
    assert client.get(f"{urls[0]}/frames/1", headers=BARE).content == PIXELS[0].tobytes()


def test_a_client_that_takes_nothing_is_dropped(client: httpx.Client, urls: list[str]) -> None:
    """After `write_s`, here a second: no descriptor waits for ever."""
    with begun(client, f"{urls[0]}/frames/{MANY}") as idle:
        assert idle.recv(12) == b"HTTP/1.1 200"
        begun_with = open_sockets()
        # Two descriptors of the server's are of this connection.
        until(lambda: open_sockets() <= begun_with - 2, seconds=20, what="the client is dropped")


def test_a_file_cut_while_it_is_open_ends_the_answer_short(tmp_path: Path) -> None:
    """The status is out: fewer bytes than announced, and the connection closes. The server goes on."""
    frame = pixel_file(tmp_path, PIXELS[0].tobytes(), EXPLICIT, Rows=SIDE, Columns=SIDE, BitsAllocated=16)
    [url] = archived(tmp_path, [frame])
    with running_streamer(tmp_path) as client:
        assert client.get(f"{url}/frames/1", headers=BARE).status_code == 200
        stored = next((tmp_path / "archive" / "data").rglob("*.dcm"))
        os.truncate(stored, stored.stat().st_size - 200_000)

        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"{url}/frames/1", headers=BARE)
        assert client.get("/health").status_code == 200
