"""Items by the numbers of their order, and what an order that is corrected takes the place of (docs/design/worklist.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import ColumnElement, or_, select

from dicomrelay.ledger.engine import AnyRow, Work
from dicomrelay.scheduling.worklist_building import study_of
from dicomrelay.scheduling.worklist_change import OrderKey
from dicomrelay.scheduling.worklist_schema import worklist_items as items

_NUMBERS: Final = ("placer_order_number", "filler_order_number")


def named(key: OrderKey) -> list[ColumnElement[bool]]:
    """What is so of the items that a key names.

    Of the two numbers of an order one does, where the item has none for the other: who places an order may not know yet
    what number it gets from who fills it.
    """
    given = dict(key.given)
    numbers: dict[str, str] = {name: given.pop(name) for name in _NUMBERS if name in given}
    return [items.c[name] == value for name, value in given.items()] + _of_order(numbers)


def replaced(work: Work, columns: Mapping[str, str]) -> AnyRow | None:
    """The item that a corrected order stands in the place of, though its study is another one now.

    That is so where the Study Instance UID was made here of patient and order, and the patient is another one. It has the
    same order numbers, procedure and step. None where there is none, or several.
    """
    numbers = {name: columns[name] for name in _NUMBERS if columns[name]}
    if not numbers or not _is_made_here(columns):
        return None
    same = [items.c[name] == columns[name] for name in ("requested_procedure_id", "step_id")]
    rows = work.connection.execute(select(items).where(*_of_order(numbers), *same).with_for_update()).all()
    found = [row for row in rows if _is_made_here({name: getattr(row, name) for name in columns})]
    return found[0] if len(found) == 1 else None


def _of_order(numbers: Mapping[str, str]) -> list[ColumnElement[bool]]:
    if not numbers:
        return []
    either = or_(*(items.c[name] == value for name, value in numbers.items()))
    return [either, *(items.c[name].in_(["", value]) for name, value in numbers.items())]


def _is_made_here(columns: Mapping[str, str]) -> bool:
    order = columns["accession_number"] or columns["requested_procedure_id"]
    return columns["study_instance_uid"] == study_of(columns["patient_id"], order)
