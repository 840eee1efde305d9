"""The section [[pulls]]."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dicomrelay.settings.fields import Name, PeerText, Section
from dicomrelay.settings.windows import parse_window


class PriorsSettings(Section):
    """Which earlier studies of a patient are fetched."""

    newest: int = Field(3, ge=1, le=1000, description="So many at most, the newest.")
    same_modality: bool = Field(
        True, description="Only studies with the modality of what they are fetched for, where that is known."
    )
    same_body_part: bool = Field(
        False,
        description="Only studies with its body part, where that is known: Body Part Examined of a series, or a word of Study "
        "Description.",
    )
    worklist_days: int | None = Field(
        None,
        ge=0,
        le=30,
        description="Also for each step of the worklist that starts between today and so many days later, once for each study; "
        "0: today's; none: only where a rule asks.",
    )
    max_age_days: int | None = Field(
        None, ge=1, le=36_500, description="No older than so many days; none: of any age."
    )


class PullSettings(Section):
    """What is fetched from another node: again and again (`every_s`), as relevant priors (`priors`), or when it is called for
    (`dicomrelay pull start NAME`).
    """

    name: Name = Field(description="Our name for it: no destination's.")
    source: PeerText = Field(
        description="Whom to ask: the name of a destination, or AET@host:port. A destination that nothing shall be forwarded to "
        "has `moves_only`."
    )
    keys: list[str] = Field(
        [],
        max_length=64,
        description='Keys of the C-FIND, as `find -k` takes them: ["ModalitiesInStudy=CT", "StudyDescription=*HEAD*"].',
    )
    retrieve: Literal["move", "get"] = Field(
        "move",
        description='How studies come: "move" by C-MOVE to gateway.ae_title, which the source must know with host and port and '
        'our [[peers]] must let in; "get" by C-GET over our own association.',
    )
    every_s: float | None = Field(
        None, ge=10, le=31_536_000, description="Ask again after so long; none: no poll."
    )
    since_last: bool = Field(
        True,
        description="A poll asks for studies since the last one whose list came whole (Study Date), and for no others.",
    )
    first_days: int = Field(
        1, ge=0, le=36_500, description="How far back the first poll looks, in days; 0: today."
    )
    overlap_days: int = Field(
        1,
        ge=0,
        le=3650,
        description="Days that a poll looks back beyond the last one: for what its source got late.",
    )
    windows: list[str] = Field(
        [],
        max_length=24,
        description='When it asks and begins with a study, in local time: ["22:00-06:00"]; none: always.',
    )
    priority: Literal["urgent", "normal", "bulk"] = Field(
        "normal", description="Which pulls of one source go first."
    )
    associations: int = Field(
        1, ge=1, le=16, description="Studies to fetch from the source at once, of all pulls together."
    )
    limit: int = Field(
        10_000,
        ge=1,
        le=20_000,
        description="Studies that one question may bring; of more these are fetched, and the pull ends partial.",
    )
    attempts: int = Field(
        5,
        ge=1,
        le=1000,
        description="Retrievals of a study in a row that bring nothing new, before it is given up. A source that does not answer "
        "costs none: its own retry_attempts count.",
    )
    priors: PriorsSettings | None = Field(
        None,
        description="Fetch earlier studies of a patient when a rule or a worklist item asks for them by this name; `{}` for the "
        "defaults.",
    )

    @field_validator("windows")
    @classmethod
    def _windows(cls, value: list[str]) -> list[str]:
        return [str(parse_window(text)) for text in value]

    @field_validator("keys")
    @classmethod
    def _keys(cls, value: list[str]) -> list[str]:
        for key in value:
            if not key.partition("=")[0].strip():
                raise ValueError('a key is "Keyword=value" or "Keyword"')
        return value

    @model_validator(mode="after")
    def _one_way(self) -> PullSettings:
        if self.priors is not None and self.every_s is not None:
            raise ValueError("priors and every_s: choose one, and make two entries for both")
        asks_for_all = not self.since_last and not any(key.partition("=")[2] for key in self.keys)
        if self.every_s is not None and asks_for_all:
            raise ValueError("without since_last and without keys a poll would fetch all that the source has")
        return self
