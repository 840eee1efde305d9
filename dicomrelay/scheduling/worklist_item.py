"""A data set as items of the worklist, or what is wrong with it (docs/design/worklist.md). Pure.

An item is kept as DICOM JSON (PS3.18 Annex F): text is Unicode there, whatever character set it came in.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydicom import config
from pydicom.datadict import dictionary_VM, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from dicomrelay.dicom.elements import KNOWN_VRS, tag_name
from dicomrelay.dimse.identifier_bounds import has_its_vr
from dicomrelay.errors import DataSetError
from dicomrelay.scheduling.worklist_attributes import (
    OTHER_ATTRIBUTES,
    PROCEDURE_PAIR,
    STEP_ATTRIBUTES,
    STEP_PAIR,
    STEPS,
    Attribute,
    Need,
    json_tag,
    tag_of,
)
from dicomrelay.scheduling.worklist_status import StepStatus, status_of
from dicomrelay.scheduling.worklist_values import fault_of

# A data set, or an item of a sequence, in the DICOM JSON model.
JsonItem: TypeAlias = Mapping[str, Any]

MOST_ELEMENTS: Final = 1000
MOST_DEPTH: Final = 8
MOST_BYTES: Final = 262_144
MOST_FAULTS: Final = 20
# Of the file and the command, and what is said of the text: all text is Unicode here.
_LEFT_OUT_GROUPS: Final = frozenset({0x0000, 0x0002, 0xFFFE})
_CHARACTER_SET: Final = 0x00080005
_PIXEL_GROUPS: Final = frozenset({0x5400, 0x7FE0})
_STATUS: Final = "ScheduledProcedureStepStatus"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an item: of which attribute, and what."""

    path: str
    words: str

    def __str__(self) -> str:
        return f"{self.path}: {self.words}" if self.path else self.words


