"""A Storage SCU with nothing in it: one context, one association, each file's bytes by sendfile.

It takes whatever comes for an acceptance and every response that ends in status 0000 for success; it has no deadline.

Usage: python -m benchmarks.speed_of_light.minimal_sender PORT DIRECTORY SOP_CLASS_UID     (prints its seconds)
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from time import perf_counter

SYNTAX = b"1.2.840.10008.1.2.1"
MSG_MORE = getattr(socket, "MSG_MORE", 0)


def item(kind: int, value: bytes) -> bytes:
    """One item."""
    return struct.pack(">BxH", kind, len(value)) + value


def element(number: int, value: bytes) -> bytes:
    """One command element, padded."""
    value += b"\0" * (len(value) & 1)
    return struct.pack("<HHI", 0, number, len(value)) + value


def read(sock: socket.socket, count: int) -> bytes:
    """Exactly so many bytes."""
    found = b""
    while len(found) < count:
        piece = sock.recv(count - len(found))
        if not piece:
            raise SystemExit("the receiver has gone")
        found += piece
    return found


def read_pdu(sock: socket.socket) -> bytes:
    """The body of the next PDU."""
    return read(sock, int.from_bytes(read(sock, 6)[2:], "big"))


def send(port: int, paths: list[str], sop_class: bytes) -> None:
    """All of them over one association."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = item(0x20, bytes((1, 0, 0, 0)) + item(0x30, sop_class) + item(0x40, SYNTAX))
    user = item(0x50, item(0x51, struct.pack(">I", 1 << 20)) + item(0x52, b"1.2.3.4"))
    body = struct.pack(">Hxx", 1) + b"ANY".ljust(16) + b"FAST".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    sock.sendall(struct.pack(">BxI", 1, len(body)) + body)
    answer = read_pdu(sock)
    at = answer.find(b"\x51\0\0\4")
    fragment = min(int.from_bytes(answer[at + 4 : at + 8], "big") or 1 << 24, 1 << 24) - 6
    out = sock.fileno()
    for number, path in enumerate(paths):
        source = os.open(path, os.O_RDONLY)
        size = os.fstat(source).st_size
        head = os.pread(source, 1024, 0)
        offset = 144 + struct.unpack_from("<I", head, 140)[0]
        at = head.find(b"\2\0\3\0UI")
        uid = head[at + 8 : at + 8 + struct.unpack_from("<H", head, at + 6)[0]]
        command = (
            element(0x0002, sop_class)
            + element(0x0100, b"\1\0")
            + element(0x0110, struct.pack("<H", number + 1 & 0xFFFF))
            + element(0x0700, b"\0\0")
            + element(0x0800, b"\0\0")
            + element(0x1000, uid)
        )
        command = element(0, struct.pack("<I", len(command))) + command
        ahead = struct.pack(">BxIIBB", 4, len(command) + 6, len(command) + 2, 1, 3) + command
        left = size - offset
        while left:
            count = min(left, fragment)
            left -= count
            ahead += struct.pack(">BxIIBB", 4, count + 6, count + 2, 1, 0 if left else 2)
            sock.sendall(ahead, MSG_MORE)
            ahead = b""
            while count:
                sent = os.sendfile(out, source, offset, count)
                offset += sent
                count -= sent
        os.close(source)
        if b"\0\0\0\t\2\0\0\0\0\0" not in read_pdu(sock):
            raise SystemExit(f"{path} was not stored")
    sock.sendall(struct.pack(">BxII", 5, 4, 0))
    read(sock, 10)


def main() -> None:
    """Time everything from the connection to the release."""
    paths = sorted(str(path) for path in Path(sys.argv[2]).iterdir())
    began = perf_counter()
    send(int(sys.argv[1]), paths, sys.argv[3].encode())
    print(perf_counter() - began)


if __name__ == "__main__":
    main()
