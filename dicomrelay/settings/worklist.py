"""The section of the worklist (docs/design/worklist.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from dicomrelay.settings.fields import AeTitle, Section

_Modality = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{1,16}$")]
_Status = Literal["SCHEDULED", "ARRIVED", "READY", "STARTED", "DEPARTED", "COMPLETED", "DISCONTINUED"]


class WorklistSettings(Section):
    """Scheduled procedure steps, for modalities that ask for them."""

    enabled: bool = Field(True, description="Answer C-FIND of the Modality Worklist, and serve /worklist.")
    own_only: bool = Field(
        False,
        description="A peer sees only steps that are scheduled for its calling AE title, unless its [[peers]] entry has "
        "worklist_ae_titles.",
    )
    hidden: list[_Status] = Field(
        ["COMPLETED", "DISCONTINUED", "DEPARTED"],
        description="Steps of these states are not shown to modalities, unless they ask for a state.",
    )
    max_answers: int = Field(
        5000,
        ge=1,
        le=1_000_000,
        description="Answers to one question; when more match these are given, and then A700, out of resources.",
    )
    keep_days: float = Field(
        30,
        ge=1,
        le=3650,
        description="Steps that are over, or were to start, so long ago are removed.",
    )
    station_ae_titles: dict[_Modality, AeTitle] = Field(
        {},
        description='Scheduled Station AE Title by modality, for orders that name none, as HL7 v2 ORM: `{ CT = "CT_1" }`.',
    )
