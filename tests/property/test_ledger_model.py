"""The ledger against a model of a few dictionaries: whatever the order of calls, crashes and late runners."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import create_engine, text

from dicomrelay.ledger import ClaimedTransfer, DeliveryState, DestinationInfo, Ledger, TransferState, Verdict
from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.values_operations import Subject, SubjectKind, Verb
from tests.support.ledger import MINUTE_MS, archive_all, arrival, group, outcomes
from workers.integrity.ledger_check import check_ledger
from workers.integrity.looking import Look

DESTINATIONS = ("pacs", "second")
RESULTS = st.sampled_from(
    [DeliveryState.DELIVERED, DeliveryState.WARNING, DeliveryState.FAILED, DeliveryState.REFUSED]
)


class LedgerMachine(RuleBasedStateMachine):
    """Calls in any order; the model knows who has which instance and what every spool item was."""

    claims: Bundle[ClaimedTransfer] = Bundle("claims")
    migrated: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="relay-model-")
        path = Path(self.folder.name, "ledger.sqlite")
        shutil.copy(self.migrated, path)
        self.engine = create_engine(database_url(f"sqlite:///{path}"))
        self.ledger = Ledger.open(f"sqlite:///{path}")
        self.ledger.sync_destinations(
            [DestinationInfo(n, "A", "h", 1, associations=64) for n in DESTINATIONS]
        )
        self.kept: dict[int, str] = {}  # instance number -> digest
        self.spool: dict[str, Verdict] = {}
        self.wanted: set[tuple[int, str]] = set()
        self.acknowledged: set[tuple[int, str]] = set()
        self.archived: set[int] = set()
        self.fences: dict[str, int] = {}

    def teardown(self) -> None:
        self.ledger.dispose()
        self.engine.dispose()
        self.folder.cleanup()

    @rule(
        items=st.lists(
            st.tuples(
                st.integers(0, 5),
                st.sampled_from("ab"),
                st.integers(0, 3),
                st.sets(st.sampled_from(DESTINATIONS)),
            ),
            max_size=4,
        )
    )
    def register(self, items: list[tuple[int, str, int, set[str]]]) -> None:
        """Any mix of new, known, duplicate and conflicting items, also within one batch."""
        batch = [
            arrival(
                number,
                digest=digest,
                spool_id=f"{number}{digest}{copy}",
                study_instance_uid=f"1.2.{number % 2}",
                destinations=tuple(sorted(names)),
            )
            for number, digest, copy, names in items
        ]
        for (number, digest, _, names), result in zip(items, self.ledger.register(batch), strict=True):
            if result.spool_id in self.spool and self.spool[result.spool_id] is not Verdict.DUPLICATE:
                repeated = self.spool[result.spool_id] is Verdict.NEW
                assert result.verdict is (Verdict.KNOWN if repeated else Verdict.CONFLICT)
                continue
            self.spool[result.spool_id] = result.verdict
            if number not in self.kept:
                assert result.verdict is Verdict.NEW
                self.kept[number] = digest
            if self.kept[number] == digest:
                assert result.verdict in (Verdict.NEW, Verdict.DUPLICATE)
                self.wanted |= {(number, name) for name in names}
            else:
                assert result.verdict in (Verdict.CONFLICT, Verdict.DUPLICATE)

    @rule(batch_instances=st.integers(1, 3))
    def complete(self, batch_instances: int) -> None:
        """Every delivery finds a transfer, and only one."""
        group(self.ledger, batch_instances=batch_instances)

    @rule(batch_instances=st.integers(1, 3), association=st.sampled_from(["a1", "a2"]))
    def cut(self, batch_instances: int, association: str) -> None:
        """What goes before its study is complete, and what a hint makes complete, is no exception."""
        never = CompletionPolicy(10**9, 0, batch_instances, 10**9)
        self.ledger.completion.cut(never, ["1.2.0", "1.2.1"])
        self.ledger.completion.association_ended([association])
        self.ledger.completion.complete(never, limit=1)

    @rule(target=claims, lease_ms=st.sampled_from([0, MINUTE_MS]))
    def claim(self, lease_ms: int) -> ClaimedTransfer | MultipleResults[ClaimedTransfer]:
        """What is due can be claimed, each time with a higher fence, with only what no peer acknowledged."""
        due = self.ledger.due(limit=1).transfers
        if not due:
            return multiple()
        claimed = self.ledger.claim_transfer(due[0].id, owner="model", lease_ms=lease_ms)
        assert claimed is not None
        assert claimed.fence == self.fences.get(claimed.id, 0) + 1
        self.fences[claimed.id] = claimed.fence
        for delivery in claimed.deliveries:
            number = int(delivery.instance.sop_instance_uid.rpartition(".")[2])
            assert (number, claimed.destination) not in self.acknowledged
        return claimed

    @rule(claimed=claims, state=RESULTS, first=st.integers(0, 2))
    def record(self, claimed: ClaimedTransfer, state: DeliveryState, first: int) -> None:
        """By whoever once had the lease; written only by who has it still, or where nobody can be at it."""
        chosen = outcomes(claimed, state)[first : first + 1]
        stopped = self._query(
            f"SELECT id FROM transfers WHERE id = '{claimed.id}' AND state IN ('held', 'cancelled')"
        )
        written = self.ledger.record_outcomes(claimed.id, claimed.fence, chosen)
        if (written or stopped) and state.is_delivered and chosen:
            number = int(claimed.deliveries[first].instance.sop_instance_uid.rpartition(".")[2])
            self.acknowledged.add((number, claimed.destination))
        if claimed.fence != self.fences[claimed.id]:
            assert not written

    @rule(claimed=claims, retry_in_ms=st.sampled_from([None, 0]))
    def finish(self, claimed: ClaimedTransfer, retry_in_ms: int | None) -> None:
        """Done means that the peer has everything of it."""
        state = self.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=retry_in_ms)
        if state is TransferState.DONE:
            for delivery in claimed.deliveries:
                number = int(delivery.instance.sop_instance_uid.rpartition(".")[2])
                assert (number, claimed.destination) in self.acknowledged

    @rule(claimed=claims)
    def reopen(self, claimed: ClaimedTransfer) -> None:
        self.ledger.reopen_transfer(claimed.id)

    @rule(
        verb=st.sampled_from(list(Verb)),
        study=st.sampled_from(["1.2.0", "1.2.1"]),
        destination=st.sampled_from(["", *DESTINATIONS]),
    )
    def operate(self, verb: Verb, study: str, destination: str) -> None:
        """Somebody holds, releases, retries or cancels; a runner that is at it finds its fence gone."""
        subject = Subject(SubjectKind.STUDY, study)
        getattr(self.ledger.operations, verb.value)(subject, destination=destination)
        self.ledger.operations.end_cancelled()
        for transfer_id, fence in self._query("SELECT id, fence FROM transfers WHERE fence > 0"):
            assert int(fence) >= self.fences.get(transfer_id, 0)
            self.fences[transfer_id] = int(fence)

    @rule()
    def archive(self) -> None:
        """All of it; conflicting instances are not among it."""
        claimed = archive_all(self.ledger)
        for item in claimed.items if claimed else ():
            self.archived.add(int(item.instance.sop_instance_uid.rpartition(".")[2]))

    @invariant()
    def every_delivery_that_was_wanted_is_there(self) -> None:
        found = self._query(
            "SELECT i.sop_instance_uid, d.destination, d.state FROM deliveries d JOIN instances i ON i.id = d.instance_id"
        )
        states = {(int(uid.rpartition(".")[2]), name): DeliveryState(state) for uid, name, state in found}
        assert set(states) == self.wanted
        assert {key for key, state in states.items() if state.is_delivered} == self.acknowledged

    @invariant()
    def the_counts_of_open_deliveries_are_true(self) -> None:
        wrong = self._query(
            """SELECT i.id FROM instances i WHERE i.open_deliveries <> (SELECT count(*) FROM deliveries d
               WHERE d.instance_id = i.id AND d.state NOT IN ('delivered', 'warning', 'cancelled'))
               OR i.all_deliveries <> (SELECT count(*) FROM deliveries d WHERE d.instance_id = i.id AND d.state <> 'cancelled')"""
        )
        assert wrong == []

    @invariant()
    def there_is_work_exactly_where_the_state_says_so(self) -> None:
        wrong = self._query(
            "SELECT id FROM transfers WHERE (due_at IS NULL) <> (state IN ('done', 'needs_attention', 'held', 'cancelled'))"
        )
        assert wrong == []

    @invariant()
    def what_waits_for_a_transfer_is_found_by_its_study(self) -> None:
        lost = self._query(
            """SELECT d.instance_id FROM deliveries d JOIN studies s ON s.study_instance_uid = d.study_instance_uid
               WHERE d.transfer_id IS NULL AND s.ungrouped_at IS NULL"""
        )
        assert lost == []

    @invariant()
    def only_what_is_archived_and_acknowledged_everywhere_may_go(self) -> None:
        closed = self.acknowledged | self._cancelled()
        free = {
            number
            for number in self.archived
            if all(key in closed for key in self.wanted if key[0] == number)
        }
        releasable = self.ledger.releasable(host="gateway-1", limit=100)
        assert {int(spool_id[0]) for spool_id in releasable} == free

    @invariant()
    def a_check_finds_nothing(self) -> None:
        """`dicomrelay check` raises no false alarm, whatever happened in whatever order."""
        look = Look(None, self.ledger.inventory, None, "gateway-1", Path(self.folder.name), 86_400_000)
        assert list(check_ledger(look)) == []

    def _cancelled(self) -> set[tuple[int, str]]:
        rows = self._query(
            """SELECT i.sop_instance_uid, d.destination FROM deliveries d JOIN instances i ON i.id = d.instance_id
               WHERE d.state = 'cancelled'"""
        )
        return {(int(uid.rpartition(".")[2]), name) for uid, name in rows}

    def _query(self, statement: str) -> list[tuple[str, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]


def test_any_order_of_calls_keeps_the_invariants(tmp_path: Path) -> None:
    """Invariants 5, 6, 7 and 9 of the design, and the bookkeeping that release and grouping rely on."""
    LedgerMachine.migrated = tmp_path / "migrated.sqlite"
    migrate(f"sqlite:///{LedgerMachine.migrated}")
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
