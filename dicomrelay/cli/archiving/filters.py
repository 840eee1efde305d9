"""What is asked for: options that become matches of the index, and what a command says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

from archive.attributes import ATTRIBUTES, Level
from archive.index.conditions import is_universal, level_of
from archive.values import Selection
from dicomrelay.cli.archiving.columns import LEVELS
from dicomrelay.cli.archiving.dates import date_range
from dicomrelay.cli.archiving.words import LEVEL_NAMES
from dicomrelay.dicom.uid_dictionary import UID_DICTIONARY
from dicomrelay.dicom.uids import is_tolerable_uid
from dicomrelay.dimse.query_keys import parse_key
from dicomrelay.errors import ConfigurationError

_PATTERN: Final = "* and ? are wildcards, upper and lower case are the same."
_DATES: Final = "YYYYMMDD, or a range: 20240101-20240131, 20240101-, -20240131."


@dataclass(frozen=True, slots=True)
class _Filter:
    """An option and the attribute that it asks for."""

    option: str
    keyword: str
    level: Level
    metavar: str
    text: str
    other_names: tuple[str, ...] = ()

    @property
    def parameter(self) -> str:
        return self.option.removeprefix("--").replace("-", "_")


_FILTERS: Final = (
    _Filter("--patient-name", "PatientName", Level.STUDY, "PATTERN", f"Patient's name, FAMILY^GIVEN; {_PATTERN}"),
    _Filter("--patient-id", "PatientID", Level.STUDY, "PATTERN", "Patient ID; wildcards too."),
    _Filter("--birth-date", "PatientBirthDate", Level.STUDY, "DATE", "Patient's birth date, or a range."),
    _Filter("--study-date", "StudyDate", Level.STUDY, "DATE", f"Date of the study: {_DATES}"),
    _Filter("--accession-number", "AccessionNumber", Level.STUDY, "PATTERN", "Accession number; wildcards too."),
    _Filter(
        "--description", "StudyDescription", Level.STUDY, "PATTERN", "Description of the study; wildcards too.",
        ("--study-description",),
    ),
    _Filter(
        "--modality", "Modality", Level.STUDY, "MODALITY",
        "Modality, such as CT; of a study, one of its modalities.",
    ),
    _Filter(
        "--series-description", "SeriesDescription", Level.SERIES, "PATTERN",
        "Description of the series; wildcards too.",
    ),
    _Filter("--body-part", "BodyPartExamined", Level.SERIES, "PATTERN", "Body part examined; wildcards too."),
    _Filter(
        "--sop-class", "SOPClassUID", Level.INSTANCE, "UID|KEYWORD", "SOP class, such as CTImageStorage.",
    ),
)  # fmt: skip
_UIDS: Final = (
    _Filter("--study-uid", "StudyInstanceUID", Level.STUDY, "UID", "Study Instance UID. Repeatable."),
    _Filter("--series-uid", "SeriesInstanceUID", Level.SERIES, "UID", "Series Instance UID. Repeatable."),
    _Filter(
        "--sop-uid", "SOPInstanceUID", Level.INSTANCE, "UID", "SOP Instance UID. Repeatable.",
        ("--sop-instance-uid",),
    ),
)  # fmt: skip
# Codes are written in capitals (PS3.5 Section 6.2, CS).
_CODES: Final = frozenset({"Modality", "BodyPartExamined"})
_BY_KEYWORD: Final = {attribute.keyword: attribute for attribute in ATTRIBUTES}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the filters of one call say.

    Attributes
    ----------
    matches : mapping
        By keyword, as the index takes them; UIDs are parted by a backslash.
    words : sequence of str
        The filters as they were given, such as "--study-uid 1.2.3".
    """

    matches: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = ()

    @property
    def level(self) -> Level:
        """The level of the most particular filter; STUDY when there is none."""
        return max((_level_of(keyword) for keyword in self.matches), key=LEVELS.index, default=Level.STUDY)

    def at(self, level: Level) -> None:
        """Rows of a level: raise ConfigurationError, with the option and a way out, when they cannot be asked for by a filter."""
        for keyword in self.matches:
            if keyword == "Modality" and level is Level.STUDY:
                continue
            try:
                level_of(level, keyword)
            except ConfigurationError:
                filters = (each for each in (*_FILTERS, *_UIDS) if each.keyword == keyword)
                option = next((each.option for each in filters), f"--key {keyword}")
                own = LEVEL_NAMES[_level_of(keyword)]
                raise ConfigurationError(
                    f"{option}: {level.value} cannot be searched by it: leave --level {LEVEL_NAMES[level]} out, or say "
                    f"--level {own}"
                ) from None

    def selection(self) -> Selection:
        """The same as a choice of instances."""
        matches = dict(self.matches)
        uids = {name: tuple(matches.pop(name, "").split("\\")) for name in _SELECTED}
        patient_id = matches.get("PatientID", "")
        if patient_id and not set("*?") & set(patient_id):
            del matches["PatientID"]
        else:
            patient_id = ""
        return Selection(
            patient_id=patient_id,
            study_uids=_given(uids["StudyInstanceUID"]),
            series_uids=_given(uids["SeriesInstanceUID"]),
            sop_instance_uids=_given(uids["SOPInstanceUID"]),
            matches=matches,
        )

    @property
    def is_everything(self) -> bool:
        """Whether it asks for all there is, in no or in so many words: every value is a bare `*`."""
        return all(is_universal(keyword, value) for keyword, value in self.matches.items())

    def __bool__(self) -> bool:
        return bool(self.matches)

    def __str__(self) -> str:
        return " ".join(self.words)


