"""Items in JSON: the DICOM JSON model (PS3.18 Annex F), or objects with keywords. Pure."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydicom import config
from pydicom.dataset import Dataset

from dicomrelay.scheduling.worklist_building import Stations, of_data_set, record_of
from dicomrelay.scheduling.worklist_change import MOST_RECORDS, Record, UnreadableFile, bounded, told_apart
from dicomrelay.scheduling.worklist_item import MOST_DEPTH, MOST_ELEMENTS, Fault, value_text

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
# Objects, arrays and values: an element is two or three of them.
_MOST_VALUES: Final = 20 * MOST_ELEMENTS
_GROUPS: Final = frozenset({"Alphabetic", "Ideographic", "Phonetic"})


class _Wrong(Exception):
    def __init__(self, path: str, words: str) -> None:
        super().__init__(words)
        self.fault = Fault(path, words)


def records(text: str, stations: Stations) -> list[Record]:
    """What an object, or each of an array, asks.

    Raises
    ------
    UnreadableFile
        It is no JSON, or neither object nor array.
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableFile(f"no JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except ValueError:  # sys.int_info: a number of more than 4,300 digits
        raise UnreadableFile("no JSON of an item: a number with too many digits") from None
    except RecursionError:
        raise UnreadableFile("no JSON of an item: nested too deep") from None
    if isinstance(given, Mapping):
        return [_record("", given, stations)]
    if not isinstance(given, list):
        raise UnreadableFile("JSON of an item is an object, or an array of objects")
    if len(given) > MOST_RECORDS:
        raise UnreadableFile(f"more than {MOST_RECORDS} items: give it in parts")
    made = (_record(f"item {number}", each, stations) for number, each in enumerate(given, 1))
    return bounded(told_apart(made))


def _record(where: str, given: Any, stations: Stations) -> Record:
    if not isinstance(given, Mapping):
        return Record(where, faults=(Fault("", "no object"),))
    if given and all(_TAG.fullmatch(name) for name in given):
        return _of_model(where, given)
    try:
        return record_of(where, _pairs(given, "", 0), stations)
    except _Wrong as wrong:
        return Record(where, faults=(wrong.fault,))


def _of_model(where: str, given: Mapping[str, Any]) -> Record:
    if _is_large(given):
        return Record(where, faults=(Fault("", f"more than {MOST_ELEMENTS} elements"),))
    try:
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            data_set = Dataset.from_json({**given})
            for _ in data_set.iterall():
                pass
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever its parsers do; its words quote values
        return Record(where, faults=(Fault("", f"no DICOM JSON ({type(error).__name__})"),))
    return of_data_set(where, data_set)


def _is_large(given: Mapping[str, Any]) -> bool:
    """Whether there is more in an object than elements can have that are few enough: it is not taken apart then."""
    count = 0
    stack: list[Any] = [given]
    while stack and count <= _MOST_VALUES:
        each = stack.pop()
        count += 1
        if isinstance(each, Mapping | list):
            count += len(each)
            stack.extend(each.values() if isinstance(each, Mapping) else each)
    return count > _MOST_VALUES


def _pairs(given: Mapping[str, Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Names and values, those in sequences with the way to them."""
    if depth > MOST_DEPTH:
        raise _Wrong(path, f"more than {MOST_DEPTH} sequences in one another")
    for name, value in given.items():
        whole = f"{path}{name}"
        if isinstance(value, Mapping) and not _GROUPS.issuperset(value):
            yield from _pairs(value, f"{whole}[0].", depth + 1)
        elif isinstance(value, list) and any(
            isinstance(each, Mapping) and not _GROUPS.issuperset(each) for each in value
        ):
            for place, item in enumerate(value):
                if not isinstance(item, Mapping):
                    raise _Wrong(f"{whole}[{place}]", "no object")
                yield from _pairs(item, f"{whole}[{place}].", depth + 1)
        else:
            yield whole, "\\".join(map(value_text, value if isinstance(value, list) else [value]))
