"""A DICOMweb service, and a server of tokens, that do what a script says: every status, silence, and bytes that are no HTTP."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta

_REASONS = {200: "OK", 202: "Accepted", 413: "Too Long"}


@dataclass(frozen=True)
class Asked:
    """A request that came whole, but for its body when it was answered early."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int  # which of the server's, from 0

    @property
    def files(self) -> dict[str, bytes]:
        """The parts of its body by SOP Instance UID, as they came."""
        boundary = re.search(r'boundary="([^"]+)"', self.headers.get("content-type", ""))
        if boundary is None:
            return {}
        found = {}
        for part in (b"\r\n" + self.body).split(f"\r\n--{boundary[1]}".encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            assert head.lower() == b"\r\ncontent-type: application/dicom", head
            found[parse_file_meta(content[:HEAD_BYTES]).sop_instance_uid] = content
        return found

    @property
    def uids(self) -> list[str]:
        """What it is to store."""
        return list(self.files)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


# In place of an answer: bytes as they are; "close" and "reset" the connection, "silence", "trickle" of a header.
Action = Reply | str | bytes


def stored(
    *uids: str, failed: Mapping[str, int | None] | None = None, warned: Mapping[str, int] | None = None
) -> Reply:
    """A store response, with the status that goes with it."""
    failed, warned = failed or {}, warned or {}

    def item(uid: str, tag: str, reason: int | None) -> dict[str, Any]:
        made: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
        return made if reason is None else {**made, tag: {"vr": "US", "Value": [reason]}}

    response: dict[str, Any] = {}
    if uids or warned:
        there = [item(uid, "00081196", warned.get(uid)) for uid in (*uids, *warned)]
        response["00081199"] = {"vr": "SQ", "Value": there}
    if failed:
        response["00081198"] = {
            "vr": "SQ",
            "Value": [item(uid, "00081197", reason) for uid, reason in failed.items()],
        }
    status = 200 if not failed and not warned else 202 if uids or warned else 409
    return json_reply(response, status, "application/dicom+json")


def json_reply(content: object, status: int = 200, media_type: str = "application/json") -> Reply:
    """Any JSON."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": media_type})


def takes_all(asked: Asked) -> Action:
    """Whatever comes is stored; a search finds nothing."""
    return stored(*asked.uids) if asked.method == "POST" else json_reply([])


@dataclass
class WebService:
    """What came to it, and what it says."""

    port: int
    answer: Callable[[Asked], Action] = takes_all
    asked: list[Asked] = field(default_factory=list)
    early: Callable[[str], Reply | None] = lambda _: None  # by the target, before the body is read
    most_at_once: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def stored(self) -> list[str]:
        """SOP Instance UIDs of all requests, in their order."""
        return [uid for asked in self.asked for uid in asked.uids]

    def serve(self, sock: socket.socket, number: int) -> None:
        """One connection to its end."""
        file = sock.makefile("rb")
        while line := file.readline():
            method, target, _ = line.decode().split(" ", 2)
            headers: dict[str, str] = {}
            while (header := file.readline().strip()) != b"":
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            if early := self.early(target):
                self._send(sock, early)
                self.over.wait(30)  # and reads no more
                return
            body = file.read(int(headers.get("content-length", 0)))
            asked = Asked(method, target, headers, body, number)
            with self._lock:
                self.asked.append(asked)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                action = self.answer(asked)
            finally:
                with self._lock:
                    self._at_once -= 1
            if isinstance(action, bytes):
                sock.sendall(action)
                sock.shutdown(socket.SHUT_WR)
                return
            if isinstance(action, str):
                self._misbehave(sock, action)
                return
            self._send(sock, action)

    def _send(self, sock: socket.socket, reply: Reply) -> None:
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        head = f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Whatever')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(head.encode() + b"\r\n" + reply.body)

    def _misbehave(self, sock: socket.socket, action: str) -> None:
        if action == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif action == "silence":
            self.over.wait(30)
        elif action == "trickle":
            sock.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.over.wait(0.05):
                sock.sendall(b"x")
        else:
            assert action == "close"


@contextmanager
def web_service(
    answer: Callable[[Asked], Action] = takes_all, *, tls: ssl.SSLContext | None = None
) -> Iterator[WebService]:
    """One on a free port of loopback, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = WebService(listener.getsockname()[1], answer)
        threads: list[threading.Thread] = []

        def one(sock: socket.socket, number: int) -> None:
            with suppress(OSError, ValueError), sock:
                secured = tls.wrap_socket(sock, server_side=True) if tls is not None else sock
                with secured:
                    service.serve(secured, number)

        def accept() -> None:
            with suppress(OSError):
                while not service.over.is_set():
                    sock, _ = listener.accept()
                    thread = threading.Thread(target=one, args=(sock, len(threads)), daemon=True)
                    threads.append(thread)
                    thread.start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield service
        finally:
            service.over.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(5)
            deadline = time.monotonic() + 5
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
