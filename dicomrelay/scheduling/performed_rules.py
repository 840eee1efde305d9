"""A performed procedure step after a message, or why the message is refused (PS3.4 Section F.7.2). Pure.

Nothing that is raised here quotes a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydicom import config
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomrelay.dicom.elements import tag_name
from dicomrelay.dicom.performed_step import (
    NO_LONGER_UPDATED,
    NO_LONGER_UPDATED_ERROR_ID,
    ObjectStatus,
    StepState,
)
from dicomrelay.dimse.identifier_bounds import foreign_vr
from dicomrelay.errors import DataSetError
from dicomrelay.scheduling.performed_table import (
    BY_TAG,
    CODE_VALUES,
    MAY_BE_EMPTY,
    NEVER,
    PERFORMED_SERIES,
    REQUIRED,
    STATE,
    TABLE,
    Row,
)
from dicomrelay.scheduling.worklist_values import fault_of

# Of the message and of what it is about: said by the command set, and by us.
_CHARACTER_SET: Final = 0x0008_0005
_NO_ATTRIBUTES: Final = frozenset({0x0008_0016, 0x0008_0018, _CHARACTER_SET})
_NO_GROUPS: Final = frozenset({0x0000, 0x0002, 0xFFFE})
# What we find and link a step by: their values are held to the form of their VR.
_HELD_TO_FORM: Final = frozenset({"UI", "DA", "TM"})


class StepRefused(DataSetError):
    """A message that is not taken.

    Parameters
    ----------
    status : ObjectStatus
        What it is answered.
    why : str
        For the Error Comment; holds no value.
    tags : sequence of int
        The attributes that it is about.
    """

    def __init__(
        self, status: ObjectStatus, why: str, tags: Sequence[int] = (), error_id: int | None = None
    ) -> None:
        super().__init__(why)
        self.status = status
        self.tags = tuple(tags)
        self.error_id = error_id


def state_of(step: Dataset) -> StepState:
    """Performed Procedure Step Status of a step.

    Raises
    ------
    StepRefused
        It is none of the three (0106).
    """
    try:
        return StepState(str(step.get(STATE.keyword) or "").strip())
    except ValueError:
        words = "is not IN PROGRESS, COMPLETED or DISCONTINUED"
        raise _invalid(STATE.tag, f"{STATE.keyword} {words}") from None


def created(attributes: Dataset, *, strict: bool = True) -> Dataset:
    """The step that an N-CREATE makes.

    Parameters
    ----------
    attributes : Dataset
        Decoded, as it came; left as it is.
    strict : bool
        Whether attributes of type 2 must be there.

    Raises
    ------
    StepRefused
        0120, 0121 or 0106.
    """
    step = _own(attributes)
    for row in TABLE:
        _require(step, row, row.create, strict=strict)
    if state_of(step) is not StepState.IN_PROGRESS:
        raise _invalid(STATE.tag, f"{STATE.keyword} of an N-CREATE is not IN PROGRESS")
    return step


def changed(step: Dataset, modifications: Dataset, *, strict: bool = True) -> Dataset:
    """The step after an N-SET; `step` is left as it is.

    Raises
    ------
    StepRefused
        0110 with Error ID A710 for a step that is final; 0105, 0106 or 0121.
    """
    if state_of(step).is_final:
        raise StepRefused(
            ObjectStatus.PROCESSING_FAILURE, NO_LONGER_UPDATED, error_id=NO_LONGER_UPDATED_ERROR_ID
        )
    try:
        return _changed(step, modifications, strict=strict)
    except StepRefused as refused:
        if refused.status is ObjectStatus.MISSING_ATTRIBUTE:  # N-SET has none such (PS3.7 Section 10.1.3.1.9)
            raise StepRefused(
                ObjectStatus.MISSING_ATTRIBUTE_VALUE, str(refused), refused.tags, refused.error_id
            ) from None
        raise


def _changed(step: Dataset, modifications: Dataset, *, strict: bool) -> Dataset:
    given = _own(modifications)
    after = Dataset()
    after.update({element.tag: element for element in step})
    for element in given:
        row = BY_TAG.get(int(element.tag))
        if row is not None and row.change == NEVER:
            # Many modalities say again what they said: that changes nothing, and is no fault.
            if is_empty(element) and element.tag not in step:
                continue
            if element.tag in step and json_of(step[element.tag]) == json_of(element):
                continue
            raise StepRefused(
                ObjectStatus.NO_SUCH_ATTRIBUTE, f"{row.keyword} is said by N-CREATE alone", [row.tag]
            )
        if row is not None:
            _require_items(given, row, strict=strict)
        after[element.tag] = element
    state = state_of(after)
    if state.is_final:
        for row in TABLE:
            if row is PERFORMED_SERIES and state is StepState.DISCONTINUED and not strict:
                continue
            _require(after, row, row.final, strict=strict)
    return after


def json_of(element: DataElement) -> Any:
    """An element in the DICOM JSON model (PS3.18 Annex F).

    Raises
    ------
    StepRefused
        Its value fits its VR in no way (0106).
    """
    try:
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            return element.to_json_dict(None, 0)
    except Exception:  # noqa: BLE001 - pydicom raises whatever its parsers do; its words quote values
        tag = int(element.tag)
        raise _invalid(tag, f"{_name(tag)}: no value of its VR") from None


# ---- inside


def _own(attributes: Dataset) -> Dataset:
    """What is the step's, each element with the VR of its attribute. The elements are shared, and nobody changes them."""
    foreign = foreign_vr(attributes)
    if foreign is not None:
        raise _invalid(foreign, f"{_name(foreign)}: not its VR")
    own = Dataset()
    for element in attributes:
        tag = int(element.tag)
        if tag >> 16 in _NO_GROUPS:
            raise _invalid(tag, f"{tag_name(tag)} does not belong here")
        if tag in _NO_ATTRIBUTES or tag & 0xFFFF == 0:
            continue
        own[tag] = element
    return own


