"""Which form a store request has, by its Content-Type (PS3.18 Section 10.5.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamer.answers import HttpError
from streamer.media_types import DICOM, DICOM_JSON, MULTIPART

_LONGEST: Final = 1024
_VALUE: Final = r'(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*)'
# One of them at a time: an expression for all parameters at once would try every way to share out what stands between them.
_NAME: Final = re.compile(r"([\w!#$&^.+-]+/[\w!#$&^.+-]+)\s*", re.ASCII)
_PARAMETER: Final = re.compile(rf";\s*(?:([\w-]+)\s*=\s*({_VALUE}))?\s*", re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)")
# RFC 2046 Section 5.1.1, and what clients write beyond it.
_BOUNDARY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """What a body is made of.

    Attributes
    ----------
    part_type : str
        Of its parts, or of the whole of it: application/dicom or application/dicom+json.
    boundary : bytes
        Of a multipart body; empty for a bare one.
    """

    part_type: str
    boundary: bytes = b""


def form_of(values: Sequence[str]) -> Form:
    """The form of a body.

    Parameters
    ----------
    values : sequence of str
        The Content-Type fields.

    Raises
    ------
    HttpError
        415: a type that is not taken. 400: no type at all, or a multipart one without a boundary.
    """
    if len(values) != 1:
        raise HttpError(400, "say once what the body is: Content-Type")
    name, parameters = parsed(values[0])
    if name in {DICOM, DICOM_JSON}:
        return Form(name)
    if name != MULTIPART:
        raise _not_taken(name)
    # The type of the parts says what comes; most clients quote it, some leave it out.
    part_type = parameters.get("type", DICOM).lower()
    if part_type not in {DICOM, DICOM_JSON}:
        raise _not_taken(f"{MULTIPART} of {part_type}")
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise HttpError(400, "Content-Type: multipart/related needs a boundary")
    return Form(part_type, boundary.encode("ascii"))


def parsed(value: str) -> tuple[str, dict[str, str]]:
    """Media type and parameters, names in lower case. Raises HttpError 400."""
    text = value.strip() if len(value) <= _LONGEST else ""
    found = name = _NAME.match(text)
    parameters = {}
    while found is not None and found.end() < len(text):
        found = _PARAMETER.match(text, found.end())
        if found is not None and found[1]:
            parameters[found[1].lower()] = _plain(found[2])
    if found is None or name is None:
        raise HttpError(400, "Content-Type is no media type")
    return name[1].lower(), parameters


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text


def _not_taken(name: str) -> HttpError:
    return HttpError(
        415,
        f"{name[:80]} is not taken: send {MULTIPART} of {DICOM} or of {DICOM_JSON}, or one of those bare",
        headers=((b"accept", f'{MULTIPART}; type="{DICOM}", {MULTIPART}; type="{DICOM_JSON}"'.encode()),),
    )