_SELECTED: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def filter_options(deepest: Level = Level.INSTANCE) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Every filter of a level and those above it, and `--key` for what has no option of its own."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option(
            "-k",
            "--key",
            "keys",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any other attribute that the index has, by keyword or tag, such as StationName=CT1. Repeatable.",
        )(function)
        for each in reversed((*_FILTERS, *_UIDS)):
            if LEVELS.index(each.level) <= LEVELS.index(deepest):
                function = click.option(
                    each.option,
                    *each.other_names,
                    each.parameter,
                    multiple=each in _UIDS,
                    metavar=each.metavar,
                    help=each.text,
                )(function)
        return function

    return decorate


def asked(options: Mapping[str, Any]) -> Asked:
    """What the options of a call ask for; takes what `filter_options` gives.

    Raises
    ------
    ConfigurationError
        A date, a UID or a key that is none; the message names the option.
    """
    matches: dict[str, str] = {}
    words: list[str] = []
    for each in _FILTERS:
        text = options.get(each.parameter)
        if text is not None:
            matches[each.keyword] = _value(each, text)
            words.append(f"{each.option} {text}")
    for each in _UIDS:
        given = options.get(each.parameter) or ()
        if given:
            matches[each.keyword] = "\\".join(uid_given(each.option, text) for text in given)
            words += [f"{each.option} {text}" for text in given]
    for text in options.get("keys") or ():
        keyword, value = _key(text)
        matches[keyword] = value
        words.append(f"--key {text}")
    return Asked(matches, words)


def _value(each: _Filter, text: str) -> str:
    if not text.strip():
        raise ConfigurationError(f"{each.option}: is empty; leave it out to ask for everything")
    if each.metavar == "DATE":
        return date_range(each.option, text)
    if each.keyword == "SOPClassUID":
        return _sop_class(each.option, text)
    return text.upper() if each.keyword in _CODES else text


def uid_given(option: str, text: str) -> str:
    """A UID that somebody wrote. Raises ConfigurationError, with the name of the option, when it is none."""
    uid = text.strip()
    if not is_tolerable_uid(uid):
        wildcards = " (a UID takes no wildcards)" if set("*?") & set(uid) else ""
        raise ConfigurationError(
            f"{option} {text!r}: is no UID: digits and dots, at most 64 characters{wildcards}"
        )
    return uid


def _sop_class(option: str, text: str) -> str:
    if is_tolerable_uid(text):
        return text
    for uid, (_name, kind, _info, _retired, keyword) in UID_DICTIONARY.items():
        if kind == "SOP Class" and keyword == text:
            return uid
    raise ConfigurationError(
        f"{option} {text!r}: no UID and no keyword of a SOP class (`dicomrelay sop-classes` lists them)"
    )


def _key(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise ConfigurationError(f"--key {name}: say what it must be: --key {name}=VALUE")
    key = parse_key(text)
    if key.name not in _BY_KEYWORD:
        raise ConfigurationError(
            f"--key {key.name}: the index does not have it; it has {', '.join(sorted(_BY_KEYWORD))}"
        )
    return key.name, value


def _level_of(keyword: str) -> Level:
    # A study is found by the modality of its series.
    return Level.STUDY if keyword == "Modality" else _BY_KEYWORD[keyword].level


def _given(uids: tuple[str, ...]) -> tuple[str, ...]:
    return () if uids == ("",) else uids