def _require(step: Dataset, row: Row, kind: int, *, strict: bool, where: str = "") -> None:
    """That an attribute is there, has a value where it must, and that one fits."""
    path = f"{where}{row.keyword}"
    wanted = kind == REQUIRED or (kind == MAY_BE_EMPTY and strict)
    if row.keyword not in step:
        if wanted:
            raise StepRefused(ObjectStatus.MISSING_ATTRIBUTE, f"{path} is missing", [row.tag])
        return
    element = step[row.keyword]
    if kind == REQUIRED and is_empty(element):
        raise StepRefused(ObjectStatus.MISSING_ATTRIBUTE_VALUE, f"{path} has no value", [row.tag])
    if str(element.VR) in _HELD_TO_FORM:
        fault = fault_of(str(element.VR), list(_values(element)))
        if fault:
            raise _invalid(row.tag, f"{path}: {fault}")
    _require_items(step, row, strict=strict, where=where)


def _require_items(step: Dataset, row: Row, *, strict: bool, where: str = "") -> None:
    if not (row.items or row.is_code) or row.keyword not in step:
        return
    for number, item in enumerate(step[row.keyword].value or (), 1):
        if row.is_code and strict:
            _require_code(item, f"{where}{row.keyword}[{number}].")
        for each in row.items:
            _require(item, each, each.create, strict=strict, where=f"{where}{row.keyword}[{number}].")


def _require_code(item: Dataset, where: str) -> None:
    """That a coded entry has a code and says what it means."""
    if not any(keyword in item and not is_empty(item[keyword]) for keyword in CODE_VALUES):
        _require(item, Row(CODE_VALUES[0], REQUIRED), REQUIRED, strict=True, where=where)
    _require(item, Row("CodeMeaning", REQUIRED), REQUIRED, strict=True, where=where)


def is_empty(element: DataElement) -> bool:
    """Whether it has no value: none, no items, or only spaces."""
    if element.VR == "SQ":
        return not element.value
    return all(not str(value).strip() for value in _values(element))


def _values(element: DataElement) -> Iterator[Any]:
    value = element.value
    if value is None:
        return
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        yield value
    else:
        yield from value


def _invalid(tag: int, why: str) -> StepRefused:
    return StepRefused(ObjectStatus.INVALID_ATTRIBUTE_VALUE, why, [tag])


def _name(tag: int) -> str:
    return keyword_for_tag(tag) or tag_name(tag)
