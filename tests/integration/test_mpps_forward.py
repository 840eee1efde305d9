"""Messages about performed procedure steps on their way to a RIS on pynetdicom: in order, again after every fault, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import text

from dicomrelay.cli.checks.finding import Verdict
from dicomrelay.cli.checks.step_destinations import check_step_destinations
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.engine import Database
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.runtime.owner import own_name
from dicomrelay.runtime.ports import free_ports
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.scheduling.performed_values import ForwardPeer, ForwardState, MessageKind
from dicomrelay.settings import Settings
from tests.support import performed as said
from tests.support.house import wait_for
from tests.support.ledger import arrival
from tests.support.performed import Heard, Ris, ris
from workers.lease import LeaseKeeper
from workers.performed import perform_until
from workers.performed_forward import Forwarder
from workers.rooms import Rooms

UID = "1.2.9"
# Quiet for an hour: what is complete is so by evidence.
PATIENT = CompletionPolicy(
    quiet_ms=3_600_000, quiet_after_association_ms=3_600_000, batch_instances=200, batch_bytes=10**9
)


class Clock:
    """Moves when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Relay:
    """A forwarder to one RIS, without the waits of its process."""

    def __init__(self, folder: Path, port: int, **changes: Any) -> None:
        one = {"name": "ris", "ae_title": "RIS", "host": "127.0.0.1", "port": port, "retry_initial_s": 0.001}
        self.settings = Settings(
            home=folder, performed_procedure_steps={"destinations": [{**one, **changes}]}
        )
        home.prepare(self.settings)
        migrate(home.ledger_url(self.settings))
        (destination,) = self.settings.performed_procedure_steps.destinations
        self.steps = PerformedSteps.open(home.ledger_url(self.settings), [ForwardPeer.of(destination)])
        self.clock = Clock()
        self.restart()

    def restart(self) -> None:
        """As a new process."""
        (destination,) = self.settings.performed_procedure_steps.destinations
        self.forwarder = Forwarder(
            self.settings, destination, self.steps, threading.Event(), clock=self.clock
        )

    def close(self) -> None:
        self.steps.dispose()

    def said(self, *attributes: Dataset, uid: str = UID, syntax: str = said.EXPLICIT) -> None:
        """An N-CREATE and N-SETs come."""
        first, *others = (said.message(each, uid, syntax) for each in attributes)
        self.steps.create(first)
        for each in others:
            self.steps.change(each)

    def look(self, times: int = 1) -> int:
        """Look so often, with enough time in between; how many messages were taken."""
        taken = 0
        for _ in range(times):
            self.clock.now += 3600
            time.sleep(0.005)  # the database has a clock of its own
            taken += self.forwarder.forward_due()
        return taken

    def states(self, uid: str = UID) -> list[tuple[str, int | None]]:
        row = self.steps.step(uid)
        assert row is not None
        return [(each.state.value, each.status) for each in row.forwards]


@contextmanager
def relay(folder: Path, peer: Ris, **changes: Any) -> Iterator[Relay]:
    with closing(Relay(folder, peer.port, **changes)) as found:
        yield found


def some() -> Dataset:
    return said.changed_by(Dataset(), {"PerformedProcedureStepDescription": "again"})


def test_all_of_it_arrives_in_order(tmp_path: Path) -> None:
    """With what the modality said, characters and all, and under its UID."""
    with ris() as peer, relay(tmp_path, peer) as found:
        found.said(said.created(), some(), said.ended())
        found.said(said.created(), uid="1.2.8")
        assert [found.look() for _ in range(4)] == [2, 1, 1, 0]
        mine = [each for each in peer.heard if each.uid == UID]
        assert [each.kind for each in mine] == ["N-CREATE", "N-SET", "N-SET"]
        assert mine[0].attributes.PatientName == "Müller^Jürgen"
        assert mine[2].attributes.PerformedProcedureStepStatus == "COMPLETED"
        assert found.states() == [("sent", 0)] * 3


@pytest.mark.parametrize(("came", "takes"), [(said.EXPLICIT, said.IMPLICIT), (said.IMPLICIT, said.EXPLICIT)])
def test_a_peer_with_one_transfer_syntax_gets_it_in_that(tmp_path: Path, came: str, takes: str) -> None:
    with ris(syntaxes=[takes]) as peer, relay(tmp_path, peer) as found:
        found.said(said.created(), syntax=came)
        assert found.look() == 1
        (heard,) = peer.heard
        assert heard.syntax == takes
        assert heard.attributes.PatientName == "Müller^Jürgen"


