"""Verification after sending, with real sockets, spool and ledger: against pynetdicom, and against Orthanc."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from dicomrelay.cli import status, status_lines
from dicomrelay.cli.transactions import Transactions
from dicomrelay.errors import ServiceUnavailable
from dicomrelay.ledger.breaker import BreakerPolicy, BreakerState
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.values import AttentionKind
from dicomrelay.runtime import home
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.queue import Task
from scp_gateway import app
from scp_gateway.reports import ReportPort
from tests.support.archives import orthanc
from tests.support.commitment_peer import CommitmentPeer, commitment_peer
from tests.support.rooms import NotedWakeUps, rooms_at, spooled, transfers_of
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.keep import archive_batch, release_batch
from workers.reports import report_box, take_reports
from workers.rooms import Rooms
from workers.sweep import Sweeper
from workers.verify import verify, verify_from

A, B, C = "1.2.3.101", "1.2.3.102", "1.2.3.103"
UIDS = (A, B, C)


@dataclass
class House:
    """A relay without its processes: the gateway in a thread, the workers' functions at hand."""

    rooms: Rooms
    noted: NotedWakeUps
    url: str

    def deliver(self) -> None:
        """Send what is due to the destination; the archive has it too."""
        for transfer_id in transfers_of(self.rooms):
            assert forward_transfer(self.rooms, transfer_id) is not None

    def verify(self) -> None:
        """Ask, as if every wait were over."""
        self.sql("UPDATE verifications SET due_at = 1 WHERE due_at IS NOT NULL")
        for due in self.rooms.ledger.verifications.due(limit=10):
            assert verify(self.rooms, due.id) is not None

    def sql(self, statement: str) -> list[object]:
        engine = create_engine(database_url(self.url))
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            rows = [row[0] if len(row) == 1 else tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    def states(self) -> list[object]:
        return self.sql("SELECT state FROM verifications ORDER BY created_at, id")

    def marks(self) -> dict[str, str]:
        rows = self.sql(
            "SELECT i.sop_instance_uid || '=' || d.state || ' ' || d.verification FROM deliveries d "
            "JOIN instances i ON i.id = d.instance_id"
        )
        pairs = (str(row).split("=") for row in rows)
        return {uid: words.strip() for uid, words in pairs}

    def spooled(self) -> int:
        """How many items the spool still has, once what may go has gone."""
        while archive_batch(self.rooms):
            pass
        release_batch(self.rooms)
        return sum(1 for _ in self.rooms.spool.records())


@contextmanager
def house(
    folder: Path, port: int, gateway_port: int, *, method: str, ae_title: str = "ARCHIVE", more: str = ""
) -> Iterator[House]:
    toml = (
        f'port = {gateway_port}\n[[destinations]]\nname = "pacs"\nae_title = "{ae_title}"\nhost = "127.0.0.1"\n'
        f'port = {port}\nverification = "{method}"\nretry_initial_s = 0.001\nretry_max_s = 0.001\n{more}'
    )
    with rooms_at(folder, toml) as (rooms, noted):
        ready, stop = threading.Event(), threading.Event()
        reports = ReportPort(lambda: noted.send(Task.REPORTS), Transactions(rooms.settings))
        gateway = threading.Thread(
            target=app.run,
            args=(rooms.settings,),
            kwargs={"wake": _nothing, "ready": ready.set, "stop": stop, "reports": reports},
        )
        gateway.start()
        try:
            assert ready.wait(20)
            for uid in UIDS:
                spooled(rooms, uid)
            group_arrivals(rooms)
            yield House(rooms, noted, home.ledger_url(rooms.settings))
        finally:
            stop.set()
            gateway.join(30)


def _nothing() -> None:
    """Nobody is to be woken."""


@pytest.fixture
def peer() -> Iterator[CommitmentPeer]:
    with commitment_peer() as running:
        (running.gateway_port,) = free_ports(1)
        yield running


@pytest.fixture
def relay(tmp_path: Path, peer: CommitmentPeer) -> Iterator[House]:
    """With everything delivered, to a destination that is asked for commitment."""
    more = "verification_wait_s = 1\n"
    with house(tmp_path / "home", peer.port, peer.gateway_port, method="commitment", more=more) as made:
        made.deliver()
        yield made


ALL_VERIFIED = dict.fromkeys(UIDS, "delivered verified")


@pytest.mark.parametrize("where", ["same", "early"])
def test_a_report_on_the_same_association(relay: House, peer: CommitmentPeer, where: str) -> None:
    peer.reports = where
    assert relay.spooled() == 3
    relay.verify()
    assert peer.wait_reports(1) == [0x0000]
    assert peer.requests[0].uids == UIDS
    assert relay.marks() == ALL_VERIFIED
    assert relay.states() == ["verified"]
    assert relay.spooled() == 0
    assert not list(report_box(relay.rooms).waiting())


def test_a_report_on_a_new_association_is_durable_before_it_is_answered(
    relay: House, peer: CommitmentPeer
) -> None:
    """Role reversal: the archive calls our gateway. The ledger has it once a worker took it from the spool."""
    peer.reports = "new"
    relay.verify()
    assert peer.wait_reports(1) == [0x0000]
    assert len(list(report_box(relay.rooms).waiting())) == 1
    assert relay.marks() == dict.fromkeys(UIDS, "delivered pending")
    assert (Task.REPORTS, ()) in relay.noted.said
    assert take_reports(relay.rooms) == 1
    assert relay.marks() == ALL_VERIFIED
    assert report_box(relay.rooms).is_empty()
    assert take_reports(relay.rooms) == 0


def test_a_peer_that_proposes_no_role_is_heard(relay: House, peer: CommitmentPeer) -> None:
    peer.reports, peer.role = "new", False
    relay.verify()
    assert peer.wait_reports(1) == [0x0000]
    take_reports(relay.rooms)
    assert relay.marks() == ALL_VERIFIED


def test_what_is_missing_is_sent_again_alone(relay: House, peer: CommitmentPeer) -> None:
    """The gap, and nothing else; then it is asked about alone."""
    del peer.stored[B]
    relay.verify()
    peer.wait_reports(1)
    assert relay.marks() == ALL_VERIFIED | {B: "failed"}
    assert relay.spooled() == 1
    relay.deliver()
    assert peer.arrived == [*UIDS, B]
    relay.verify()
    peer.wait_reports(2)
    assert [request.uids for request in peer.requests] == [UIDS, (B,)]
    assert peer.requests[0].transaction_uid != peer.requests[1].transaction_uid
    assert relay.marks() == ALL_VERIFIED
    assert relay.spooled() == 0


def test_an_archive_that_loses_it_every_time_needs_attention(relay: House, peer: CommitmentPeer) -> None:
    del peer.stored[C]
    peer.loses[C] = 99
    for count in range(1, 4):
        relay.verify()
        peer.wait_reports(count)
        relay.deliver()
    assert peer.arrived == [*UIDS, C, C]  # verification_resends is 2
    (row,) = relay.rooms.ledger.needs_attention()
    assert (row.kind, row.sop_instance_uid) == (AttentionKind.UNVERIFIED, C)
    assert relay.spooled() == 1


@pytest.mark.parametrize("reason", [0x0110, 0x0213, 0x0131, 0xABCD])
def test_a_failure_that_may_pass_is_asked_about_again(
    relay: House, peer: CommitmentPeer, reason: int
) -> None:
    peer.reasons[B] = reason
    relay.verify()
    peer.wait_reports(1)
    assert relay.marks() == ALL_VERIFIED | {B: "delivered pending"}
    peer.reasons.clear()
    relay.verify()
    peer.wait_reports(2)
    assert relay.marks() == ALL_VERIFIED
    assert peer.arrived == list(UIDS)  # nothing was sent again


@pytest.mark.parametrize("reason", [0x0119, 0x0122])
def test_a_failure_that_stays_needs_attention_with_advice(
    relay: House, peer: CommitmentPeer, reason: int
) -> None:
    peer.reasons[B] = reason
    relay.verify()
    peer.wait_reports(1)
    assert relay.marks() == ALL_VERIFIED | {B: "delivered unknown"}
    (row,) = relay.rooms.ledger.needs_attention()
    assert row.kind is AttentionKind.UNVERIFIED
    assert row.advice.startswith("The destination ")


def test_0112_is_sent_again(relay: House, peer: CommitmentPeer) -> None:
    """Also where the archive has it after all: it is the archive's word that counts."""
    peer.reasons[B] = 0x0112
    relay.verify()
    peer.wait_reports(1)
    assert relay.marks()[B] == "failed"


def test_a_report_that_leaves_one_out_leaves_it_in_doubt(relay: House, peer: CommitmentPeer) -> None:
    peer.leaves_out = {C}
    relay.verify()
    peer.wait_reports(1)
    assert relay.marks() == ALL_VERIFIED | {C: "delivered pending"}
    assert relay.states() == ["ready"]


def test_a_report_that_comes_twice_is_answered_and_changes_nothing(
    relay: House, peer: CommitmentPeer
) -> None:
    """Its first answer may have been lost: it is no fault of the peer's to say it again."""
    peer.reports, peer.times = "new", 2
    relay.verify()
    assert peer.wait_reports(2) == [0, 0]
    while take_reports(relay.rooms):
        pass
    assert relay.marks() == ALL_VERIFIED
    assert relay.spooled() == 0


@pytest.mark.parametrize("where", ["same", "new"])
def test_a_report_of_another_transaction_is_refused(relay: House, peer: CommitmentPeer, where: str) -> None:
    """0115: the standard has no status for it but an argument whose value is invalid."""
    peer.reports, peer.transaction_uid = where, "2.25.4711"
    relay.verify()
    assert peer.wait_reports(1) == [0x0115]
    assert report_box(relay.rooms).is_empty()
    assert relay.marks() == dict.fromkeys(UIDS, "delivered pending")


def test_a_report_that_never_comes(tmp_path: Path, peer: CommitmentPeer) -> None:
    """Asked anew, in other transactions, and then listed with advice."""
    peer.reports = "never"
    more = "verification_attempts = 2\nverification_wait_s = 0\n"
    with house(tmp_path / "home", peer.port, peer.gateway_port, method="commitment", more=more) as relay:
        relay.deliver()
        relay.verify()
        assert relay.states() == ["asked"]
        assert relay.rooms.ledger.verifications.unverified()[0].awaiting_report == 1
        relay.verify()
        assert len({request.transaction_uid for request in peer.requests}) == 2
        relay.verify()
        assert len(peer.requests) == 2
        rows = relay.rooms.ledger.needs_attention()
        assert {row.sop_instance_uid for row in rows} == set(UIDS)
        assert "our gateway" in rows[0].advice
        told = "\n".join(status_lines.lines(status.look(relay.rooms.settings, 10)))
        assert "pacs is verified; transfers: 1 not confirmed" in told
        assert "no report came in time, again and again" in told
        # Somebody mends it.
        peer.reports = "new"
        assert relay.rooms.ledger.verifications.retry(rows[0].transfer_id) == 3
        relay.verify()
        peer.wait_reports(1)
        take_reports(relay.rooms)
        assert relay.marks() == ALL_VERIFIED


def test_a_request_that_is_refused_is_made_again(relay: House, peer: CommitmentPeer) -> None:
    peer.action_status = 0x0213
    relay.verify()
    assert relay.states() == ["ready"]
    (reason,) = relay.sql("SELECT reason FROM verifications")
    assert reason == "the request was refused: Resource limitation"
    peer.action_status = 0
    relay.verify()
    peer.wait_reports(1)
    assert relay.marks() == ALL_VERIFIED


def test_only_a_destination_that_is_asked_may_report(tmp_path: Path, peer: CommitmentPeer) -> None:
    """The AE title ARCHIVE is no destination here, and its presentation context is not accepted."""
    with house(
        tmp_path / "home", peer.port, peer.gateway_port, method="commitment", ae_title="OTHER"
    ) as relay:
        relay.deliver()
        peer.reports = "new"
        relay.verify()
        assert peer.wait_reports(1) == [-1]
        assert report_box(relay.rooms).is_empty()


def test_the_ledger_is_away_while_a_report_comes(
    relay: House, peer: CommitmentPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is kept and answered; it is taken once the ledger is back, and stays in the spool until then."""
    ledger = relay.rooms.ledger.verifications

    def away(*_: object) -> None:
        raise ServiceUnavailable("the database does not answer (test)")

    peer.reports = "new"
    with monkeypatch.context() as broken:
        broken.setattr(Transactions, "__call__", lambda *_: None)
        relay.verify()
        assert peer.wait_reports(1) == [0x0000]
        broken.setattr(type(ledger), "known", away)
        with pytest.raises(ServiceUnavailable):
            take_reports(relay.rooms)
    assert len(list(report_box(relay.rooms).waiting())) == 1
    assert take_reports(relay.rooms) == 1
    assert relay.marks() == ALL_VERIFIED


def test_a_worker_that_died_before_it_removed_the_report(relay: House, peer: CommitmentPeer) -> None:
    """The same file again: nothing changes."""
    del peer.stored[B]
    peer.reports = "new"
    relay.verify()
    peer.wait_reports(1)
    box = report_box(relay.rooms)
    (name,) = box.waiting()
    raw = (box.folder / name).read_bytes()
    take_reports(relay.rooms)
    before = relay.marks(), relay.sql("SELECT open_deliveries FROM instances ORDER BY id")
    (box.folder / name).write_bytes(raw)
    assert take_reports(relay.rooms) == 1
    assert (relay.marks(), relay.sql("SELECT open_deliveries FROM instances ORDER BY id")) == before


def test_a_report_that_is_damaged_is_set_aside_and_the_others_are_taken(
    relay: House, peer: CommitmentPeer
) -> None:
    peer.reports = "new"
    relay.verify()
    peer.wait_reports(1)
    box = report_box(relay.rooms)
    (name,) = box.waiting()
    raw = (box.folder / name).read_bytes()
    (box.folder / f"1{name[1:]}").write_bytes(raw.replace(A.encode(), b"1.2.3.999"))
    assert take_reports(relay.rooms) == 2
    assert relay.marks() == ALL_VERIFIED
    assert len(list((box.folder.parent / "corrupt").glob("report-*"))) == 1


def test_a_worker_that_died_between_request_and_answer(
    relay: House, peer: CommitmentPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is known, so the report is taken; what nobody heard of is asked anew when the lease ends."""
    peer.reports = "new"
    with monkeypatch.context() as dead:
        dead.setattr("workers.verify.CommitmentRequest.wait", _die)
        with pytest.raises(KeyboardInterrupt):
            relay.verify()
    assert relay.states() == ["asking"]
    assert peer.wait_reports(1) == [0]
    take_reports(relay.rooms)
    assert relay.marks() == ALL_VERIFIED
    assert relay.states() == ["verified"]


def _die(*_: object, **__: object) -> bool:
    raise KeyboardInterrupt


def test_a_destination_that_is_down_is_asked_later(tmp_path: Path, peer: CommitmentPeer) -> None:
    with house(tmp_path / "home", peer.port, peer.gateway_port, method="commitment") as relay:
        relay.deliver()
        relay.sql("UPDATE destinations SET port = 1")  # the settings win
        (free,) = free_ports(1)
        away = relay.rooms.settings.destinations[0].model_copy(update={"port": free})
        broken = relay.rooms.settings.model_copy(update={"destinations": [away]})
        rooms = type(relay.rooms)(
            settings=broken,
            ledger=relay.rooms.ledger,
            spool=relay.rooms.spool,
            archive=relay.rooms.archive,
            wake_ups=relay.rooms.wake_ups,
            host=relay.rooms.host,
        )
        relay.sql("UPDATE verifications SET due_at = 1")
        (due,) = relay.rooms.ledger.verifications.due(limit=1)
        assert verify(rooms, due.id) == "pacs"
        assert relay.states() == ["ready"]
        assert relay.marks() == dict.fromkeys(UIDS, "delivered pending")
        relay.verify()
        peer.wait_reports(1)
        assert relay.marks() == ALL_VERIFIED


def _open_breaker(relay: House) -> None:
    """As after an outage whose transfers are all delivered or given up, at the probe."""
    policy = BreakerPolicy(failures=1, initial_s=0.0, maximum_s=0.0)
    state = relay.rooms.ledger.flow.failed("pacs", policy=policy, jitter=0.0, error="no connection")
    assert state is BreakerState.OPEN


def _breaker(relay: House) -> str:
    (flow,) = relay.rooms.ledger.flow.destinations("pacs")
    return flow.breaker


@pytest.mark.parametrize("method", ["commitment", "find"])
def test_a_verification_is_the_trial_of_an_open_breaker(
    tmp_path: Path, peer: CommitmentPeer, method: str
) -> None:
    """Nothing else is left that would try: it would wait for ever."""
    more = "verification_wait_s = 1\n"
    with house(tmp_path / "home", peer.port, peer.gateway_port, method=method, more=more) as relay:
        relay.deliver()
        _open_breaker(relay)
        relay.verify()
        assert relay.marks() == ALL_VERIFIED
        assert _breaker(relay) == BreakerState.CLOSED


def test_a_trial_that_finds_nobody_opens_the_breaker_again_and_is_no_attempt(
    tmp_path: Path, peer: CommitmentPeer
) -> None:
    (free,) = free_ports(1)
    more = "retry_attempts = 2\nprobe_initial_s = 60\n"
    with house(tmp_path / "home", peer.port, peer.gateway_port, method="find", more=more) as relay:
        relay.deliver()
        settings, (known,) = relay.rooms.settings, relay.rooms.settings.destinations
        away = settings.model_copy(update={"destinations": [known.model_copy(update={"port": free})]})
        relay.rooms = replace(relay.rooms, settings=away)
        _open_breaker(relay)
        for _ in range(4):  # more than its attempts
            relay.sql("UPDATE destinations SET probe_at = 1")
            relay.verify()
            assert _breaker(relay) == BreakerState.OPEN
            assert relay.states() == ["ready"]
            assert relay.rooms.ledger.verifications.due(limit=1) == ()
        relay.rooms = replace(relay.rooms, settings=settings)
        relay.sql("UPDATE destinations SET probe_at = 1")
        relay.verify()
        assert relay.marks() == ALL_VERIFIED
        assert _breaker(relay) == BreakerState.CLOSED


def test_a_destination_that_is_verified_no_more_is_taken_at_its_word_and_that_is_said(
    relay: House, peer: CommitmentPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its setting was changed while a verification waited; behind an open breaker too, for nobody is asked."""
    _open_breaker(relay)
    relay.sql("UPDATE destinations SET probe_at = 9999999999999, verification = 'none'")
    capsys.readouterr()
    relay.verify()
    assert relay.states() == ["cancelled"]
    assert relay.marks() == dict.fromkeys(UIDS, "delivered")
    assert relay.spooled() == 0
    assert peer.requests == []
    assert "verified no more" in "".join(capsys.readouterr())
    words = relay.sql("SELECT body FROM evidence WHERE kind = 'closed'")
    assert len(words) == 3
    assert all("taken as delivered without verification" in str(word) for word in words)
    assert relay.rooms.ledger.verifications.due(limit=1) == ()
    assert relay.rooms.ledger.needs_attention() == []


def test_a_peer_without_the_service_is_listed_with_advice(tmp_path: Path, peer: CommitmentPeer) -> None:
    """`storescp` and many others do no commitment: it is said at once, and tried seldom."""
    from tests.support.engine import MemoryService, running_acceptor  # noqa: PLC0415

    service = MemoryService(answer=_storage_only)
    with (
        running_acceptor(service) as running,
        house(tmp_path / "home", running.port, peer.gateway_port, method="commitment") as relay,
    ):
        relay.deliver()
        relay.verify()
        rows = relay.rooms.ledger.needs_attention()
        assert {(row.kind, row.reason) for row in rows} == {
            (AttentionKind.UNVERIFIED, "the destination does no storage commitment")
        }
        assert '"find"' in rows[0].advice


def _storage_only(request, decisions):  # type: ignore[no-untyped-def]
    from dicomrelay.net.service import Acceptance  # noqa: PLC0415
    from dicomrelay.ul.pdu import ContextDecision  # noqa: PLC0415

    return Acceptance(
        [
            each if ".5.1.4.1.1." in context.abstract_syntax else ContextDecision(each.context_id, 3)
            for each, context in zip(decisions, request.contexts, strict=True)
        ]
    )


def test_the_sweeper_wakes_for_what_is_due_and_for_reports(relay: House, peer: CommitmentPeer) -> None:
    """And says it once, not at every look."""
    relay.sql("UPDATE verifications SET due_at = 1")
    sweeper = Sweeper(relay.rooms)
    (due,) = relay.rooms.ledger.verifications.due(limit=1)
    for _ in range(3):
        sweeper.sweep()
    assert relay.noted.said.count((Task.VERIFY, (due.id,))) == 1
    peer.reports = "new"
    assert verify_from(relay.rooms, due.id, for_s=5) == 1
    peer.wait_reports(1)
    relay.noted.said.clear()
    sweeper.sweep()
    assert (Task.REPORTS, ()) in relay.noted.said


class TestFind:
    """C-FIND at level IMAGE."""

    @pytest.fixture
    def relay(self, tmp_path: Path, peer: CommitmentPeer) -> Iterator[House]:
        more = "verification_attempts = 2\n"
        with house(tmp_path / "home", peer.port, peer.gateway_port, method="find", more=more) as made:
            made.deliver()
            yield made

    def test_all_there(self, relay: House) -> None:
        relay.verify()
        assert relay.marks() == ALL_VERIFIED
        assert relay.spooled() == 0

    def test_a_peer_that_matches_no_lists_is_asked_for_the_series(
        self, relay: House, peer: CommitmentPeer
    ) -> None:
        peer.matches_lists = False
        relay.verify()
        assert relay.marks() == ALL_VERIFIED

    def test_what_is_not_found_is_looked_for_again_before_it_is_sent_again(
        self, relay: House, peer: CommitmentPeer
    ) -> None:
        """An index lags; and then it is missing indeed."""
        kept = peer.stored.pop(B)
        relay.verify()
        assert relay.marks() == ALL_VERIFIED | {B: "delivered pending"}
        peer.stored[B] = kept
        relay.verify()
        assert relay.marks() == ALL_VERIFIED
        assert peer.arrived == list(UIDS)

    def test_what_is_missing_is_sent_again_alone(self, relay: House, peer: CommitmentPeer) -> None:
        peer.stored.clear()
        for _ in range(2):
            relay.verify()
        assert relay.marks() == dict.fromkeys(UIDS, "failed")
        relay.deliver()
        assert peer.arrived == [*UIDS, *UIDS]
        relay.verify()
        assert relay.marks() == ALL_VERIFIED

    def test_a_failure_of_the_peer_makes_nothing_missing(self, relay: House, peer: CommitmentPeer) -> None:
        """It says nothing of what is there; after enough of it somebody has to look."""
        peer.find_status = 0xA700
        for _ in range(2):
            relay.verify()
        assert relay.marks() == dict.fromkeys(UIDS, "delivered unknown")
        assert peer.arrived == list(UIDS)
        assert {row.kind for row in relay.rooms.ledger.needs_attention()} == {AttentionKind.UNVERIFIED}


@pytest.mark.parametrize("method", ["commitment", "find"])
def test_orthanc_keeps_two_and_loses_one(tmp_path: Path, method: str) -> None:
    """Deleted behind our back: it is missing, sent again, and there."""
    http, gateway_port = free_ports(2)
    relay_is = {
        "AET": "DICOMRELAY",
        "Host": "127.0.0.1",
        "Port": gateway_port,
        "AllowStorageCommitment": True,
    }
    more = "verification_attempts = 1\nverification_wait_s = 0\n"
    with (
        orthanc(tmp_path / "orthanc", HttpPort=http, DicomModalities={"relay": relay_is}) as archive,
        house(
            tmp_path / "home", archive.remote.port, gateway_port, method=method, ae_title="ORTHANC", more=more
        ) as relay,
    ):
        relay.deliver()
        _delete(http, B)
        _ask(relay, method)
        assert relay.marks() == ALL_VERIFIED | {B: "failed"}
        relay.deliver()
        _ask(relay, method)
        assert relay.marks() == ALL_VERIFIED
        assert relay.states() == ["missing", "verified"]
        assert relay.spooled() == 0


def _ask(relay: House, method: str) -> None:
    relay.verify()
    if method == "commitment":
        deadline = threading.Event()
        for _ in range(200):
            if take_reports(relay.rooms):
                return
            deadline.wait(0.05)
        raise AssertionError("Orthanc has not reported")


def _delete(http: int, uid: str) -> None:
    base = f"http://127.0.0.1:{http}"
    look = urllib.request.Request(f"{base}/tools/lookup", data=uid.encode())
    with urllib.request.urlopen(look, timeout=10) as answer:
        (found,) = json.loads(answer.read())
    with urllib.request.urlopen(urllib.request.Request(base + found["Path"], method="DELETE"), timeout=10):
        pass
