"""The section of modality performed procedure steps (docs/design/mpps.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dicomrelay.settings.fields import AeTitle, Name, Pattern, Port, Section
from dicomrelay.settings.identity import DestinationIdentitySettings
from dicomrelay.settings.tls import DestinationTlsSettings


class StepDestinationSettings(Section):
    """A system that gets the messages about performed procedure steps too, such as a RIS."""

    name: Name = Field(description="Our name for it: lower case letters, digits, - and _.")
    ae_title: AeTitle = Field(description="The AE title that we call.")
    host: str = Field(min_length=1, max_length=253, description="Host name or address.")
    port: Port = Field(104, description="TCP port.")
    calling_ae_title: AeTitle | None = Field(
        None, description="What we call ourselves; by default gateway.ae_title."
    )
    modalities: list[Pattern] = Field(
        [],
        max_length=100,
        description="Only steps of these modalities; * and ? are wildcards. None: all.",
    )
    connect_timeout_s: float = Field(10, gt=0, le=3600, description="Time to connect.")
    response_timeout_s: float = Field(60, gt=0, le=3600, description="Time for it to answer a message.")
    retry_initial_s: float = Field(
        5, gt=0, le=86_400, description="Wait before the second attempt; doubles with each one after."
    )
    retry_max_s: float = Field(600, gt=0, le=86_400, description="The longest wait between attempts.")
    retry_attempts: int = Field(
        1000, ge=1, le=1_000_000, description="Attempts before a message needs attention."
    )
    identity: DestinationIdentitySettings | None = Field(
        None, description="User identity to show there; none: no identity."
    )
    tls: DestinationTlsSettings | None = Field(
        None, description="TLS: `true` with the authorities of the system, or a table."
    )

    @field_validator("tls", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        return ({} if value else None) if isinstance(value, bool) else value


class PerformedStepSettings(Section):
    """Modality Performed Procedure Step: what modalities say of what they do."""

    enabled: bool = Field(True, description="Take N-CREATE, N-SET and N-GET of performed procedure steps.")
    strict: bool = Field(
        True,
        description="Refuse a step that lacks an attribute of type 2 (PS3.4 Table F.7.2-1), has a code without its meaning, or "
        "is DISCONTINUED without a series; `false` for modalities that leave them out. Others of type 1 are always wanted.",
    )
    others_may: list[Literal["set", "get"]] = Field(
        [],
        description="What an AE title may ask of a step that another one has made: N-SET, N-GET. By default nothing: a step "
        "is changed and read by who made it.",
    )
    max_bytes_per_day: int = Field(
        1_000_000_000,
        ge=1_000_000,
        description="Bytes of messages that are taken in 24 hours from the peers of one entry of [[peers]], and from those of "
        "none; over it each is answered 0213, resource limitation.",
    )
    keep_days: float = Field(
        365, ge=1, le=36_500, description="Steps that are over, and have gone everywhere, for so long."
    )
    destinations: list[StepDestinationSettings] = Field(
        [], description="Who gets every message too, in the order in which it came."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> PerformedStepSettings:
        names = [each.name for each in self.destinations]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"destinations: the name {min(twice)!r} stands twice")
        return self