def test_a_peer_that_is_away_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    """In order; and it is left alone meanwhile."""
    (port,) = free_ports(1)
    with closing(Relay(tmp_path, port)) as found:
        found.said(said.created(), said.ended())
        assert found.forwarder.forward_due() == 0
        (first, second) = found.steps.steps()[0].forwards
        assert (first.attempts, second.attempts) == (1, 0)
        assert "PeerUnreachable" in first.reason
        assert found.forwarder.forward_due() == 0
        assert found.steps.steps()[0].forwards[0].attempts == 1
        with ris(port) as peer:
            assert [found.look(2), found.look(2)] == [2, 0]
            assert [each.kind for each in peer.heard] == ["N-CREATE", "N-SET"]


def test_a_response_that_was_lost_costs_a_message_that_comes_twice(tmp_path: Path) -> None:
    """The peer has it and dies before it answers: it says 0111 and A710 the next time, and that counts as taken."""
    had: set[tuple[str, str]] = set()

    def says(heard: Heard) -> int | None:
        key = (heard.kind, heard.attributes.get("PerformedProcedureStepStatus", ""))
        if key in had:
            return 0x0111 if heard.kind == "N-CREATE" else 0x0110
        had.add(key)
        return None

    with ris() as peer, relay(tmp_path, peer) as found:
        peer.says, peer.error_id = says, 0xA710
        found.said(said.created(), said.ended())
        assert found.look(4) == 2
        assert [each.kind for each in peer.heard] == ["N-CREATE", "N-CREATE", "N-SET", "N-SET"]
        assert found.states() == [("sent", 0x0111), ("sent", 0x0110)]


def test_a_step_that_is_final_there_without_our_word_needs_attention(tmp_path: Path) -> None:
    with ris() as peer, relay(tmp_path, peer) as found:
        peer.error_id = 0xA710
        peer.says = lambda heard: 0 if heard.kind == "N-CREATE" else 0x0110
        found.said(said.created(), said.ended())
        found.look(2)
        assert found.states() == [("sent", 0), ("needs_attention", 0x0110)]


def test_a_forwarder_that_died_before_its_first_byte_has_said_nothing(tmp_path: Path) -> None:
    """What it held is due at once where its process is gone, and A710 is no sign that the peer has heard us."""
    with ris() as peer, relay(tmp_path, peer) as found:
        peer.error_id = 0xA710
        peer.says = lambda heard: 0 if heard.kind == "N-CREATE" else 0x0110
        found.said(said.created(), said.ended())
        assert found.look() == 1
        dead = own_name().rpartition("/")[0] + "/1"  # our pid, and another start
        (claimed,) = found.steps.claim("ris", owner=dead, lease_ms=60_000, limit=16)
        assert claimed.kind is MessageKind.SET
        found.look()
        assert len(peer.heard) == 1
        found.restart()
        found.look()
        assert found.states() == [("sent", 0), ("needs_attention", 0x0110)]


