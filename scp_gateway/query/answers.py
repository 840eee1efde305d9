"""A row of the index as the identifier of an answer, in bytes (PS3.4 Section C.4.1.1.3.2). Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydicom.dataset import Dataset

from dicomrelay.dicom.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.dimse.flat_identifier import encode_elements
from dicomrelay.dimse.identifier import decode_identifier, encode_identifier
from dicomrelay.dimse.identifier_buffer import UTF_8
from dicomrelay.errors import ConfigurationError
from scp_gateway.query.character_sets import UNICODE, CharacterSet
from scp_gateway.query.question import FindQuery

_CHARACTER_SET: Final = 0x00080005
_US: Final = struct.Struct("<H")
# What the length of a short VR can say.
_LONGEST_BYTES: Final = 65_534
_CONSTANT_VRS: Final = {0x00080052: "CS", 0x00080054: "AE", 0x00080056: "CS"}

_Text = tuple[int, str, str]


class AnswerWriter:
    """Writes the answers to one query."""

    def __init__(self, query: FindQuery, transfer_syntax_uid: str) -> None:
        self._query = query
        self._syntax = transfer_syntax_uid
        self._is_implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
        self._constants: list[_Text] = [
            (tag, _CONSTANT_VRS[tag], value) for tag, value in query.constants.items()
        ]

    def identifier(self, row: Mapping[str, Any], beside: Dataset | None = None) -> bytes:
        """The bytes of one answer. What is wanted and not there is empty.

        Parameters
        ----------
        beside : Dataset, optional
            What was looked up in a stored instance.

        Its text is in the character set of the request, else in UTF-8; where all of it is ASCII, and the request named no
        set, none is named here.
        """
        texts = list(self._constants)
        elements: list[tuple[int, str, bytes]] = []
        for attribute in self._query.wanted:
            value = row.get(attribute.keyword)
            if attribute.vr == "US":
                elements.append(
                    (attribute.tag, "US", b"" if value is None else _US.pack(int(value) & 0xFFFF))
                )
            else:
                texts.append((attribute.tag, attribute.vr, _text(value)))
        character_set, encoded = _encoded(texts, self._query.character_set)
        if character_set.names:
            elements.append((_CHARACTER_SET, "CS", "\\".join(character_set.names).encode("ascii")))
        flat = encode_elements([*elements, *encoded], implicit=self._is_implicit)
        return flat if not beside else self._joined(flat, beside)

    def _joined(self, flat: bytes, beside: Dataset) -> bytes:
        answer = decode_identifier(flat, self._syntax)
        answer.update(beside)
        names = self._query.character_set.names
        if names and answer.get("SpecificCharacterSet") != UTF_8:
            answer.SpecificCharacterSet = list(names)
            try:
                return encode_identifier(answer, self._syntax)
            except ConfigurationError:  # it has characters that are not in the set
                pass
        answer.SpecificCharacterSet = UTF_8
        return encode_identifier(answer, self._syntax)


def _encoded(
    texts: Sequence[_Text], character_set: CharacterSet
) -> tuple[CharacterSet, list[tuple[int, str, bytes]]]:
    found: list[tuple[int, str, bytes]] = []
    for tag, vr, text in texts:
        value = character_set.encoded(text, vr)
        if value is None and character_set is not UNICODE:
            return _encoded(texts, UNICODE)
        # What is ASCII by the standard and is not so in the data set: the answer has no way to say it.
        found.append((tag, vr, value if value is not None else text.encode("ascii", "replace")))
    return character_set, found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, list | tuple):
        return str(value)
    texts = list(map(str, value))
    while sum(map(len, texts)) + len(texts) > _LONGEST_BYTES:
        texts.pop()
    return "\\".join(texts)
