"""Rules of series and studies, asked when a study is complete and before it is made into transfers (docs/design/rules.md)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Final

from dicomrelay.errors import RelayError, ServiceUnavailable, SpoolCorrupt, SpoolError
from dicomrelay.ledger.completion import CompletionPolicy
from dicomrelay.ledger.values_decisions import Decided, InstanceDecision, LaterDecision, Level
from dicomrelay.log import get_logger
from dicomrelay.routing.facts import Facts
from dicomrelay.routing.recording import asks_for_more, of_later, read, stored_facts
from dicomrelay.routing.rules import Later, Member, RuleSet
from workers import prefetching
from workers.attributes import read_attributes
from workers.locating import locate
from workers.rooms import Rooms

_log = get_logger("dicomrelay.rules")
_STUDIES: Final = 50
_MOST_LEFT: Final = 5000


class BytesAway(ServiceUnavailable):
    """The bytes of an instance are in this house and cannot be read now."""


def decide_complete(rooms: Rooms, policy: CompletionPolicy) -> int:
    """Ask the rules about studies that are complete; how many were decided.

    Run twice or by two at once, it does no harm: what is there already stays as it is.
    """
    decided, left = 0, rooms.unread_studies.waiting()
    # Those that cannot be decided now do not keep others from their turn.
    while len(left) < _MOST_LEFT:
        found = rooms.ledger.rulings.to_decide(policy, limit=_STUDIES + len(left))
        studies = [uid for uid in found if uid not in left]
        if not studies:
            break
        rules = rooms.rules()
        before = len(left)
        for uid in studies:
            try:
                decided += _decide(rooms, rules, uid)
            except BytesAway as error:
                left.add(uid)
                if rooms.unread_studies.put_off(uid):
                    _log.warning(
                        "study not decided yet: the rules ask for what is in it, and it cannot be read now",
                        action="rules.undecided",
                        study_instance_uid=uid,
                        reason=str(error),
                    )
            else:
                rooms.unread_studies.done(uid)
        if len(left) == before:
            break
    return decided


def _decide(rooms: Rooms, rules: RuleSet, study: str) -> bool:
    instances = rooms.ledger.rulings.of_instances([study])
    at_ms = time.time_ns() // 1_000_000
    members = [
        Member(
            each.facts.instance_id,
            each.facts.series_instance_uid,
            complete_facts(rooms, each, rules, stored_facts(each)),
            read(each.row.decided.outcome).get("stopped"),
        )
        for each in instances
    ]
    later = rules.decide_later(study, members, at_ms)
    rows = [_row(rules, each, at_ms) for each in later] or [_nothing(rules, study, at_ms)]
    latest = max((each.row.number for each in instances), default=0)
    made = rooms.ledger.rulings.apply(study, rows, latest=latest)
    if made is None:  # something came meanwhile: it is looked at again
        return False
    _prefetch(rooms, study, instances, later)
    _log.info(
        "study decided",
        action="rules.study",
        study_instance_uid=study,
        instances=len(instances),
        deliveries=made,
        version=rules.version,
    )
    return True


def _row(rules: RuleSet, later: Later, at_ms: int) -> LaterDecision:
    return LaterDecision(
        later.level,
        later.subject,
        of_later(rules, later, at_ms),
        {instance_id: dict(each.terms) for instance_id, each in later.of_members.items()},
        later.decision.priority.value,
    )


def _prefetch(
    rooms: Rooms, study: str, instances: Sequence[InstanceDecision], later: Sequence[Later]
) -> None:
    """What the rules want for the study, once the decision is durable."""
    names = dict.fromkeys(name for each in later for name in each.decision.prefetch)
    if not names or not instances:
        return
    facts = instances[0].facts
    try:
        path = locate(rooms, facts)
    except (RelayError, OSError):
        return
    prefetching.order(
        rooms,
        [
            prefetching.Wish(
                name, study, facts.modality, path, facts.data_set_offset, facts.transfer_syntax_uid
            )
            for name in names
        ],
    )


def _nothing(rules: RuleSet, study: str, at_ms: int) -> LaterDecision:
    """There are no such rules any more, or nothing to ask them about."""
    decided = Decided(rules.version, "", f'{{"at":{at_ms}}}', "{}", rules.body, rules.origin)
    return LaterDecision(Level.STUDY, study, decided, {}, "normal")


def complete_facts(rooms: Rooms, each: InstanceDecision, rules: RuleSet, stored: Facts) -> Facts:
    """Stored facts; where these rules ask for more than was stored, with what the bytes say. Raises BytesAway."""
    if not asks_for_more(rules, stored):
        return stored
    return facts_from_bytes(rooms, each, rules, stored) or dataclasses.replace(
        stored, attributes={**dict.fromkeys(rules.tags, ()), **stored.attributes}, recorded=None
    )


def facts_from_bytes(rooms: Rooms, each: InstanceDecision, rules: RuleSet, stored: Facts) -> Facts | None:
    """The facts with what the bytes say; None where they are gone.

    Raises
    ------
    BytesAway
        They cannot be read now.
    """
    try:
        path = locate(rooms, each.facts)
        attributes = read_attributes(
            path,
            data_set_offset=each.facts.data_set_offset,
            transfer_syntax_uid=stored.transfer_syntax_uid,
            tags=rules.tags,
        )
    except SpoolCorrupt:
        return None
    except (SpoolError, ServiceUnavailable, OSError) as error:
        raise BytesAway(str(error)) from error
    return dataclasses.replace(stored, attributes=attributes, recorded=None)
