"""Which form of an object a client takes: the Accept header against what is stored (PS3.18 Section 8.7)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from streamer.answers import HttpError, Scope, header_values

OCTET_STREAM: Final = "application/octet-stream"
DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
ZIP: Final = "application/zip"
MULTIPART: Final = "multipart/related"
_LONGEST_HEADER: Final = 4096
_MOST_PARAMETERS: Final = 256
_TYPE: Final = re.compile(r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+", re.ASCII)
_BETWEEN: Final = re.compile(r'[\s;,="]+')
# Each is looked for at one place only, so that the time taken is that of the length.
_ENTRY: Final = re.compile(r'(?:[^",]|"[^"]*")+')
_NAME: Final = re.compile(r"([^;\s]+)\s*")
_PARAMETER: Final = re.compile(r';\s*(?:([\w-]+)\s*=\s*(?:"([^"]*)"|([^;"\s]*)))?\s*')

# PS3.18 Table 8.7.3-5.
_FRAME_TYPES: Final = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header; names in lower case."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What is sent: the media type of a part, whether it comes in a multipart message, in which syntax ("": as stored)."""

    part_type: str
    is_multipart: bool
    transfer_syntax_uid: str = ""


def wanted(scope: Scope) -> list[MediaRange]:
    """What a request wants, by the `accept` parameters of its URL, else by its Accept fields (PS3.18 Section 8.3.3.1).

    Raises
    ------
    HttpError
        400: there is something, and not one media range in it.
    """
    values = header_values(scope, b"accept")
    if b"accept=" in scope["query_string"]:
        text = scope["query_string"].decode("latin-1")
        asked = [
            value for name, value in parse_qsl(text, max_num_fields=_MOST_PARAMETERS) if name == "accept"
        ]
        # A plus sign that was not encoded has become a space: application/dicom+json.
        values = [value.replace("dicom json", "dicom+json") for value in asked] or values
    return ranges_of(values)


def ranges_of(values: Sequence[str]) -> list[MediaRange]:
    """`parse_accept` of fields that must make sense. Raises HttpError 400."""
    ranges = parse_accept(values)
    if not ranges and any(value.strip() and not _has_type(value[:_LONGEST_HEADER]) for value in values):
        raise HttpError(400, f"Accept: {values[0][:80]!r} has no media range such as application/dicom")
    return ranges


def parse_accept(values: Iterable[str]) -> list[MediaRange]:
    """The ranges of Accept headers, the most wanted first. What is malformed, or behind 4 KiB of them all, is left out.

    Those that are not wanted (q=0) are left out too, unless there are no others: then nothing is wanted.
    """
    found: list[MediaRange] = []
    left = _LONGEST_HEADER
    for value in values:
        found += filter(None, map(_range, _ENTRY.findall(value[:left])))
        left -= len(value)
        if left <= 0:
            break
    wanted = [entry for entry in found if entry.quality > 0]
    return sorted(wanted, key=lambda entry: -entry.quality) or found


def _range(text: str) -> MediaRange | None:
    """One entry; None when it is malformed."""
    text = text.strip()
    found = name = _NAME.match(text)
    pairs: dict[str, str] = {}
    while found is not None and found.end() < len(text):
        found = _PARAMETER.match(text, found.end())
        if found is not None and found[1]:
            pairs[found[1].lower()] = found[2] or found[3] or ""
    if found is None or name is None:
        return None
    return MediaRange(name[1].lower(), pairs, _quality(pairs.pop("q", "1")))


def _has_type(text: str) -> bool:
    return any(_TYPE.fullmatch(part) for part in _BETWEEN.split(text))


def frame_type(transfer_syntax_uid: str) -> str:
    """The media type of a bare frame stored in a transfer syntax."""
    return _FRAME_TYPES.get(transfer_syntax_uid, OCTET_STREAM)


def served_transfer_syntax(transfer_syntax_uid: str) -> str:
    """What a bare frame is in: native frames are all served as explicit VR little endian has them (PS3.18 Section 8.7.3.3)."""
    native = not transfer_syntax(transfer_syntax_uid).is_encapsulated
    return EXPLICIT_VR_LITTLE_ENDIAN if native else transfer_syntax_uid


def choose(
    ranges: list[MediaRange],
    *,
    types: tuple[str, ...],
    syntax_uid: str,
    may_be_single: bool,
    made: Collection[str] = (),
    whole: str = "",
) -> Choice | None:
    """The first form wanted that we have; None when there is none.

    Parameters
    ----------
    types : tuple of str
        Media types that fit what is stored, the natural one first.
    syntax_uid : str
        The transfer syntax that is sent; "" when there are several of them.
    may_be_single : bool
        Whether the answer can do without a multipart message.
    made : collection of str
        Transfer syntaxes that it can be sent in besides. An octet stream without a syntax is in Explicit VR Little Endian
        then (PS3.18 Section 8.7.3.3.2).
    whole : str
        A media type that holds all of it in one.
    """
    if not ranges:
        return Choice(types[0], is_multipart=True)
    for entry in ranges:
        if not entry.quality:
            continue
        if entry.name in {"*/*", "multipart/*"}:
            return Choice(types[0], is_multipart=True)
        is_multipart = entry.name == MULTIPART
        asked = entry.parameters.get("transfer-syntax")
        if whole and entry.name == whole and asked in {None, "", "*", syntax_uid, *made}:
            return Choice(whole, is_multipart=False, transfer_syntax_uid=_other(asked, syntax_uid))
        if not is_multipart and not may_be_single:
            continue
        wanted_type = entry.parameters.get("type", "*/*").lower() if is_multipart else entry.name
        if asked is None and wanted_type == OCTET_STREAM and EXPLICIT_VR_LITTLE_ENDIAN in made:
            asked = EXPLICIT_VR_LITTLE_ENDIAN
        if asked in {None, "", "*", syntax_uid}:
            fits = next((name for name in types if _covers(wanted_type, name)), None)
            if fits:
                return Choice(fits, is_multipart)
        elif asked in made:
            fits = types[0] if types[0] == DICOM else frame_type(asked)
            if _covers(wanted_type, fits):
                return Choice(fits, is_multipart, asked)
    return None


def _other(asked: str | None, syntax_uid: str) -> str:
    return "" if asked in {None, "", "*", syntax_uid} else str(asked)


def accepts(ranges: list[MediaRange], *types: str) -> bool:
    """Whether one of the types is taken; without a header all are."""
    wanted = [entry.name for entry in ranges if entry.quality]
    return not ranges or any(_covers(each, name) for each in wanted for name in types)


def _covers(wanted: str, name: str) -> bool:
    return wanted in {"*/*", name} or (wanted.endswith("/*") and name.startswith(wanted[:-1]))


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0