class InvalidItem(DataSetError):
    """A data set is no item of a worklist; `faults` says of each attribute why, and quotes no value."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MOST_FAULTS])
        more = len(faults) - len(self.faults)
        super().__init__("; ".join(map(str, self.faults)) + (f"; and {more} more" if more else ""))


@dataclass(frozen=True, slots=True)
class Item:
    """One scheduled procedure step, sound.

    Attributes
    ----------
    data_set : mapping
        DICOM JSON, one item in its Scheduled Procedure Step Sequence, without the step's status.
    status : StepStatus or None
        What it says of its own status, if anything but SCHEDULED.
    is_correction : bool
        It is of an order that was given before, and may say another patient: see `worklist_orders`.
    """

    data_set: JsonItem
    status: StepStatus | None = None
    is_correction: bool = field(default=False, compare=False)
    _step: JsonItem = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_step", self.data_set[json_tag(STEPS)]["Value"][0])

    def text(self, keyword: str) -> str:
        """The first value of an attribute, "" for none; of a name its groups."""
        return next(iter(values_of(self.data_set, keyword)), "")

    def of_step(self, keyword: str) -> str:
        """The same, of an attribute of the step."""
        return next(iter(values_of(self._step, keyword)), "")

    @property
    def stations(self) -> tuple[str, ...]:
        """Its Scheduled Station AE Titles."""
        return tuple(values_of(self._step, "ScheduledStationAETitle"))

    @property
    def identity(self) -> tuple[str, str, str]:
        """By what it is known: study, requested procedure, step."""
        return (
            self.text("StudyInstanceUID"),
            self.text("RequestedProcedureID"),
            self.of_step("ScheduledProcedureStepID"),
        )

    @property
    def encoded(self) -> str:
        """As it is kept."""
        return json.dumps(self.data_set, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def values_of(item: JsonItem, keyword: str) -> list[str]:
    """The values of an attribute of DICOM JSON as texts, without empty ones."""
    found = item.get(json_tag(keyword), {}).get("Value") or []
    return [text for each in found if (text := value_text(each))]


def value_text(value: Any) -> str:
    """A value of DICOM JSON as text; a name with its groups parted by `=`."""
    if isinstance(value, Mapping):
        groups = [str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value).strip()


def items_of(data_set: Dataset) -> list[Item]:
    """The items that a data set is: one for each item of its Scheduled Procedure Step Sequence.

    Parameters
    ----------
    data_set : Dataset
        Decoded; left as it is.

    Raises
    ------
    InvalidItem
        All that is wrong with it.
    """
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        try:
            return _items_of(deepcopy(data_set))
        except RecursionError:
            raise InvalidItem([Fault("", f"more than {MOST_DEPTH} sequences in one another")]) from None


def _items_of(whole: Dataset) -> list[Item]:
    faults: list[Fault] = []
    for count, (path, element, holder) in enumerate(_elements(whole, "", 0), 1):
        if count > MOST_ELEMENTS:
            raise InvalidItem([Fault("", f"more than {MOST_ELEMENTS} elements")])
        if element.tag.group in _LEFT_OUT_GROUPS or element.tag.element == 0 or element.tag == _CHARACTER_SET:
            del holder[element.tag]
        elif words := _fault(element):
            faults.append(Fault(path, words))
    steps = whole.get(STEPS)
    if STEPS in whole and whole[STEPS].VR != "SQ":
        raise InvalidItem(faults)  # among them that it is not its VR
    faults += _missing(whole, "", OTHER_ATTRIBUTES, PROCEDURE_PAIR)
    if not steps:
        raise InvalidItem([*faults, Fault(STEPS, "missing")])
    for place, step in enumerate(steps):
        faults += _missing(step, f"{STEPS}[{place}].", STEP_ATTRIBUTES, STEP_PAIR)
    if faults:
        raise InvalidItem(faults)
    return [_item(whole, step) for step in list(steps)]


def _item(whole: Dataset, step: Dataset) -> Item:
    status = None
    if _STATUS in step:
        # SCHEDULED is what all say; of an item that comes again it takes nothing back.
        status = status_of(str(step[_STATUS].value or ""))
        status = None if status is StepStatus.SCHEDULED else status
        del step[_STATUS]
    whole[tag_of(STEPS)] = DataElement(tag_of(STEPS), "SQ", [step])
    try:
        found = Item(json.loads(json.dumps(whole.to_json_dict())), status)
    except Exception:  # noqa: BLE001 - pydicom raises what it likes, and quotes values
        raise InvalidItem([Fault("", "cannot be kept as DICOM JSON")]) from None
    if len(found.encoded.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise InvalidItem([Fault("", f"more than {MOST_BYTES} bytes")])
    if not _is_storable(found.encoded):
        raise InvalidItem([Fault("", "characters that are none in Unicode")])
    return found


def _elements(holder: Dataset, path: str, depth: int) -> Iterator[tuple[str, DataElement, Dataset]]:
    """Every element with where it stands, those in sequences too."""
    if depth > MOST_DEPTH:
        raise InvalidItem([Fault(path.rstrip("."), f"more than {MOST_DEPTH} sequences in one another")])
    for element in list(holder):
        name = f"{path}{keyword_for_tag(element.tag) or tag_name(int(element.tag))}"
        yield name, element, holder
        if element.VR == "SQ" and element.tag in holder:
            for place, item in enumerate(element.value or []):
                yield from _elements(item, f"{name}[{place}].", depth + 1)


def _fault(element: DataElement) -> str:
    if element.tag.group in _PIXEL_GROUPS:
        return "no place for pixel data or waveforms"
    vr = str(element.VR)
    if vr.encode("ascii", "replace") not in KNOWN_VRS or not has_its_vr(int(element.tag), vr):
        return "not its VR"
    if vr == "SQ" or element.value is None:
        return ""
    value = element.value
    values = [*value] if isinstance(value, MultiValue | list | tuple) else [value]
    if len(values) > 1 and _is_single(element.tag):
        return "more than one value"
    return fault_of(vr, values)


def _is_single(tag: BaseTag) -> bool:
    try:
        return dictionary_VM(tag) == "1"
    except KeyError:  # private, or newer than the dictionary
        return False


def _missing(
    holder: Dataset, path: str, attributes: Sequence[Attribute], pair: tuple[str, str]
) -> Iterator[Fault]:
    """What has no value and must; what may be empty is made so."""
    for attribute in attributes:
        if attribute.need is Need.VALUE and not _has(holder, attribute.keyword):
            yield Fault(path + attribute.keyword, "missing")
        elif attribute.need is Need.EMPTY and attribute.tag not in holder:
            holder[attribute.tag] = DataElement(attribute.tag, attribute.vr, None)
    if not any(_has(holder, keyword) for keyword in pair):
        yield Fault(path + pair[0], f"missing, and {pair[1]} too: one of them is needed")


def _has(holder: Dataset, keyword: str) -> bool:
    if keyword not in holder:
        return False
    value = holder[keyword].value
    if value is None:
        return False
    if isinstance(value, MultiValue | list | tuple):
        return any(str(each).strip() for each in value)
    return (
        bool(str(value).strip()) if not hasattr(value, "__len__") or isinstance(value, str) else bool(value)
    )


def _is_storable(text: str) -> bool:
    """Whether every database takes it: no NUL, no half of a pair."""
    return (
        "\0" not in text and "\\u0000" not in text and not any("\ud800" <= each <= "\udfff" for each in text)
    )
