"""A question of a peer as the rest of the query service sees it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.dataelem import DataElement

from dicomrelay.dicom.query_models import Level
from scp_gateway.archive_port import SOP_CLASSES, IndexedAttribute
from scp_gateway.query.character_sets import CharacterSet
from scp_gateway.query.matching import Filter


@dataclass(frozen=True, slots=True)
class Agreed:
    """What extended negotiation has agreed on (PS3.4 Section C.5.1.1), or the settings grant anybody."""

    relational: bool = False
    combined_date_time: bool = False
    fuzzy_names: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a query cannot be answered, as its last response says it."""

    status: int
    comment: str
    offending: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FindQuery:
    """What is asked.

    Attributes
    ----------
    matches : mapping
        For the index, by keyword.
    filters : tuple of callables
        What a row of the index must pass besides.
    wanted : tuple of IndexedAttribute
        What each answer has.
    constants : mapping of int to str
        What each answer has that is the same in all, by tag.
    leaves_out_keys : bool
        Some keys are neither matched nor answered: every answer says so (FF01).
    beside : tuple of DataElement
        Keys that are looked up in a stored instance.
    """

    level: Level
    matches: Mapping[str, str]
    filters: tuple[Filter, ...]
    wanted: tuple[IndexedAttribute, ...]
    constants: Mapping[int, str]
    fuzzy_names: bool
    leaves_out_keys: bool
    character_set: CharacterSet
    beside: tuple[DataElement, ...] = ()

    @property
    def gathers_sop_classes(self) -> bool:
        """Whether SOP Classes in Study are wanted, which the index has to look for."""
        return any(each.keyword == SOP_CLASSES for each in self.wanted)
