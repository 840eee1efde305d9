"""The table of outcomes with real peers: every row that a peer can bring about, by `send --direct` and by the workers."""

from __future__ import annotations

import itertools
import json
import logging
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from chaos.instances import Instance, make_instances
from dicomrelay.cli.main import main
from dicomrelay.ledger.schema import transfers
from dicomrelay.ledger.values import AttentionKind
from dicomrelay.runtime.ports import free_ports
from dicomrelay.ul.pdu import Abort, AssociateReject
from tests.support.house import storescp
from tests.support.peers import Peer, Script, scripted_peer
from tests.support.rooms import rooms_at, spooled, transfers_of
from workers.forward import forward_next, forward_transfer
from workers.group import group_arrivals
from workers.rooms import Rooms

pytestmark = pytest.mark.timeout(120)

STORED = {0x0000: "delivered", 0xB000: "warning", 0xB006: "warning", 0xB007: "warning", 0xB123: "warning", 0x0001: "warning",
          0x0107: "warning", 0x0116: "warning"}  # fmt: skip
LATER = (0xA700, 0xA701, 0xA7FF, 0x0110, 0x0213, 0xFE00)
NEVER = (0xA900, 0xA9FF, 0xC000, 0xC123, 0xCFFF, 0xA000, 0xA800, 0x0105, 0x0106, 0x0111, 0x0112, 0x0113, 0x0114, 0x0115,
         0x0117, 0x0118, 0x0119, 0x0120, 0x0121, 0x0122, 0x0123, 0x0124, 0x0210, 0x0211, 0x0212, 0x0214, 0x02FF,
         0xFF00, 0xFF01, 0xFFFF, 0x0002, 0x1000, 0xD000, 0xE000)  # fmt: skip
# PS3.8 Table 9-21, what it defines, and of what it does not some of each kind.
REJECTIONS = [
    AssociateReject(result, source, reason)
    for result in (1, 2, 0, 3, 255)
    for source, reason in ((1, 1), (1, 2), (1, 3), (1, 7), (2, 1), (2, 2), (3, 1), (3, 2), (1, 4), (2, 3), (3, 0), (0, 0))
]  # fmt: skip
ABORTS = [Abort(0, 0), Abort(0, 6), Abort(1, 0), *(Abort(2, reason) for reason in (*range(7), 200))]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """One small file to send."""
    some = itertools.islice(make_instances(tmp_path_factory.mktemp("files"), 1), 30)
    return min(some, key=lambda each: each.item.data_set_bytes)


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    """A peer that is told anew what to do by each test."""
    with scripted_peer() as running:
        yield running


