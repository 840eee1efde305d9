"""More callers than places: strangers are told to come later, and those we know still get in."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dicomrelay.ul.pdu import AssociateAccept, AssociateReject, ReleaseRequest, ReleaseResponse
from dicomrelay.ul.writer import encode
from tests.support.gateway import Running, running
from tests.support.house import wait_for
from tests.support.wire import associate, read_pdu

KNOWN, PLACES, RESERVED, CROWD = "127.0.0.7", 30, 8, 300
PEERS = [{"host": KNOWN}, {"host": "127.0.0.8", "max_associations": 2}, {"host": "*"}]
TOLD_TO_COME_LATER = AssociateReject(2, 3, 2)


@contextmanager
def connected(gateway: Running, address: str) -> Iterator[socket.socket]:
    """A TCP connection from that address of this machine."""
    with socket.create_connection(
        ("127.0.0.1", gateway.settings.gateway.port), timeout=20, source_address=(address, 0)
    ) as sock:
        yield sock


def test_a_crowd_of_strangers_does_not_keep_known_peers_out(tmp_path: Path) -> None:
    """300 strangers from 100 addresses that all ask and stay; then as many known peers as there is room for."""
    with (
        running(
            tmp_path / "home", peers=PEERS, max_associations=PLACES, reserved_associations=RESERVED
        ) as gateway,
        ExitStack() as open_ones,
    ):
        answers: Counter[object] = Counter()
        strangers = []
        for number in range(CROWD):
            sock = open_ones.enter_context(connected(gateway, f"127.0.1.{number % 100 + 1}"))
            answer = associate(sock)
            answers[type(answer) if isinstance(answer, AssociateAccept) else answer] += 1
            if isinstance(answer, AssociateAccept):
                strangers.append(sock)
        # Fewer than the 512 that are rejected at once (AcceptorLimits.max_refusals): none is closed unheard.
        strangers_places = PLACES - RESERVED
        assert answers == {AssociateAccept: strangers_places, TOLD_TO_COME_LATER: CROWD - strangers_places}

        known = [open_ones.enter_context(connected(gateway, KNOWN)) for _ in range(RESERVED + 3)]
        heard = [associate(sock) for sock in known]
        assert [type(answer) for answer in heard[:RESERVED]] == [AssociateAccept] * RESERVED
        assert heard[RESERVED:] == [TOLD_TO_COME_LATER] * 3

        # A place that a stranger leaves is no stranger's while known peers fill more than their own.
        leaving = strangers.pop()
        leaving.sendall(encode(ReleaseRequest()))
        assert isinstance(read_pdu(leaving), ReleaseResponse)
        leaving.close()

        def found_room() -> bool:
            with connected(gateway, "127.0.1.200") as sock:
                assert associate(sock) == TOLD_TO_COME_LATER
            sock = open_ones.enter_context(connected(gateway, KNOWN))
            return isinstance(associate(sock), AssociateAccept)

        wait_for(found_room, timeout_s=20, what="the place that was left is a known peer's")


def test_those_who_say_nothing_take_no_reserved_place_either(tmp_path: Path) -> None:
    """A connection costs a place before it has said who it is: only its address can count."""
    with (
        running(tmp_path / "home", peers=PEERS, max_associations=6, reserved_associations=2) as gateway,
        ExitStack() as open_ones,
    ):
        for number in range(20):
            open_ones.enter_context(connected(gateway, f"127.0.1.{number + 1}"))
        for _ in range(2):
            sock = open_ones.enter_context(connected(gateway, KNOWN))
            assert isinstance(associate(sock), AssociateAccept)


def test_an_entry_with_few_places_leaves_the_others_theirs(tmp_path: Path) -> None:
    """Two for 127.0.0.8, the third comes later, and others are not touched."""
    with running(tmp_path / "home", peers=PEERS) as gateway, ExitStack() as open_ones:
        socks = [open_ones.enter_context(connected(gateway, "127.0.0.8")) for _ in range(3)]
        answers = [associate(sock) for sock in socks]
        assert [type(answer) for answer in answers[:2]] == [AssociateAccept] * 2
        assert answers[2] == TOLD_TO_COME_LATER
        assert isinstance(associate(open_ones.enter_context(connected(gateway, KNOWN))), AssociateAccept)
        socks[0].close()

        def found_room() -> bool:
            sock = open_ones.enter_context(connected(gateway, "127.0.0.8"))
            return isinstance(associate(sock), AssociateAccept)

        wait_for(found_room, timeout_s=20, what="the place that was left is free")
