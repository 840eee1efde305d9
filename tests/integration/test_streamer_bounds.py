"""What a connection to the streamer may cost: real sockets that send too much, too slowly or nothing."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from archive import Archive
from streamer.bounds import Bounds
from tests.support.archive import pydicom_file, request_for
from tests.support.streamer import running_streamer

BOUNDS = Bounds(head_bytes=4096, body_bytes=1024, head_s=0.5, write_s=0.7, connections=8, pipelined=4)
HOST = b"Host: localhost\r\n"
GET = b"GET /health HTTP/1.1\r\n" + HOST


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("home")
    with closing(Archive.open(home / "archive")) as archive:
        archive.store([request_for(pydicom_file("CT_small.dcm"))])
    with running_streamer(home, bounds=BOUNDS) as client:
        client.headers["connection"] = "close"
        yield client


def connect(client: httpx.Client) -> socket.socket:
    """A connection of its own."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)


def until_closed(connection: socket.socket) -> bytes:
    """Everything that is answered; a server that closes on unread bytes may end it with a reset."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            found += data
    return found


def sent_until_closed(connection: socket.socket, piece: bytes, *, times: int, pause_s: float = 0) -> int:
    """How many times a piece could be sent before the server had closed."""
    for count in range(times):
        try:
            connection.sendall(piece)
        except (ConnectionResetError, BrokenPipeError):
            return count
        time.sleep(pause_s)
    return times


def asked(client: httpx.Client, request: bytes) -> bytes:
    """What is answered until the server closes."""
    with connect(client) as connection:
        connection.sendall(request)
        return until_closed(connection)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 4096,
        GET + b"X: " + b"a" * 4096,
        GET + b"X: " + b"a" * 8192 + b"\r\n\r\n",
        GET + b"X: a\r\n" * 1000 + b"\r\n",
        GET + b"\r\n" + GET + b"X: " + b"a" * 9000,
    ],
)
def test_a_head_that_is_too_large_is_refused(client: httpx.Client, request_bytes: bytes) -> None:
    """431 and the end, whether it is the line, one field or many, in the first request or the second."""
    with connect(client) as connection:
        first, behind, second = request_bytes.partition(b"\r\n\r\nGET")
        if behind:
            connection.sendall(first + b"\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            connection.sendall(b"GET" + second)
        else:
            connection.sendall(request_bytes)
        answer = until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"more than 4096 bytes" in answer
    assert b"nosniff" in answer


def test_a_head_of_exactly_the_limit_is_answered(client: httpx.Client) -> None:
    """The last byte that is allowed is allowed, the next is not."""
    start, end = GET + b"Connection: close\r\nX: ", b"\r\n\r\n"
    fill = b"a" * (BOUNDS.head_bytes - len(start) - len(end))

    assert asked(client, start + fill + end).startswith(b"HTTP/1.1 200 ")
    assert asked(client, start + fill + b"a" + end).startswith(b"HTTP/1.1 431 ")


def test_an_endless_header_costs_no_memory(client: httpx.Client) -> None:
    """64 MB of one header line, or as much of it as the server lets come: it is not kept."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with connect(client) as connection:
        connection.sendall(GET + b"X: ")
        sent = sent_until_closed(connection, b"a" * 1_000_000, times=64)

    assert sent < 64
    # Socket buffers are the system's; ru_maxrss is in KiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"", b""), (b"\r\n", b"HTTP/1.1 408 "), (b"GET /he", b"HTTP/1.1 408 "), (GET, b"HTTP/1.1 408 ")],
)
def test_a_request_that_does_not_arrive_is_ended(client: httpx.Client, sent: bytes, expected: bytes) -> None:
    """At the deadline, not before; a connection that said nothing is told nothing."""
    started = time.monotonic()

    answer = asked(client, sent)

    assert BOUNDS.head_s - 0.1 <= time.monotonic() - started < BOUNDS.head_s + 3
    assert answer.startswith(expected)
    assert bool(answer) == bool(expected)


