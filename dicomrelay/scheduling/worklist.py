"""The worklist in the database: items put, asked for, given another status, and removed (docs/design/worklist.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, or_, select, tuple_, update

from dicomrelay.ledger.engine import AnyRow, Database, Work, chunks
from dicomrelay.ledger.ids import new_id
from dicomrelay.scheduling.worklist_attributes import STEPS, json_tag
from dicomrelay.scheduling.worklist_change import OrderKey
from dicomrelay.scheduling.worklist_item import Item
from dicomrelay.scheduling.worklist_links import SECTION, StepReference, link, set_status, settle
from dicomrelay.scheduling.worklist_orders import named, replaced
from dicomrelay.scheduling.worklist_query import EVERYTHING, Conditions, Question
from dicomrelay.scheduling.worklist_schema import worklist_items as items
from dicomrelay.scheduling.worklist_schema import worklist_performed as performed
from dicomrelay.scheduling.worklist_status import ENDED, PerformedState, StepStatus

_PAGE: Final = 200
_STEPS, _STATUS = json_tag(STEPS), json_tag("ScheduledProcedureStepStatus")
_DAY_MS: Final = 86_400_000


class Put(StrEnum):
    """What became of an item that was put."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Entry:
    """An item as it is in the worklist.

    Attributes
    ----------
    data_set : mapping
        DICOM JSON, with the step's status.
    """

    id: str
    status: StepStatus
    stations: tuple[str, ...]
    data_set: Mapping[str, Any]


