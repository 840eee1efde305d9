"""PDU sequences by TCP to a gateway process: it lives, answers in form, closes in time, and keeps nothing that it should not."""

from __future__ import annotations

import itertools
import random
import socket
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from chaos.fuzz_mutate import Mutator
from chaos.fuzz_samples import Samples
from chaos.fuzz_targets import Fault, require
from chaos.gateway_process import GatewayProcess, Usage, half_written
from dicomrelay.dimse.fragments import CommandReceived, MessageAssembler
from dicomrelay.dimse.messages import CStoreResponse
from dicomrelay.errors import RelayError
from dicomrelay.spool import Spool
from dicomrelay.ul.pdu import AssociateAccept, PDataTf
from dicomrelay.ul.reader import DECODERS

_CLOSED_WITHIN_S: Final = 10.0
_COMMIT_THREADS: Final = 16
_LOOK_EVERY: Final = 100
_MOST_GROWTH_BYTES: Final = 200 << 20
_RESET: Final = struct.pack("ii", 1, 0)


class GatewayTarget:
    """A gateway in `home`, started when the first input comes."""

    name = "gateway"

    def __init__(self, samples: Samples, home: Path) -> None:
        self._sequences = samples.to_acceptor
        self._pdus = [pdu for sequence in self._sequences for pdu in sequence]
        self._gateway = GatewayProcess(home)
        self._home = home
        self._baseline: Usage | None = None
        self._inputs = 0
        self._stored = 0
        self._cut_off = 0
        self.slowest_echo_s = 0.0

    def make(self, chance: random.Random) -> bytes:
        """How it is cut and how the connection ends in the first byte."""
        mutator = Mutator(chance, self._pdus)
        return chance.randbytes(1) + mutator.mutate_sequence(chance.choice(self._sequences))

    def attempt(self, data: bytes) -> bool:
        """Send, end by FIN or (one in eight) by RST, and see that the other side ends too; accepted when it stored or echoed."""
        if self._baseline is None:
            self._baseline = self._begin()
        self._inputs += 1
        accepted = self._one(data[0], data[1:])
        if self._inputs % _LOOK_EVERY == 0:
            self._look()
        return accepted

    def finish(self) -> str:
        """Whether all is as it was, and the spool holds what was acknowledged: the figures in words.

        Raises
        ------
        Fault
            It does not.
        """
        if self._baseline is None:
            return ""
        self._look()
        # The pool of commits keeps its threads: those of a listener process are so many at most (`net/commits.py`).
        before = replace(self._baseline, threads=self._baseline.threads + _COMMIT_THREADS)
        after = self._gateway.settle(before)
        code = self._gateway.stop()
        require(after.threads <= before.threads, f"{after.threads} threads, {before.threads} at most")
        require(
            after.descriptors <= before.descriptors,
            f"{after.descriptors} descriptors in place of {before.descriptors}",
        )
        require(code == 0, f"the gateway ended with {code}")
        require("Traceback" not in self._gateway.log, f"a traceback in {self._home}/gateway.log")
        kept = self._kept()
        return (
            f"gateway: {self._stored} stored, {kept} in the spool; memory {before.rss_bytes >> 20} to "
            f"{after.peak_rss_bytes >> 20} MB, threads {self._baseline.threads} to {after.threads}, descriptors "
            f"{before.descriptors} to {after.descriptors}; slowest C-ECHO {self.slowest_echo_s * 1000:.0f} ms"
        )

    def stop(self) -> None:
        """End the process, whatever state it is in."""
        self._gateway.stop()

    # ---- inside

    def _begin(self) -> Usage:
        try:
            self._gateway.start()
            self._one(1, b"".join(self._sequences[3]))  # what is opened with the first instance stays open
        except BaseException:
            self._gateway.stop()
            raise
        time.sleep(0.2)
        return self._gateway.usage()

    def _one(self, first: int, stream: bytes) -> bool:
        is_reset = first % 8 == 0
        cuts = [0, *Mutator(random.Random(first), [b""]).cuts(len(stream)), len(stream)]
        sock = self._gateway.connect(_CLOSED_WITHIN_S)
        with sock:
            try:
                for begin, end in itertools.pairwise(cuts):
                    sock.sendall(stream[begin:end])
                if is_reset:
                    self._cut_off += 1
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return False
                sock.shutdown(socket.SHUT_WR)
            except ConnectionError:  # it has had enough, which is its right
                self._cut_off += 1
                return False
            except TimeoutError:
                raise Fault(f"it took nothing for {_CLOSED_WITHIN_S:g} s and did not close") from None
            return self._judge(_all_of(sock))

    def _judge(self, answer: bytes) -> bool:
        """Whether it is PDUs from end to end, and says that something was done."""
        at, done = 0, False
        assembler = MessageAssembler(range(1, 256, 2))
        while len(answer) - at >= 6:
            size = int.from_bytes(answer[at + 2 : at + 6], "big")
            body = answer[at + 6 : at + 6 + size]
            require(answer[at] in DECODERS and len(body) == size, f"it answered {answer[at : at + 40]!r}")
            pdu = DECODERS[answer[at]](memoryview(body))
            done = done or isinstance(pdu, AssociateAccept)
            for part in assembler.feed(pdu.pdvs) if isinstance(pdu, PDataTf) else ():
                message = part.message if isinstance(part, CommandReceived) else None
                if isinstance(message, CStoreResponse) and message.status == 0:
                    self._stored += 1
            at += 6 + size
        require(at == len(answer), f"half a PDU at the end: {answer[at:]!r}")
        return done

    def _look(self) -> None:
        require(self._gateway.is_alive, "the process died")
        try:
            self.slowest_echo_s = max(self.slowest_echo_s, self._gateway.echo())
        except RelayError as error:
            raise Fault(f"C-ECHO after {self._inputs} inputs: {error}") from error
        before = self._baseline
        growth = self._gateway.usage().rss_bytes - (before.rss_bytes if before else 0)
        require(growth <= _MOST_GROWTH_BYTES, f"memory grew by {growth >> 20} MB")

    def _kept(self) -> int:
        spool = Spool(self._home / "spool")
        try:
            kept = 0
            for record in spool.records():
                spool.verify(record.id)
                kept += 1
            require(spool.usage().corrupt == 0, "something corrupt in the spool")
        finally:
            spool.close()
        leftovers = half_written(self._home)
        require(not leftovers, f"half written: {leftovers[:3]}")
        # What was cut off may have been committed before its answer was lost; each connection brings two at most.
        most = self._stored + 4 * self._cut_off
        require(self._stored <= kept <= most, f"{self._stored} were answered Success, {kept} are kept")
        return kept


def _all_of(sock: socket.socket) -> bytes:
    """What comes until the other side closes."""
    deadline = time.monotonic() + _CLOSED_WITHIN_S
    answer = bytearray()
    while True:
        try:
            piece = sock.recv(65_536)
        except ConnectionError:
            return b""  # reset: unread bytes of ours were on the way
        except TimeoutError:
            piece = None
        if piece is None or time.monotonic() > deadline:
            raise Fault(f"not closed within {_CLOSED_WITHIN_S:g} s; it said {bytes(answer[:40])!r}")
        if not piece:
            return bytes(answer)
        answer += piece