@pytest.mark.parametrize("piece", [b"X: a\r\n", b"\r\n"])
def test_bytes_one_by_one_do_not_move_the_deadline(client: httpx.Client, piece: bytes) -> None:
    """Header fields, or empty lines in front of a second request, that never end."""
    started = time.monotonic()
    with connect(client) as connection:
        if piece == b"\r\n":
            connection.sendall(GET + b"\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        else:
            connection.sendall(GET)
        assert sent_until_closed(connection, piece, times=100, pause_s=0.05) < 100

    assert time.monotonic() - started < BOUNDS.head_s + 3


def test_an_answered_connection_may_rest_longer_than_a_head_may_take(client: httpx.Client) -> None:
    """Between requests it is keep-alive that counts."""
    with connect(client) as connection:
        for _ in range(2):
            connection.sendall(GET + b"\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            time.sleep(BOUNDS.head_s + 0.3)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1025\r\n\r\n",
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 18446744073709551615\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_a_body_that_is_announced_too_large_is_refused_unread(
    client: httpx.Client, request_bytes: bytes
) -> None:
    """413, before a byte of it came."""
    answer = asked(client, request_bytes)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"more than the 1024 bytes that are taken here" in answer


@pytest.mark.parametrize(
    "behind", [b"ffffff\r\n" + b"a" * 100_000, b"1\r\na\r\n" * 20_000, b"0\r\nX: " + b"a" * 100_000]
)
def test_a_body_without_length_ends_at_the_limit(client: httpx.Client, behind: bytes) -> None:
    """Chunks, their frames and trailers: counted as they come, and the connection ends."""
    with connect(client) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 405")
        connection.sendall(behind)
        assert b"HTTP/1.1 413 " in until_closed(connection)


def test_a_small_body_is_passed_over(client: httpx.Client) -> None:
    """The connection lives, and the next request is answered."""
    body = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1024\r\n\r\n" + b"a" * 1024
    with connect(client) as connection:
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 405")
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_come_is_not_waited_for(client: httpx.Client) -> None:
    """Answered at once; one byte of it more does not keep the connection."""
    started = time.monotonic()
    with connect(client) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 405")
        connection.sendall(b"a")
        assert until_closed(connection) == b""

    assert time.monotonic() - started < BOUNDS.head_s + 3


def test_too_many_requests_at_once_end_the_connection(client: httpx.Client) -> None:
    """A few are answered in turn; a thousand are not kept."""
    last = GET + b"Connection: close\r\n\r\n"

    assert asked(client, (GET + b"\r\n") * 3 + last).count(b"HTTP/1.1 200 ") == 4
    assert asked(client, (GET + b"\r\n") * 1000 + last).count(b"HTTP/1.1 200 ") <= BOUNDS.pipelined + 1


def test_what_is_no_request_is_refused_in_json(client: httpx.Client) -> None:
    """400, with the headers that every answer has."""
    answer = asked(client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"detail"' in answer
    assert b"nosniff" in answer


def test_one_connection_too_many_is_told_so_and_the_others_go_on(client: httpx.Client) -> None:
    """503 for the new one, answers for those that are open, and room again when they have gone."""
    with contextlib.ExitStack() as held:
        kept = [held.enter_context(closing(connect(client))) for _ in range(BOUNDS.connections)]
        for connection in kept:
            connection.sendall(GET + b"\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        with connect(client) as extra:
            answer = until_closed(extra)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"8 connections already" in answer
        kept[0].sendall(GET + b"\r\n")
        assert kept[0].recv(65_536).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 5
    while (status := client.get("/health").status_code) != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status == 200


def test_connections_that_say_nothing_make_room_by_themselves(client: httpx.Client) -> None:
    """More than there is room for, silent: after the deadline the next client is answered."""
    with contextlib.ExitStack() as held:
        silent = [held.enter_context(closing(connect(client))) for _ in range(3 * BOUNDS.connections)]
        for connection in silent:
            until_closed(connection)
        assert client.get("/health").status_code == 200


def many_frames() -> bytes:
    """A request for 32 MB: more than the buffers of a connection hold."""
    ct = request_for(pydicom_file("CT_small.dcm"))
    path = f"/studies/{ct.study_instance_uid}/series/{ct.series_instance_uid}/instances/{ct.sop_instance_uid}"
    return f"GET {path}/frames/1{',1' * 999} HTTP/1.1\r\nConnection: close\r\n".encode() + HOST + b"\r\n"


def test_a_client_that_takes_nothing_of_its_answer_is_dropped(client: httpx.Client) -> None:
    """It would hold a connection for ever."""
    with connect(client) as connection:
        connection.sendall(many_frames())
        time.sleep(BOUNDS.write_s + 0.5)
        answer = until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(answer) < 1000 * 32_768


def test_a_slow_client_gets_its_whole_answer(client: httpx.Client) -> None:
    """Longer than the deadline in all, never as long without taking something."""
    started, size = time.monotonic(), 0
    with connect(client) as connection:
        connection.sendall(many_frames())
        while data := connection.recv(8_000_000, socket.MSG_WAITALL):
            size += len(data)
            time.sleep(BOUNDS.write_s / 3)

    assert time.monotonic() - started > BOUNDS.write_s
    assert size > 1000 * 32_768


def test_refusals_do_not_fill_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One line in ten seconds, however many there are."""
    Archive.open(tmp_path / "archive").close()
    with running_streamer(tmp_path, bounds=BOUNDS) as client:
        for _ in range(30):
            assert asked(client, b"GET /" + b"a" * 4096).startswith(b"HTTP/1.1 431 ")
            assert asked(client, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")

    logged = caplog.text + "".join(capfd.readouterr())
    assert logged.count("requests refused") == 1
    assert logged.count("Invalid HTTP request") == 0