class Worklist:
    """The worklist. For many threads; not across a fork.

    Every method raises ServiceUnavailable when the database does not answer, and LedgerError when it was never migrated;
    nothing of its call is then written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> Worklist:
        """That of the ledger at this URL. Raises ConfigurationError when it is of no database that we know."""
        return cls(Database(url, guarded=True))

    def dispose(self) -> None:
        """Close every connection."""
        self._database.dispose()

    def put(self, given: Sequence[Item]) -> list[Put]:
        """Add items, or replace the data sets of those that are there, in one transaction.

        Returns
        -------
        list of Put
            In their order.
        """

        def write(work: Work) -> list[Put]:
            work.exclusive(SECTION)
            return [_put(work, item) for item in given]

        return self._database.transact(write)

    def find(
        self,
        question: Question = EVERYTHING,
        *,
        hidden: Sequence[StepStatus] = (),
        keys: OrderKey | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Entry, dict[str, Any]]]:
        """Every item that matches with its answer, in the order of their start, page by page.

        Parameters
        ----------
        hidden : sequence of StepStatus
            Not shown, unless the question is about the status.
        keys : OrderKey, optional
            Only those that it names.
        is_stopped : callable
            Asked before each page; nothing more comes once it is so.
        """
        conditions = _conditions(question.conditions)
        if keys is not None:
            conditions += named(keys)
        if hidden and not question.names_status:
            conditions.append(items.c.status.not_in([each.value for each in hidden]))
        place = items.c.start_date, items.c.start_time, items.c.id
        behind: tuple[str, str, str] | None = None
        while not is_stopped():
            query = select(items).where(*conditions).order_by(*place).limit(_PAGE)
            if behind is not None:
                query = query.where(tuple_(*place) > tuple_(*behind))
            with self._database.read() as work:
                rows = work.connection.execute(query).all()
            for row in rows:
                entry = _entry(row)
                answer = question.answer(entry.data_set)
                if answer is not None:
                    yield entry, answer
            if len(rows) < _PAGE:
                return
            behind = rows[-1].start_date, rows[-1].start_time, rows[-1].id

    def set_status(self, key: OrderKey, status: StepStatus) -> int:
        """Give every item of that name a status; how many there are."""

        def write(work: Work) -> int:
            ids = _ids(work, key)
            for part in chunks(ids):
                set_status(work, part, status)
            return len(ids)

        return self._database.transact(write)

    def remove(self, key: OrderKey) -> int:
        """Remove every item of that name; how many there were."""

        def write(work: Work) -> int:
            ids = _ids(work, key)
            for part in chunks(ids):
                work.connection.execute(delete(items).where(items.c.id.in_(part)))
            return len(ids)

        return self._database.transact(write)

    def link_performed(
        self, sop_instance_uid: str, references: Sequence[StepReference], state: PerformedState
    ) -> tuple[str, ...]:
        """Say what a performed procedure step was scheduled as, and how it stands; may be said again, also of other steps.

        Items that it names get their status by all that name them; those that come later get it then.
        `worklist_links.link` is the same in a transaction of the caller's.

        Parameters
        ----------
        sop_instance_uid : str
            Of the performed step.
        references : sequence of StepReference
            None for a step that was not scheduled.

        Returns
        -------
        tuple of str
            The ids of the items it names now.
        """
        return self._database.transact(lambda work: link(work, sop_instance_uid, references, state))

    def prune(self, *, age_ms: int, limit: int) -> int:
        """Remove items that are over, or were to start, so long ago, and what performed steps said then; how many rows went.

        Parameters
        ----------
        limit : int
            Rows of each kind at most.
        """
        return self._database.transact(lambda work: _prune(work, age_ms, limit))


def _put(work: Work, item: Item) -> Put:
    encoded = item.encoded
    columns = _columns(item, encoded)
    identity = ("study_instance_uid", "requested_procedure_id", "step_id")
    same = and_(*(items.c[name] == columns[name] for name in identity))
    row = work.connection.execute(select(items).where(same).with_for_update()).one_or_none()
    if row is None and item.is_correction:
        row = replaced(work, columns)
    if row is None:
        status = item.status or StepStatus.SCHEDULED
        values = {
            **columns,
            "id": new_id(),
            "status": status.value,
            "changed_at": work.now,
            "ended_at": work.now if status in ENDED else None,
        }
        made = work.connection.execute(work.insert(items).on_conflict_do_nothing(), values)
        row = work.connection.execute(select(items).where(same).with_for_update()).one()
        if made.rowcount:
            if item.status is None:
                settle(work, row)
            return Put.ADDED
    is_same = all(getattr(row, name) == value for name, value in columns.items())
    if not is_same:
        work.connection.execute(
            update(items).where(items.c.id == row.id).values(**columns, changed_at=work.now)
        )
    if item.status is not None and item.status.value != row.status:
        set_status(work, [row.id], item.status)
        return Put.CHANGED
    return Put.UNCHANGED if is_same else Put.CHANGED


def _columns(item: Item, encoded: str) -> dict[str, str]:
    return {
        "study_instance_uid": item.text("StudyInstanceUID"),
        "requested_procedure_id": item.text("RequestedProcedureID"),
        "step_id": item.of_step("ScheduledProcedureStepID"),
        "patient_id": item.text("PatientID"),
        "accession_number": item.text("AccessionNumber"),
        "placer_order_number": item.text("PlacerOrderNumberImagingServiceRequest"),
        "filler_order_number": item.text("FillerOrderNumberImagingServiceRequest"),
        "stations": "".join(f"\n{each}" for each in item.stations) + "\n",
        "modality": item.of_step("Modality"),
        "start_date": item.of_step("ScheduledProcedureStepStartDate"),
        "start_time": item.of_step("ScheduledProcedureStepStartTime"),
        "data_set": encoded,
    }


def _conditions(asked: Conditions) -> list[ColumnElement[bool]]:
    found = [
        items.c[name] == value
        for name in ("patient_id", "accession_number", "modality")
        if (value := getattr(asked, name))
    ]
    if asked.study_instance_uids:
        found.append(items.c.study_instance_uid.in_(asked.study_instance_uids))
    if asked.station:
        found.append(items.c.stations.contains(f"\n{asked.station}\n", autoescape=True))
    if asked.first_date:
        found.append(items.c.start_date >= asked.first_date)
    if asked.last_date:
        found.append(items.c.start_date <= asked.last_date)
    return found


def _ids(work: Work, key: OrderKey) -> list[str]:
    assert key.given, "a name of an item"  # noqa: S101 - else it would be all of them
    return [*work.connection.execute(select(items.c.id).where(*named(key))).scalars()]


def _entry(row: AnyRow) -> Entry:
    data_set = json.loads(row.data_set)
    data_set[_STEPS]["Value"][0][_STATUS] = {"vr": "CS", "Value": [row.status]}
    return Entry(row.id, StepStatus(row.status), tuple(row.stations.strip("\n").split("\n")), data_set)


def _prune(work: Work, age_ms: int, limit: int) -> int:
    before = work.now - age_ms
    day = _day(before)
    old = select(items.c.id).where(or_(items.c.ended_at < before, items.c.start_date < day)).limit(limit)
    gone = work.connection.execute(delete(items).where(items.c.id.in_(old))).rowcount
    # Of an item that is there still, its state would be lost.
    has_item = select(items.c.id).where(items.c.study_instance_uid == performed.c.study_instance_uid).exists()
    said = select(performed.c.sop_instance_uid).where(performed.c.changed_at < before, ~has_item).limit(limit)
    gone += work.connection.execute(
        delete(performed).where(performed.c.sop_instance_uid.in_(said), ~has_item)
    ).rowcount
    return int(gone)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%d")
