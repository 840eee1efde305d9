"""A Storage SCP with nothing in it: accepts the first transfer syntax of every context and never says no.

It checks no length against what it advertised, no state, no context, no value; it has no deadline and no limit but its
buffer. One thread an association, one buffer of 4 MiB, one writev for what one read brought.

Usage: python -m benchmarks.speed_of_light.minimal_receiver PORT DIRECTORY [sync]     (sync: fdatasync each)
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator

BUFFER_BYTES = 4 << 20
MAX_PDU_BYTES = 131_072
QUICKACK = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)


def items(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each item."""
    at = 0
    while at < len(raw):
        length = int.from_bytes(raw[at + 2 : at + 4], "big")
        yield raw[at], raw[at + 4 : at + 4 + length]
        at += 4 + length


def item(kind: int, value: bytes) -> bytes:
    """One item."""
    return struct.pack(">BxH", kind, len(value)) + value


def accept(request: bytes) -> tuple[bytes, dict[int, bytes]]:
    """A-ASSOCIATE-AC for a request, and the transfer syntax of each context."""
    syntaxes: dict[int, bytes] = {}
    answer = b""
    for kind, value in items(request[68:]):
        if kind == 0x10:
            answer += item(0x10, value)
        elif kind == 0x20:
            syntaxes[value[0]] = next(v for k, v in items(value[4:]) if k == 0x40)
            answer += item(0x21, bytes((value[0], 0, 0, 0)) + item(0x40, syntaxes[value[0]]))
    answer += item(0x50, item(0x51, struct.pack(">I", MAX_PDU_BYTES)) + item(0x52, b"1.2.3.4.5"))
    body = struct.pack(">Hxx", 1) + request[4:36] + bytes(32) + answer
    return struct.pack(">BxI", 2, len(body)) + body, syntaxes


def element(number: int, value: bytes) -> bytes:
    """One command element."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def command_values(raw: bytes) -> dict[int, bytes]:
    """The values of a command set by element number."""
    found, at = {}, 0
    while at < len(raw):
        _, number, length = struct.unpack_from("<HHI", raw, at)
        found[number] = raw[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def success(context_id: int, command: dict[int, bytes]) -> bytes:
    """C-STORE-RSP, status 0000."""
    body = (
        element(0x0002, command[0x0002])
        + element(0x0100, b"\x01\x80")
        + element(0x0120, command[0x0110])
        + element(0x0800, b"\x01\x01")
        + element(0x0900, b"\0\0")
        + element(0x1000, command[0x1000])
    )
    body = element(0, struct.pack("<I", len(body))) + body
    return struct.pack(">BxIIBB", 4, len(body) + 6, len(body) + 2, context_id, 3) + body


def file_head(command: dict[int, bytes], syntax: bytes) -> bytes:
    """Preamble and file meta information."""
    meta = b"\2\0\1\0OB\0\0\2\0\0\0\0\1"
    for number, value in ((2, command[0x0002]), (3, command[0x1000]), (0x10, syntax)):
        padded = value + b"\0" * (len(value) & 1)
        meta += struct.pack("<HH2sH", 2, number, b"UI", len(padded)) + padded
    return bytes(128) + b"DICM\2\0\0\0UL\4\0" + struct.pack("<I", len(meta)) + meta


def serve(sock: socket.socket, directory: str, sync: bool) -> None:  # noqa: C901 - one loop is the point of it
    """One association."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(BUFFER_BYTES)
    view = memoryview(buffer)
    begin = end = 0
    syntaxes: dict[int, bytes] = {}
    command_raw = b""
    command: dict[int, bytes] = {}
    out = -1
    pieces: list[bytes | memoryview] = []

    while True:
        needed = 6
        while end - begin < needed or (
            needed == 6 and end - begin < (needed := 6 + length_at(buffer, begin))
        ):
            if begin + needed > BUFFER_BYTES:
                if pieces:
                    os.writev(out, pieces)
                    pieces = []
                view[: end - begin] = view[begin:end]
                begin, end = 0, end - begin
            count = sock.recv_into(view[end:])
            sock.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
            if count == 0:
                return
            end += count
        kind, at, after = buffer[begin], begin + 6, begin + needed
        begin = after
        if kind == 4:
            while at < after:
                length = int.from_bytes(buffer[at : at + 4], "big")
                context_id, control = buffer[at + 4], buffer[at + 5]
                data = view[at + 6 : at + 4 + length]
                at += 4 + length
                if control & 1:
                    command_raw += bytes(data)
                    if control & 2:
                        command, command_raw = command_values(command_raw), b""
                        name = command[0x1000].rstrip(b"\0").decode()
                        out = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                        pieces = [file_head(command, syntaxes[context_id])]
                    continue
                pieces.append(data)
                if control & 2:
                    os.writev(out, pieces)
                    pieces = []
                    if sync:
                        os.fdatasync(out)
                    os.close(out)
                    sock.sendall(success(context_id, command))
            if pieces and (len(pieces) > 4 or begin == end):
                os.writev(out, pieces)
                pieces = []
        elif kind == 1:
            answer, syntaxes = accept(bytes(view[at:after]))
            sock.sendall(answer)
        else:
            if kind == 5:
                sock.sendall(struct.pack(">BxII", 6, 4, 0))
            sock.close()
            return
        if begin == end:
            begin = end = 0


def length_at(buffer: bytearray, begin: int) -> int:
    """The length field of the PDU that begins there."""
    return int.from_bytes(buffer[begin + 2 : begin + 6], "big")


def main() -> None:
    """Serve for ever."""
    port, directory, sync = int(sys.argv[1]), sys.argv[2], "sync" in sys.argv[3:]
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, directory, sync), daemon=True).start()


if __name__ == "__main__":
    main()
