"""The section of renditions (docs/design/renditions.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from dicomrelay.settings.fields import Section

# VR CS (PS3.5 Table 6.2-1).
_Modality = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_ ]{1,16}$")]


class RenditionRuleSettings(Section):
    """What is made of an instance before anybody asks."""

    modality: list[_Modality] = Field([], description="Of instances of these modalities; none: of all.")
    make: list[Literal["thumbnail", "preview", "htj2k", "jpeg-ls"]] = Field(
        min_length=1,
        description='"thumbnail"; "preview", the representative frame as JPEG; "htj2k" or "jpeg-ls", a copy without loss.',
    )


class RenditionSettings(Section):
    """Pictures, thumbnails and lossless transcodes: made once, kept up to a limit, never counted as archive."""

    path: Path | None = Field(
        None,
        description="Where they are kept; by default renditions/ in the home. Worker and streamer share it.",
    )
    max_bytes: int = Field(
        2_000_000_000,
        ge=0,
        description="What may be kept; the least recently used go first. 0: nothing is kept.",
    )
    at_once: int = Field(
        2,
        ge=1,
        le=64,
        description="Pictures made at once by each process of the streamer; each takes a core.",
    )
    rules: list[RenditionRuleSettings] = Field(
        [],
        description="What the frames worker makes as instances are archived; none: all is made when it is first asked for.",
    )

    @field_validator("path")
    @classmethod
    def _own_folder(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None
