"""Rules asked about what arrived: facts from the spool's records and, where a rule wants more, from the head of the item."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dicomrelay.errors import ServiceUnavailable, SpoolCorrupt, SpoolError
from dicomrelay.ledger.values_decisions import Decided, Terms
from dicomrelay.routing import Facts
from dicomrelay.routing.recording import of_instance
from dicomrelay.routing.rules import Decision, RuleSet
from dicomrelay.settings import Settings
from dicomrelay.spool import SpoolRecord
from workers.attributes import read_attributes
from workers.rooms import Rooms


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rules said of an item, and how that is stored."""

    decision: Decision
    decided: Decided
    undecided: bool  # rules of series or studies are to be asked yet
    named: Mapping[str, Terms] = field(default_factory=dict)  # how it goes where a person sends it


def ask(rooms: Rooms, rules: RuleSet, record: SpoolRecord) -> Asked:
    """The rules' word about an item.

    Raises
    ------
    ServiceUnavailable
        They ask for what is in it, and it cannot be read now: that is no reason to go by other rules.
    """
    at_ms = time.time_ns() // 1_000_000
    facts = facts_of(record, _attributes(rooms, rules, record))
    decision = rules.decide(facts, at_ms)
    edits = {name: rules.edits_where_named(name, decision) for name in record.send_to}
    named = {name: Terms(each) for name, each in edits.items() if each}
    return Asked(decision, of_instance(rules, facts, decision, at_ms), rules.decides_later, named)


def facts_of(record: SpoolRecord, attributes: dict[int, tuple[str, ...]]) -> Facts:
    """What rules may ask of an item."""
    return Facts(
        modality=record.modality,
        source_ae_title=record.provenance.calling_ae_title,
        called_ae_title=record.provenance.called_ae_title,
        sop_class_uid=record.sop_class_uid,
        transfer_syntax_uid=record.transfer_syntax_uid,
        peer_address=record.provenance.peer_address,
        data_set_bytes=record.data_set_bytes,
        attributes=attributes,
    )


def _attributes(rooms: Rooms, rules: RuleSet, record: SpoolRecord) -> dict[int, tuple[str, ...]]:
    if not rules.tags:
        return {}
    try:
        path = Path(record.source_path) if record.source_path else rooms.spool.locate(record.id)
    except SpoolCorrupt:  # gone: then the stages that want its bytes say so
        return dict.fromkeys(rules.tags, ())
    except SpoolError as error:
        raise ServiceUnavailable(str(error)) from error
    return read_attributes(
        path,
        data_set_offset=record.data_set_offset,
        transfer_syntax_uid=record.transfer_syntax_uid,
        tags=rules.tags,
    )


def destinations_of(rooms: Rooms, record: SpoolRecord) -> tuple[str, ...]:
    """Where an item is to go, by its job's word or the rules'."""
    return record.send_to or ask(rooms, rooms.rules(), record).decision.destinations


def is_archived(settings: Settings, decision: Decision | None) -> bool:
    """Whether an item goes to the archive; a rule may leave it out, where there is one."""
    return settings.archive.enabled and (decision is None or decision.archive is not False)