Send = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def send(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Send:
    """`dicomrelay send --direct` in this process: its exit code and its account of the one instance."""

    def run(port: int, *more: str) -> tuple[int, dict[str, Any]]:
        words = ["send", str(instance.item.path), f"PEER@127.0.0.1:{port}", "--direct", "--json"]
        monkeypatch.setattr(
            sys, "argv", ["dicomrelay", *words, "--home", str(tmp_path / "sender"), "--retries", "0", *more]
        )
        root = logging.getLogger()
        before = list(root.handlers)
        with pytest.raises(SystemExit) as ended:
            main()
        for handler in [each for each in root.handlers if each not in before]:
            root.removeHandler(handler)
            handler.close()  # the log of a session, which a process of its own takes with it
        (row,) = json.loads(capsys.readouterr().out)["results"]
        return int(ended.value.code or 0), row

    return run


@pytest.mark.parametrize("status", [*STORED, *LATER, *NEVER], ids=lambda status: f"{status:04X}")
def test_send_tells_each_status_by_the_table(peer: Peer, send: Send, status: int) -> None:
    """A warning arrived; what may be taken later is given up after its attempts; the rest, unknown ones too, is refused."""
    peer.script = Script(storing=status)
    code, row = send(peer.port)

    expected = STORED.get(status) or ("gave up" if status in LATER else "refused")
    assert (row["state"], row["status"]) == (expected, f"0x{status:04X}")
    assert code == (0 if status in STORED else 1)
    assert row["reason"] or status == 0


@pytest.mark.parametrize(
    "rejection", REJECTIONS, ids=lambda each: f"{each.result}-{each.source}-{each.reason}"
)
def test_send_tells_each_rejection(peer: Peer, send: Send, rejection: AssociateReject) -> None:
    """Not sent, exit code 3; tried again within the retries only when it is for now."""
    peer.script, began = Script(opening=rejection), len(peer.associations)
    code, row = send(peer.port)

    assert (code, row["state"], row["status"]) == (3, "not sent", None)
    numbers = f"({rejection.result}, {rejection.source}, {rejection.reason})"
    assert numbers in row["reason"]
    assert len(peer.associations) - began == 1


@pytest.mark.parametrize(("result", "associations"), [(1, 1), (2, 2), (3, 1)])
def test_send_asks_again_only_after_a_rejection_for_now(
    peer: Peer, send: Send, result: int, associations: int
) -> None:
    """And with a pause in between."""
    peer.script, began = Script(opening=AssociateReject(result, 1, 1)), len(peer.associations)
    send(peer.port, "--retries", "1")
    times = peer.associations[began:]
    assert len(times) == associations
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("where", ["opening", "storing"])
@pytest.mark.parametrize("abort", ABORTS, ids=lambda each: f"{each.source}-{each.reason}")
def test_send_tells_each_abort(peer: Peer, send: Send, abort: Abort, where: str) -> None:
    """In place of an association, and in place of an answer: not known to have arrived."""
    peer.script = Script(**{where: abort})  # type: ignore[arg-type]
    code, row = send(peer.port)
    assert (code, row["state"], row["status"]) == (3, "not sent", None)
    assert "abort" in row["reason"]


@pytest.mark.parametrize("storing", ["close", "reset"])
def test_send_tells_a_lost_connection(peer: Peer, send: Send, storing: str) -> None:
    """After the whole data set and before the answer."""
    peer.script = Script(storing=storing)
    assert send(peer.port)[1]["state"] == "not sent"


def test_send_tells_that_nobody_is_there(send: Send) -> None:
    """Exit code 3."""
    code, row = send(free_ports(1)[0])
    assert (code, row["state"]) == (3, "not sent")


@pytest.mark.parametrize("result", [1, 2, 3, 4, 99])
def test_send_tells_that_no_context_was_accepted(peer: Peer, send: Send, result: int) -> None:
    """Refused, with the object in words."""
    peer.script = Script(context_result=result)
    code, row = send(peer.port)
    assert (code, row["state"], row["status"]) == (1, "refused", None)
    assert "CT Image Storage" in row["reason"]


# ---- the workers


@pytest.fixture
def rooms(tmp_path: Path, peer: Peer) -> Iterator[Rooms]:
    """Rooms with that peer as the only destination, and a schedule that waits a minute at first and an hour at most."""
    peer.script = Script()
    toml = (
        f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        "retry_initial_s = 60\nretry_max_s = 3600\nresponse_timeout_s = 1\n"
    )
    with rooms_at(tmp_path / "home", toml) as (made, _):
        yield made


def _forward(rooms: Rooms, uid: str = "1.2.3.4") -> str:
    spooled(rooms, uid)
    group_arrivals(rooms)
    (transfer,) = transfers_of(rooms)
    forward_transfer(rooms, transfer)
    return transfer


_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
_SOON, _LATE = (0.4 * _MINUTE_MS, 1.6 * _MINUTE_MS), (0.9 * _HOUR_MS, _HOUR_MS)


def _listed(due: tuple[float, float]) -> list[AttentionKind]:
    """What waits long waits for a person."""
    return [AttentionKind.BLOCKED] if due == _LATE else []


@pytest.mark.parametrize(
    ("script", "due"),
    [
        (Script(opening=AssociateReject(2, 3, 2)), _SOON),
        (Script(opening=AssociateReject(2, 1, 1)), _SOON),
        (Script(opening=AssociateReject(1, 1, 3)), _LATE),
        (Script(opening=AssociateReject(1, 1, 7)), _LATE),
        (Script(opening=AssociateReject(9, 9, 9)), _LATE),
        (Script(opening=Abort(2, 1)), _SOON),
        (Script(storing=Abort(0, 0)), _SOON),
        (Script(storing=Abort(2, 6)), _SOON),
        (Script(storing="close"), _SOON),
        (Script(storing="reset"), _SOON),
        (Script(storing="silence"), _SOON),
        (Script(reset_after=0), _SOON),
        (Script(storing=0xA700), _SOON),
        (Script(storing=0x0213), _SOON),
    ],
    ids=lambda each: repr(each.opening or each.storing) if isinstance(each, Script) else "",
)
def test_what_may_pass_waits_by_the_schedule(
    rooms: Rooms, peer: Peer, script: Script, due: tuple[float, float]
) -> None:
    """Not delivered, waiting with its reason, listed when somebody has to mend something; asked for again at once it does
    not spin.
    """
    peer.script, began = script, len(peer.associations)
    transfer = _forward(rooms)

    (waiting,) = rooms.ledger.waiting()
    assert due[0] <= waiting.due_in_ms <= due[1]
    assert waiting.reason
    assert [row.kind for row in rooms.ledger.needs_attention()] == _listed(due)
    (summary,) = rooms.ledger.studies()
    assert summary.destinations[0].delivered == 0
    for _ in range(20):
        assert forward_transfer(rooms, transfer) is None
        assert not forward_next(rooms, "pacs")
    assert len(peer.associations) - began == 1


def test_status_says_what_is_blocked_and_what_to_do(
    rooms: Rooms, peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 with the advice of the row, in words and in JSON; 0 once it is mended and delivered."""

    def status(*more: str) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["dicomrelay", "status", "--home", str(rooms.settings.home), *more])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    peer.script = Script(opening=AssociateReject(1, 1, 7))
    transfer = _forward(rooms)
    advice = "Correct the destination's ae_title: the peer does not go by that name."
    code, words = status()
    assert code == 1
    assert "1 blocked at pacs: " in words
    assert advice in words
    code, text = status("--json")
    (row,) = json.loads(text)["needs_attention"]
    assert (code, row["kind"], row["advice"], row["sop_instance_uid"]) == (1, "blocked", advice, "1.2.3.4")

    peer.script = Script()
    _make_due(rooms)
    assert forward_transfer(rooms, transfer) == "pacs"
    code, words = status()
    assert code == 0
    assert "nothing needs attention" in words


def _make_due(rooms: Rooms) -> None:
    """Let the time pass that transfers wait."""
    with rooms.ledger._database.write() as work:
        work.connection.execute(update(transfers).values(due_at=work.now - 1))


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0x0122, 0x0124, 0xFFFF, 0xFF00])
def test_what_will_not_pass_needs_attention_at_once(rooms: Rooms, peer: Peer, status: int) -> None:
    """Terminal, with status and words; nothing waits."""
    peer.script = Script(storing=status)
    _forward(rooms)
    (row,) = rooms.ledger.needs_attention()
    assert row.status == status
    assert row.reason
    assert not rooms.ledger.waiting()


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB007, 0x0001])
def test_what_arrived_is_delivered_and_never_sent_again(rooms: Rooms, peer: Peer, status: int) -> None:
    """A warning is no failure."""
    peer.script, began = Script(storing=status), len(peer.whole)
    transfer = _forward(rooms)
    assert forward_transfer(rooms, transfer) is None
    assert len(peer.whole) - began == 1
    (summary,) = rooms.ledger.studies()
    assert summary.destinations[0].delivered == 1
    assert summary.destinations[0].warnings == (status != 0)


def test_waits_grow_while_it_goes_on(tmp_path: Path, peer: Peer) -> None:
    """Doubling from 0.2 s: in three seconds a handful of attempts, never a hot loop."""
    peer.script, began = Script(opening=AssociateReject(2, 3, 1)), len(peer.associations)
    toml = (
        f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        "retry_initial_s = 0.2\nretry_max_s = 60\n"
    )
    with rooms_at(tmp_path / "home", toml) as (rooms, _):
        transfer = _forward(rooms)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            forward_transfer(rooms, transfer)
            time.sleep(0.01)
    times = peer.associations[began:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 3 <= len(times) <= 8
    assert gaps[-1] > gaps[0]


def test_a_peer_that_resets_at_any_byte_gets_each_instance_in_the_end(tmp_path: Path, peer: Peer) -> None:
    """Two hundred places from the first byte of the request on: none lost, and what was answered came once."""
    more = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 2000) + bytes(2000)
    toml = (
        f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        "retry_initial_s = 0.001\nretry_max_s = 0.001\n"
    )
    peer.script = Script()
    with rooms_at(tmp_path / "home", toml) as (rooms, _):
        for number in range(200):
            study = f"1.2.{number}"
            spooled(rooms, f"{study}.1", study=study, more=more)
            group_arrivals(rooms)
            (transfer,) = transfers_of(rooms)
            peer.script = Script(reset_after=number * 11)
            forward_transfer(rooms, transfer)
            peer.script = Script()
            until = time.monotonic() + 10
            while not forward_transfer(rooms, transfer):
                assert time.monotonic() < until, number
            assert peer.answered.count(f"{study}.1") == 1
        assert sum(study.destinations[0].delivered for study in rooms.ledger.studies(limit=300)) == 200
        assert not rooms.ledger.needs_attention()


# ---- DCMTK's storescp, misbehaving


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("options", "state"),
    [
        (["--refuse"], "not sent"),
        (["--abort-after"], "not sent"),
        (["--abort-during"], "not sent"),
        (["--sleep-after", "1"], "delivered"),  # the sleep comes behind its answer
        (["--sleep-during", "1"], "delivered"),
        (["--reject"], "delivered"),  # it rejects those that do not say who made them; we do
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else each,
)
def test_send_to_a_storescp_that_misbehaves(
    send: Send, tmp_path: Path, options: list[str], state: str
) -> None:
    """Ended, told, and never taken for delivered."""
    with storescp("PEER", tmp_path / "got", *options) as server:
        code, row = send(server.port)
        assert row["state"] == state
        assert code == (0 if state == "delivered" else 3)


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("options", "due"),
    [
        (["--refuse"], _LATE),
        (["--abort-after"], _SOON),
        (["--abort-during"], _SOON),
        (["--sleep-during", "4"], _SOON),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_workers_wait_for_a_storescp_that_misbehaves(
    tmp_path: Path, options: list[str], due: tuple[float, float]
) -> None:
    """Waiting with the reason, due by the schedule; a second one that behaves gets it."""
    port = free_ports(1)[0]
    toml = (
        f'[[destinations]]\nname = "pacs"\nae_title = "PEER"\nhost = "127.0.0.1"\nport = {port}\n'
        "retry_initial_s = 60\nretry_max_s = 3600\nresponse_timeout_s = 1\n"
    )
    with (
        rooms_at(tmp_path / "home", toml) as (rooms, _),
        storescp("PEER", tmp_path / "got", *options, port=port),
    ):
        _forward(rooms)
        (waiting,) = rooms.ledger.waiting()
        assert due[0] <= waiting.due_in_ms <= due[1]
        assert [row.kind for row in rooms.ledger.needs_attention()] == _listed(due)