def test_a_message_that_is_long_in_coming_stays_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is as short as others, and kept while the peer takes its time."""
    monkeypatch.setattr("workers.performed_forward.LEASE_MS", 800)
    monkeypatch.setattr(LeaseKeeper.__init__, "__kwdefaults__", {"every_s": 0.1})
    others: list[int] = []

    def says(_heard: Heard) -> int:
        time.sleep(1.1)
        others.append(len(found.steps.claim("ris", owner="other", lease_ms=1, limit=16)))
        return 0

    with ris() as peer, relay(tmp_path, peer) as found:
        peer.says = says
        found.said(said.created())
        assert found.look() == 1
        assert others == [0]


_MEANS = {
    0x0001: "sent", 0x0107: "sent", 0x0116: "sent", 0x0111: "sent",
    0x0110: "waiting", 0x0213: "waiting", 0xA700: "waiting",
    0x0106: "needs_attention", 0x0120: "needs_attention", 0x0122: "needs_attention", 0x0124: "needs_attention",
    0xABCD: "needs_attention",
}  # fmt: skip


def test_what_a_status_means(tmp_path: Path) -> None:
    """Only what the standard calls taken is; an unknown one is not. What is behind it waits, and other steps do not."""
    with ris() as peer, relay(tmp_path, peer) as found:
        peer.says = lambda heard: int(heard.uid.rpartition(".")[2])
        for status in _MEANS:
            found.said(said.created(), said.ended(), uid=f"1.2.{status}")
        found.look()
        for status, state in _MEANS.items():
            assert found.states(f"1.2.{status}") == [(state, status), ("waiting", None)]


def test_attempts_are_used_up(tmp_path: Path) -> None:
    """Whether it answers or not; then somebody has to say that it is tried again."""
    with ris() as peer, relay(tmp_path, peer, retry_attempts=1) as found:
        peer.says = lambda _heard: 0x0213
        found.said(said.created())
        found.look()
        assert found.states() == [("needs_attention", 0x0213)]
        assert found.look() == 0
        peer.says = lambda _heard: None
        assert found.steps.retry() == 1
        found.look()
        assert found.states()[0][0] == "needs_attention"
        peer.says = lambda _heard: 0
        assert found.steps.retry(UID) == 1
        assert found.look() == 1


def test_the_last_attempt_may_have_been_heard_too(tmp_path: Path) -> None:
    """Its answer is lost; when somebody has it tried again, A710 says that the peer has it."""
    with ris() as peer, relay(tmp_path, peer, retry_attempts=1) as found:
        peer.says = lambda heard: 0 if heard.kind == "N-CREATE" else None
        found.said(said.created(), said.ended())
        found.look(2)
        assert found.states() == [("sent", 0), ("needs_attention", None)]
        peer.says, peer.error_id = lambda _heard: 0x0110, 0xA710
        assert found.steps.retry(UID) == 1
        assert found.look() == 1
        assert found.states() == [("sent", 0), ("sent", 0x0110)]


def test_a_peer_that_takes_no_steps_is_tried_again(tmp_path: Path) -> None:
    """Somebody may enable the SOP class there."""
    from tests.support.commitment_peer import commitment_peer  # noqa: PLC0415

    with commitment_peer() as other, closing(Relay(tmp_path, other.port, ae_title="ARCHIVE")) as found:
        found.said(said.created())
        assert found.look() == 0
        (finding,) = check_step_destinations(found.settings, 5)
        assert finding.verdict is Verdict.WARNING
        ((state, _),) = found.states()
        assert state == ForwardState.WAITING.value


def test_the_doctor_asks_without_telling_anything(tmp_path: Path) -> None:
    """Whether it is there and takes the SOP class; a setting that cannot be used is named."""
    with ris() as peer, relay(tmp_path, peer) as found:
        (finding,) = check_step_destinations(found.settings, 5)
        assert (finding.verdict, peer.heard) == (Verdict.OK, [])
    (finding,) = check_step_destinations(found.settings, 5)
    assert (finding.verdict, finding.code) == (Verdict.FAILED, ExitCode.UNREACHABLE)
    with closing(Relay(tmp_path, 104, tls={"ca": "no-such-file.pem"})) as secured:
        (finding,) = check_step_destinations(secured.settings, 5)
        assert finding.code is ExitCode.USAGE
        assert "performed_procedure_steps.destinations.ris.tls" in finding.words


def test_the_process_looks_after_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of the scheduler, as they run: forwarded, listed what is for nobody, pruned, a study is complete by evidence."""
    monkeypatch.setattr("workers.performed._LOOK_EVERY_S", 0.05)
    with ris() as peer, relay(tmp_path, peer) as found:
        gone = PerformedSteps.open(home.ledger_url(found.settings), [ForwardPeer("gone")])
        gone.create(said.message(said.created(), "1.2.7"))
        found.said(said.created(), said.ended())
        nobody = PerformedSteps.open(home.ledger_url(found.settings))
        for attributes, put in ((said.created(), nobody.create), (said.ended(), nobody.change)):
            put(said.message(attributes, "1.2.6"))
        with Database(home.ledger_url(found.settings)).write() as work:
            ago = work.now - 400 * 86_400_000
            work.connection.execute(
                text("UPDATE performed_steps SET changed_at = :ago WHERE sop_instance_uid = '1.2.6'"),
                {"ago": ago},
            )
        rooms, stop = Rooms.open(found.settings), threading.Event()
        rooms.ledger.register([arrival(1, study_instance_uid=said.STUDY)])
        assert not rooms.ledger.completion.any_complete(PATIENT)
        thread = threading.Thread(target=perform_until, args=(rooms, stop))
        thread.start()
        try:
            peer.wait(2)
            wait_for(lambda: found.states() == [("sent", 0)] * 2, timeout_s=10, what="both are sent")
            wait_for(
                lambda: found.states("1.2.7") == [("needs_attention", None)],
                timeout_s=10,
                what="it is listed",
            )
            wait_for(lambda: nobody.step("1.2.6") is None, timeout_s=10, what="it is pruned")
            gone.change(said.message(said.ended(references=["1.2.3.1"]), "1.2.7"))
            wait_for(
                lambda: rooms.ledger.completion.any_complete(PATIENT), timeout_s=10, what="it is complete"
            )
        finally:
            stop.set()
            thread.join(20)
            gone.dispose()
            nobody.dispose()
            rooms.close()
        assert not thread.is_alive()
