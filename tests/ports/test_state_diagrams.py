"""Every arrow of the state diagrams in docs/design/ledger.md is walked, on both databases, and none that is not drawn.

Triggers in the database note what really changes, so a diagram that is older than the code fails, and code that is
older than the diagram too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dicomrelay.ledger import ClaimedTransfer, DeliveryState, Ledger, Priority
from dicomrelay.ledger.breaker import BreakerPolicy
from dicomrelay.ledger.values_operations import Subject, SubjectKind
from dicomrelay.ledger.values_verification import (
    ClaimedVerification,
    Finding,
    Found,
    VerificationRules,
)
from tests.support.ledger import MINUTE_MS, PACS, arrival, claim, due_ids, group, outcomes
from tests.support.state_diagrams import Noted, Step, drawn, noting

_POLICY = BreakerPolicy(failures=2, initial_s=60)
_RULES = VerificationRules(attempts=1, resends=1, again_in_ms=0)
_PATIENT = replace(_RULES, attempts=9)
_STUDY = Subject(SubjectKind.STUDY, "1.2.1")


class World:
    """A ledger with one transfer of one instance, and the ways to move it."""

    def __init__(self, ledger: Ledger, noted: Noted) -> None:
        self.ledger = ledger
        self.noted = noted

    def begin(self, *, verification: str = "none") -> World:
        self.ledger.sync_destinations([replace(PACS, verification=verification)])
        return self

    def ready(self, number: int = 1, priority: Priority = Priority.NORMAL) -> str:
        before = set(due_ids(self.ledger))
        self.ledger.register([arrival(number, priority=priority)])
        assert group(self.ledger) == 1
        return next(each for each in due_ids(self.ledger) if each not in before)

    def running(self) -> ClaimedTransfer:
        return claim(self.ledger, self.ready())

    def answers(
        self,
        claimed: ClaimedTransfer,
        state: DeliveryState,
        *,
        retry_in_ms: int | None = None,
        reason: str = "",
    ) -> ClaimedTransfer:
        self.ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, state))
        self.ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=retry_in_ms, reason=reason)
        return claimed

    def waiting(self) -> ClaimedTransfer:
        return self.answers(self.running(), DeliveryState.FAILED, retry_in_ms=0, reason="peer said no")

    def stuck(self) -> ClaimedTransfer:
        return self.answers(self.running(), DeliveryState.REFUSED)

    def again(self, claimed: ClaimedTransfer) -> ClaimedTransfer:
        self.noted.sql("UPDATE transfers SET due_at = 1 WHERE due_at IS NOT NULL")
        return claim(self.ledger, claimed.id)

    def opened(self) -> World:
        for _ in range(_POLICY.failures):
            self.ledger.flow.failed("pacs", policy=_POLICY, jitter=0, error="no connection")
        return self

    def trial(self) -> ClaimedTransfer:
        transfer = self.ready()
        self.opened()
        self.noted.sql("UPDATE destinations SET probe_at = 1")
        trial = claim(self.ledger, transfer)
        assert trial.trial
        return trial

    def delivered(self, method: str = "commitment") -> ClaimedTransfer:
        self.begin(verification=method)
        return self.answers(self.running(), DeliveryState.DELIVERED)

    def asking(self, method: str = "commitment") -> ClaimedVerification:
        if not self.noted.steps() or Step("verification", "[*]", "ready") not in self.noted.steps():
            self.delivered(method)
        self.noted.sql("UPDATE verifications SET due_at = 1 WHERE due_at IS NOT NULL")
        (due,) = self.ledger.verifications.due(limit=9)
        claimed = self.ledger.verifications.claim(due.id, owner="r", lease_ms=MINUTE_MS)
        assert claimed is not None
        return claimed

    def asked(self) -> ClaimedVerification:
        claimed = self.asking()
        assert self.ledger.verifications.await_report(claimed.id, claimed.fence, within_ms=MINUTE_MS)
        return claimed

    def found(
        self, claimed: ClaimedVerification, finding: Finding, rules: VerificationRules = _RULES
    ) -> None:
        findings = {"1.2.3.1": Found(finding, "words")}
        verifications = self.ledger.verifications
        if claimed.transaction_uid:
            assert verifications.report(claimed.transaction_uid, "PACS", findings, rules)
        else:
            assert verifications.answer(claimed.id, claimed.fence, findings, rules)


def _hold(world: World) -> None:
    world.ledger.operations.hold(_STUDY)


def _cancel(world: World) -> None:
    world.ledger.operations.cancel(_STUDY)


def _held(world: World) -> str:
    transfer = world.ready()
    _hold(world)
    return transfer


def _t(before: str, after: str) -> Step:
    return Step("transfer", before, after)


def _d(before: str, after: str) -> Step:
    return Step("delivery", before, after)


def _b(before: str, after: str) -> Step:
    return Step("breaker", before, after)


def _v(before: str, after: str) -> Step:
    return Step("verification", before, after)


def _expired(world: World) -> None:
    world.again(world.running())


def _gives_way(world: World) -> None:
    world.ledger.flow.hand_back(world.running(), "the worker ends")


def _probe_fails_for_one_that_waited(world: World) -> None:
    failed = world.waiting()
    world.opened()
    world.noted.sql("UPDATE destinations SET probe_at = 1")
    world.ledger.flow.probe_failed(world.again(failed), policy=_POLICY, jitter=0, error="no connection")


def _after(first: Callable[[World], object], then: Callable[[World], object]) -> Callable[[World], None]:
    def walk(world: World) -> None:
        first(world)
        then(world)

    return walk


def _from_waiting(state: DeliveryState) -> Callable[[World], None]:
    def walk(world: World) -> None:
        world.answers(world.again(world.waiting()), state)

    return walk


def _late(world: World) -> None:
    """The peer acknowledges what was cancelled meanwhile."""
    claimed = world.running()
    _cancel(world)
    world.ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))


def _late_with_a_remark(world: World) -> None:
    claimed = world.running()
    _cancel(world)
    world.ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.WARNING))


def _cancelled_before_it_was_cut(world: World) -> None:
    world.ledger.register([arrival(1)])
    _cancel(world)


def _missing_after_a_warning(world: World) -> None:
    world.begin(verification="find")
    world.answers(world.running(), DeliveryState.WARNING)
    world.found(world.asking("find"), Finding.GONE)


def _dies_in_a_trial(world: World) -> None:
    died = world.trial()
    world.noted.sql("UPDATE destinations SET probe_at = 1")
    world.again(died)


def _retry(world: World) -> None:
    world.ledger.operations.retry(_STUDY)


_Walk = Callable[[World], object]
WALKS: Final[dict[Step, _Walk]] = {
    _t("[*]", "ready"): lambda world: world.ready(),
    _t("ready", "running"): lambda world: world.running(),
    _t("waiting", "running"): lambda world: world.again(world.waiting()),
    _t("running", "running"): _expired,
    _t("running", "done"): lambda world: world.answers(world.running(), DeliveryState.DELIVERED),
    _t("running", "waiting"): lambda world: world.waiting(),
    _t("running", "needs_attention"): lambda world: world.stuck(),
    _t("running", "ready"): _gives_way,
    _t("ready", "held"): _held,
    _t("running", "held"): _after(World.running, _hold),
    _t("waiting", "held"): _after(World.waiting, _hold),
    _t("held", "ready"): _after(_held, lambda world: world.ledger.operations.release(_STUDY)),
    _t("waiting", "ready"): _after(World.waiting, _retry),
    _t("needs_attention", "ready"): _after(World.stuck, _retry),
    _t("ready", "cancelled"): _after(World.ready, _cancel),
    _t("running", "cancelled"): _after(World.running, _cancel),
    _t("waiting", "cancelled"): _after(World.waiting, _cancel),
    _t("needs_attention", "cancelled"): _after(World.stuck, _cancel),
    _t("held", "cancelled"): _after(_held, _cancel),
    _t("done", "ready"): lambda world: world.found(world.asking(), Finding.GONE),
    _d("[*]", "pending"): lambda world: world.ledger.register([arrival(1)]),
    _d("pending", "delivered"): lambda world: world.answers(world.running(), DeliveryState.DELIVERED),
    _d("pending", "warning"): lambda world: world.answers(world.running(), DeliveryState.WARNING),
    _d("pending", "failed"): lambda world: world.waiting(),
    _d("pending", "refused"): lambda world: world.stuck(),
    _d("failed", "delivered"): _from_waiting(DeliveryState.DELIVERED),
    _d("failed", "warning"): _from_waiting(DeliveryState.WARNING),
    _d("failed", "failed"): _from_waiting(DeliveryState.FAILED),
    _d("failed", "refused"): _from_waiting(DeliveryState.REFUSED),
    _d("refused", "pending"): _after(World.stuck, _retry),
    _d("pending", "cancelled"): _cancelled_before_it_was_cut,
    _d("failed", "cancelled"): _after(World.waiting, _cancel),
    _d("refused", "cancelled"): _after(World.stuck, _cancel),
    _d("cancelled", "delivered"): _late,
    _d("cancelled", "warning"): _late_with_a_remark,
    _d("delivered", "failed"): lambda world: world.found(world.asking(), Finding.GONE),
    _d("warning", "failed"): _missing_after_a_warning,
    _b("[*]", "closed"): lambda world: world.begin(),
    _b("closed", "open"): World.opened,
    _b("open", "half_open"): World.trial,
    _b("half_open", "half_open"): _dies_in_a_trial,
    _b("half_open", "closed"): _after(World.trial, lambda world: world.ledger.flow.reached("pacs")),
    _b("half_open", "open"): lambda world: world.ledger.flow.probe_failed(
        world.trial(), policy=_POLICY, jitter=0, error="no connection"
    ),
    _b("open", "closed"): _after(World.opened, lambda world: world.ledger.flow.reached("pacs")),
    _v("[*]", "ready"): World.delivered,
    _v("ready", "asking"): World.asking,
    _v("asking", "asking"): lambda world: (world.asking(), world.asking()),
    _v("asking", "asked"): World.asked,
    _v("asking", "verified"): lambda world: world.found(world.asking("find"), Finding.THERE),
    _v("asking", "missing"): lambda world: world.found(world.asking("find"), Finding.GONE),
    _v("asking", "ready"): lambda world: world.found(world.asking("find"), Finding.DOUBT, _PATIENT),
    _v("asking", "needs_attention"): lambda world: world.found(world.asking("find"), Finding.HOPELESS),
    _v("asked", "verified"): lambda world: world.found(world.asked(), Finding.THERE),
    _v("asked", "missing"): lambda world: world.found(world.asked(), Finding.GONE),
    _v("asked", "ready"): lambda world: world.found(world.asked(), Finding.DOUBT, _PATIENT),
    _v("asked", "needs_attention"): lambda world: world.found(world.asked(), Finding.HOPELESS),
    _v("asked", "superseded"): lambda world: (world.asked(), world.asking()),
    _v("needs_attention", "superseded"): lambda world: (
        world.found(world.asked(), Finding.HOPELESS),
        _retry(world),
    ),
    _v("ready", "cancelled"): lambda world: world.ledger.verifications.take_its_word(world.delivered().id),
    _v("asking", "cancelled"): lambda world: world.ledger.verifications.take_its_word(
        world.asking().transfer_id
    ),
    _v("asked", "cancelled"): lambda world: world.ledger.verifications.take_its_word(
        world.asked().transfer_id
    ),
    _v("needs_attention", "cancelled"): lambda world: (
        world.found(claimed := world.asked(), Finding.HOPELESS),
        world.ledger.verifications.take_its_word(claimed.transfer_id),
    ),
}


def test_every_arrow_is_walked_and_no_other(ledger: Ledger, ledger_url: str) -> None:
    """One walk an arrow; whatever else a walk goes along must be drawn too."""
    page = drawn()
    assert page - set(WALKS) == set(), "drawn, and no walk for it"
    taken: set[Step] = set()
    missed: set[Step] = set()
    with noting(ledger_url) as noted:
        for step, walk in WALKS.items():
            noted.empty()
            walk(World(ledger, noted).begin())
            steps = noted.steps()
            if step not in steps:
                missed.add(step)
            taken |= steps
    assert missed == set(), "the walk does not take it"
    assert taken - page == set(), "the code does it, and it is not drawn"
    assert page - taken == set(), "drawn, and the code does not do it"
