"""The section [[rules]]: what is asked, and what is done (docs/design/rules.md)."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import Annotated, Final, Literal

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)

from dicomrelay.settings.fields import Name, Pattern, Section
from dicomrelay.settings.windows import parse_window

MAX_REGEX: Final = 512
MAX_DEPTH: Final = 16
# A keyword of PS3.6, or a tag: 00180015, 0018,0015, (0018,0015).
AttributeName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Z][A-Za-z0-9]{1,63}|[0-9A-Fa-f]{8}|\(?[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)?)$",
        max_length=64,
    ),
]
_Text = Annotated[str, StringConstraints(max_length=256)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class RangeSettings(Section):
    """From `min` to `max`, both within; one of them may be left out."""

    min: StrictInt | None = Field(None, ge=0, description="The least.")
    max: StrictInt | None = Field(None, ge=0, description="The most.")

    @model_validator(mode="after")
    def _some(self) -> RangeSettings:
        if self.min is None and self.max is None:
            raise ValueError("say min, max, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is more than max ({self.max}): nothing is between them")
        return self


class AttributeTest(Section):
    """More than a pattern; all that is given must hold of one and the same value."""

    regex: str | None = Field(None, min_length=1, max_length=MAX_REGEX, description="RE2 syntax.")
    min: StrictInt | StrictFloat | _Text | None = Field(
        None, description="The least, as the attribute writes it."
    )
    max: StrictInt | StrictFloat | _Text | None = Field(
        None, description="The most, as the attribute writes it."
    )
    present: StrictBool | None = Field(None, description="Whether it is there and has a value.")

    @field_validator("min", "max", mode="before")
    @classmethod
    def _as_dicom(cls, value: object) -> object:
        """Dates and times of TOML, as DICOM writes them (PS3.5 Section 6.2)."""
        if isinstance(value, dt.datetime):
            return value.strftime("%Y%m%d%H%M%S")
        if isinstance(value, dt.date):
            return value.strftime("%Y%m%d")
        return value.strftime("%H%M%S") if isinstance(value, dt.time) else value

    @model_validator(mode="after")
    def _some(self) -> AttributeTest:
        if self.regex is None and self.min is None and self.max is None and self.present is None:
            raise ValueError("say regex, min, max or present")
        if self.present is False and not (self.regex is None and self.min is None and self.max is None):
            raise ValueError("present = false stands alone: what is not there has no value")
        return self


class RuleCondition(Section):
    """All that is given must hold; a list means any of them; * and ? are wildcards."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    modality: Pattern | list[Pattern] | None = Field(None, description="Modality (0008,0060).")
    source_ae_title: Pattern | list[Pattern] | None = Field(None, description="AE title that sent it to us.")
    called_ae_title: Pattern | list[Pattern] | None = Field(None, description="AE title it was sent to.")
    sop_class_uid: Pattern | list[Pattern] | None = Field(None, description="SOP Class UID (0008,0016).")
    transfer_syntax_uid: Pattern | list[Pattern] | None = Field(
        None, description="Transfer syntax that it came in."
    )
    peer: str | list[str] | None = Field(
        None, description="Address that it came from, or a network such as 10.0.0.0/24."
    )
    bytes: RangeSettings | None = Field(None, description="Size of the data set; of many, their sum.")
    instances: RangeSettings | None = Field(
        None, description="How many instances a series or a study has; of an instance 1."
    )
    time: list[str] | None = Field(
        None, max_length=24, description='Local time of the decision: ["07:00-18:00"], more than one allowed.'
    )
    weekday: list[Weekday] | None = Field(None, description='Local weekday of the decision: "mon" to "sun".')
    attributes: dict[AttributeName, StrictInt | StrictFloat | _Text | list[_Text] | AttributeTest] = Field(
        {},
        max_length=64,
        description="Attributes by keyword or tag: a pattern, a list of them, a number, or a table with `regex`, `min`, `max`, "
        "`present`.",
    )
    all_of: list[RuleCondition] | None = Field(
        None, alias="all", max_length=64, description="Conditions that must all hold."
    )
    any_of: list[RuleCondition] | None = Field(
        None, alias="any", max_length=64, description="Conditions of which one must hold."
    )
    not_: RuleCondition | None = Field(None, alias="not", description="A condition that must not hold.")

    @field_validator("peer")
    @classmethod
    def _networks(cls, value: str | list[str] | None) -> str | list[str] | None:
        for text in [value] if isinstance(value, str) else value or ():
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ValueError(f"{text!r} is no IP address, and no network such as 10.0.0.0/24") from None
        return value

    @field_validator("time")
    @classmethod
    def _windows(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else [str(parse_window(text)) for text in value]


class RuleSettings(Section):
    """Where instances go."""

    name: Annotated[str, StringConstraints(max_length=64, pattern=r"^[\x20-\x7e]*$")] = Field(
        "", description="What people call it, in messages and reports."
    )
    trigger: Literal["instance", "series", "study"] = Field(
        "instance",
        description="When it is asked: of each instance as it arrives, or of a series or a study when the study is complete.",
    )
    when: RuleCondition = Field(RuleCondition(), description="What the rule is for; left out, for all.")
    send_to: list[Name] = Field([], description="Names of destinations; none: to the archive only.")
    priority: Literal["urgent", "normal", "bulk"] = Field("normal", description="Which queue it takes.")
    delay_s: float = Field(0, strict=True, ge=0, le=86_400, description="What it sends begins so much later.")
    windows: list[str] = Field(
        [],
        max_length=24,
        description='What it sends begins within these local times: ["22:00-06:00"]; none: at once.',
    )
    edits: Name | None = Field(
        None, description="The profile of [[edits]] by which what it sends is changed; none: as it arrived."
    )
    archive: StrictBool | None = Field(
        None,
        description="Whether it is archived; of several rules one that says true wins. None: as archive.enabled.",
    )
    renditions: list[Literal["thumbnail", "preview", "htj2k", "jpeg-ls"]] = Field(
        [], description="What the frames worker makes of it, beside [[renditions.rules]]."
    )
    prefetch: Name | None = Field(None, description="The name of the [[pulls]] that is to be made for it.")
    stop: StrictBool = Field(False, description="No rule behind this one is asked where it matches.")

    @field_validator("windows")
    @classmethod
    def _windows(cls, value: list[str]) -> list[str]:
        return [str(parse_window(text)) for text in value]

    @model_validator(mode="after")
    def _agree(self) -> RuleSettings:
        if self.trigger != "instance":
            for key, given in (("archive", self.archive is not None), ("renditions", bool(self.renditions))):
                if given:
                    raise ValueError(
                        f'{key}: trigger = "{self.trigger}" comes too late for it: the instances are archived by then'
                    )
        if not self.send_to:
            for key, given in (
                ("edits", self.edits is not None),
                ("delay_s", self.delay_s > 0),
                ("windows", bool(self.windows)),
            ):
                if given:
                    raise ValueError(f"{key}: the rule sends nothing: name destinations in send_to")
        if depth_of(self.when) > MAX_DEPTH:
            raise ValueError(f"when: all, any and not stand more than {MAX_DEPTH} deep in each other")
        return self


def depth_of(when: RuleCondition) -> int:
    """How deep its trees are; 1 without any."""
    below = [*(when.all_of or ()), *(when.any_of or ()), *([when.not_] if when.not_ else ())]
    return 1 + max(map(depth_of, below), default=0)


class RuleChangeSettings(Section):
    """What `dicomrelay rules activate` looks at before it puts other rules in force."""

    days: float = Field(7, gt=0, le=365, description="How far back it asks what would have been decided.")
    max_percent: float = Field(
        10, ge=0, le=100, description="It refuses when more of the decisions would be others, unless forced."
    )


RuleCondition.model_rebuild()
