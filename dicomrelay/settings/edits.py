"""The section [[edits]]: what is changed in copies on their way out (docs/design/edits.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from dicomrelay.settings.edit_targets import refuse_source, refuse_target, refuse_value
from dicomrelay.settings.fields import Name, Section
from dicomrelay.settings.rules import AttributeName

_Value = Annotated[str, StringConstraints(max_length=10_240)]
_Option = Literal[
    "clean_descriptors",
    "clean_structured_content",
    "full_dates",
    "modified_dates",
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "retain_safe_private",
]
_NOT_OFFERED: Final = ("clean_pixel_data", "clean_recognizable_visual_features", "clean_graphics")
_SAFE_PRIVATE: Final = re.compile(r"\(([0-9A-Fa-f]{3}[13579BDFbdf]),[xX]{2}([0-9A-Fa-f]{2})\) (\S.{0,63})")


class MapSettings(Section):
    """Values of one attribute, and what stands for each."""

    attribute: AttributeName = Field(description="Keyword of PS3.6, or tag.")
    values: dict[str, _Value] = Field(min_length=1, description='{ "what arrived" = "what goes out" }.')
    otherwise: Literal["keep", "empty", "remove", "refuse"] = Field(
        "keep",
        description='Of a value that is not there: "keep" it as it is by then, "empty" or "remove" it, or "refuse" the instance.',
    )

    @field_validator("attribute")
    @classmethod
    def _can_be(cls, value: str) -> str:
        refuse_target(value)
        return value

    @model_validator(mode="after")
    def _values_fit(self) -> MapSettings:
        for value in self.values.values():
            refuse_value(self.attribute, value)
        return self


class DeidentifySettings(Section):
    """PS3.15 Annex E."""

    profile: Literal["basic"] = Field(
        "basic", description="The Basic Application Level Confidentiality Profile."
    )
    options: list[_Option] = Field(
        [], description="Its options, by what they do (docs/design/edits.md#the-table)."
    )
    key_file: Path = Field(
        description="File with the secret that maps UIDs, ids and dates, 32 bytes or more; "
        "`dicomrelay edits key FILE` makes one. Keep a copy: without it nothing that comes later matches."
    )
    shift_days: int = Field(
        3650, ge=1, le=36_500, description="modified_dates: how many days dates go back, at most."
    )
    words: list[str] = Field(
        [], max_length=100_000, description="clean_descriptors: the words that stay; case does not count."
    )
    safe_private: list[str] = Field(
        [],
        max_length=10_000,
        description='retain_safe_private: what stays beside that which (0008,0300) names, as "(0019,xx0C) SIEMENS MR HEADER".',
    )
    burned_in: Literal["refuse", "refuse_yes", "send"] = Field(
        "refuse",
        description='Pictures that may name the patient: "refuse" where it is said, or usual and not denied; "refuse_yes" where '
        'Burned In Annotation (0028,0301) is YES; "send" all.',
    )

    names_left: Literal["refuse", "send"] = Field(
        "refuse",
        description="A value that stays and holds the patient's id or a part of the name, of four characters or more: "
        '"refuse", or "send" for a patient whose name is a word like others. A replaced UID that is left is always refused.',
    )

    @field_validator("options", mode="before")
    @classmethod
    def _offered(cls, value: object) -> object:
        for name in value if isinstance(value, list) else ():
            if name in _NOT_OFFERED:
                raise ValueError(f"{name} cannot be had: nothing here can see what is in a picture")
        return value

    @field_validator("options")
    @classmethod
    def _agree(cls, value: list[_Option]) -> list[_Option]:
        if "full_dates" in value and "modified_dates" in value:
            raise ValueError("full_dates and modified_dates: dates stay, or are moved; say one of them")
        return value

    @field_validator("safe_private")
    @classmethod
    def _safe(cls, value: list[str]) -> list[str]:
        for text in value:
            if safe_private_parts(text) is None:
                raise ValueError(f'{text!r}: say it as "(0019,xx0C) CREATOR", with an odd group')
        return value

    @field_validator("key_file")
    @classmethod
    def _own_folder(cls, value: Path) -> Path:
        return value.expanduser()

    @model_validator(mode="after")
    def _used(self) -> DeidentifySettings:
        cleans = {"clean_descriptors", "retain_device_identity", "retain_patient_characteristics"}
        if self.words and not cleans & set(self.options):
            raise ValueError(f"words: no option cleans descriptions; add one of {', '.join(sorted(cleans))}")
        if self.safe_private and "retain_safe_private" not in self.options:
            raise ValueError("safe_private: add the option retain_safe_private")
        return self


class EditSettings(Section):
    """A profile: what is changed in copies that go to a destination, or by a rule."""

    name: Name = Field(description="Its name.")
    deidentify: DeidentifySettings | None = Field(None, description="De-identification; it comes first.")
    remove: list[AttributeName] = Field(
        [], description="Attributes that are left out, in sequences too: keywords of PS3.6, or tags."
    )
    copies: dict[AttributeName, AttributeName] = Field(
        {}, alias="copy", description="{ what is changed = where its value comes from }."
    )
    map: list[MapSettings] = Field([], description="Values that others stand for.")
    set: dict[AttributeName, _Value] = Field({}, description='{ attribute = "value" }; "" leaves it empty.')
    private: Literal["keep", "remove"] = Field(
        "keep",
        description="What becomes of private elements. Where it de-identifies, the option retain_safe_private says so.",
    )

    @model_validator(mode="after")
    def _can_be(self) -> EditSettings:
        if self.deidentify is not None and "private" in self.model_fields_set:
            raise ValueError("private: with deidentify they go, but for the option retain_safe_private")
        for name in self.remove:
            refuse_target(name, removes=True)
        for target, source in self.copies.items():
            refuse_target(target)
            refuse_source(source)
        for target, value in self.set.items():
            refuse_target(target)
            refuse_value(target, value)
        return self

    @property
    def maps_uids(self) -> bool:
        """Whether copies have other UIDs than what arrived."""
        return self.deidentify is not None and "retain_uids" not in self.deidentify.options


def safe_private_parts(text: str) -> tuple[int, int, str] | None:
    """Group, last two digits of the element, creator; None of what is no such text."""
    found = _SAFE_PRIVATE.fullmatch(text)
    return None if found is None else (int(found[1], 16), int(found[2], 16), found[3].strip())
