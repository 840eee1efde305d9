"""What an arrival is, in the light of what is there: NEW, DUPLICATE, CONFLICT or KNOWN. No SQL."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dicomrelay.ledger.ids import new_id
from dicomrelay.ledger.texts import storable
from dicomrelay.ledger.values import Arrival, InstanceState, Priority, Verdict


@dataclass(slots=True)
class Entry:
    """An instance while a batch is judged: as it is in the ledger, and what the batch adds to it."""

    id: str
    state: InstanceState
    spool_id: str
    host: str
    digest: str
    study_instance_uid: str
    archive_wanted: bool
    bytes_gone: bool = False  # released, and not in the archive
    is_new: bool = False
    wanted: set[tuple[str, str]] = field(default_factory=set)  # (destination, job)
    added: list[tuple[str, Arrival]] = field(default_factory=list)  # destinations that the batch adds
    archive_added: bool = False
    adopted: Arrival | None = None


@dataclass(slots=True)
class Batch:
    """The arrivals of one call with the instances they touch."""

    arrivals: list[Arrival]
    by_spool_id: dict[str, Entry] = field(default_factory=dict)
    kept: dict[str, Entry] = field(default_factory=dict)  # by SOP Instance UID
    aside: dict[tuple[str, str], Entry] = field(default_factory=dict)  # by SOP Instance UID and digest
    new: list[tuple[Entry, Arrival]] = field(default_factory=list)
    judged: list[tuple[Arrival, Entry, Verdict]] = field(default_factory=list)

    def hold(self, entry: Entry, sop_instance_uid: str) -> None:
        """Let later arrivals of the batch find the entry."""
        self.by_spool_id[entry.spool_id] = entry
        if entry.state is InstanceState.KEPT:
            self.kept[sop_instance_uid] = entry
        else:
            self.aside[sop_instance_uid, entry.digest] = entry

    def judge(self, arrival: Arrival) -> None:
        """Decide what an arrival is, in the light of those before it."""
        entry, verdict = self._find(arrival)
        if verdict in (Verdict.NEW, Verdict.DUPLICATE) and entry.state is InstanceState.KEPT:
            adds = _add_wishes(entry, arrival)
            if verdict is Verdict.DUPLICATE and entry.bytes_gone and adds:
                entry.adopted = arrival
                entry.bytes_gone = False
                entry.spool_id, entry.host = arrival.spool_id, arrival.host
                self.by_spool_id[arrival.spool_id] = entry
                verdict = Verdict.NEW
        self.judged.append((arrival, entry, verdict))

    def _find(self, arrival: Arrival) -> tuple[Entry, Verdict]:
        known = self.by_spool_id.get(arrival.spool_id)
        if known is not None:
            # Said again as it was said first: the spool item may not have been set aside yet.
            return known, Verdict.KNOWN if known.state is InstanceState.KEPT else Verdict.CONFLICT
        kept = self.kept.get(arrival.sop_instance_uid)
        if kept is None and not arrival.aside:
            return self._create(arrival, InstanceState.KEPT), Verdict.NEW
        if kept is not None and kept.digest == arrival.digest:
            return kept, Verdict.DUPLICATE
        aside = self.aside.get((arrival.sop_instance_uid, arrival.digest))
        if aside is not None:
            return aside, Verdict.DUPLICATE
        return self._create(arrival, InstanceState.SET_ASIDE), Verdict.CONFLICT

    def _create(self, arrival: Arrival, state: InstanceState) -> Entry:
        entry = Entry(
            id=new_id(),
            state=state,
            spool_id=arrival.spool_id,
            host=arrival.host,
            digest=arrival.digest,
            study_instance_uid=arrival.study_instance_uid,
            archive_wanted=False,
            is_new=True,
        )
        self.new.append((entry, arrival))
        self.hold(entry, arrival.sop_instance_uid)
        return entry


def _add_wishes(entry: Entry, arrival: Arrival) -> bool:
    """Add deliveries and the archive where they are not wanted already; whether there was any."""
    before = len(entry.added), entry.archive_added
    for destination in filter(None, arrival.destinations):
        if (destination, arrival.job_id) not in entry.wanted:
            entry.wanted.add((destination, arrival.job_id))
            entry.added.append((destination, arrival))
    if arrival.archive and not entry.archive_wanted:
        entry.archive_wanted = entry.archive_added = True
    return before != (len(entry.added), entry.archive_added)


def storable_arrival(arrival: Arrival) -> Arrival:
    """The arrival with texts that every database takes."""
    texts: dict[str, Any] = {
        name: storable(value)
        for name in Arrival.__slots__
        if name != "source_path"
        and isinstance(value := getattr(arrival, name), str)
        and not isinstance(value, Priority)
    }
    return replace(arrival, **texts, destinations=tuple(storable(name) for name in arrival.destinations))
