"""What the key makes of UIDs, ids and dates: HMAC-SHA-256 (RFC 2104), nothing stored, the same for ever.

Whatever is made carries a proof that it is ours, so that what comes by twice is left as it is.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomrelay.errors import ConfigurationError

MIN_KEY_BYTES: Final = 32
_MAX_KEY_BYTES: Final = 65_536
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # base 32, RFC 4648 Section 6
_OF_THE_STANDARD: Final = "1.2.840.10008."
_OURS: Final = "2.25."
_UID_BITS, _UID_PROOF_BITS = 82, 40
_LOW_62: Final = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """A kind of id: the letter that it begins with, its characters, and how many of its bits prove that it is ours."""

    letter: str
    characters: int
    proof_bits: int

    @property
    def bits(self) -> int:
        """Of the characters behind the letter."""
        return 5 * (self.characters - 1)


# VR LO has 64 characters and VR SH 16 (PS3.5 Table 6.2-1).
PATIENT: Final = Pseudonym("P", 20, 40)
ACCESSION: Final = Pseudonym("A", 16, 20)
STUDY: Final = Pseudonym("S", 16, 20)


@dataclass(frozen=True, slots=True)
class Key:
    """The secret and what it makes."""

    secret: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Key:
        """The key in a file; white space around it does not count.

        Raises
        ------
        ConfigurationError
            It cannot be read, or is too short.
        """
        try:
            with path.open("rb") as file:
                secret = file.read(_MAX_KEY_BYTES).strip()
        except OSError as error:
            raise ConfigurationError(f"{path}: the key cannot be read: {error.strerror}") from error
        if len(secret) < MIN_KEY_BYTES:
            raise ConfigurationError(
                f"{path}: a key has {MIN_KEY_BYTES} bytes or more, this has {len(secret)}: dicomrelay edits key {path}"
            )
        return cls(secret)

    @property
    def fingerprint(self) -> str:
        """Names the key and does not give it away."""
        return self._digest("fingerprint").hex()[:16]

    # ---- UIDs

    def uid(self, uid: str) -> str:
        """What stands for a UID; those of the standard and those that are ours stay."""
        if not uid or uid.startswith(_OF_THE_STANDARD) or self.is_our_uid(uid):
            return uid
        body = _bits(self._digest("uid", uid), _UID_BITS)
        return _OURS + str(_as_uuid(body << _UID_PROOF_BITS | self._proof("uid", body, _UID_PROOF_BITS)))

    def is_our_uid(self, uid: str) -> bool:
        """Whether this key made it."""
        digits = uid.removeprefix(_OURS)
        if digits == uid or not (digits.isascii() and digits.isdigit()) or len(digits) > 39:
            return False
        value = _of_uuid(int(digits))
        if value is None:
            return False
        body, proof = value >> _UID_PROOF_BITS, value & ((1 << _UID_PROOF_BITS) - 1)
        return proof == self._proof("uid", body, _UID_PROOF_BITS)

    # ---- ids

    def pseudonym(self, kind: Pseudonym, *parts: str) -> str:
        """What stands for an id; one that is ours stays, and nothing stays nothing."""
        if not parts[0] or self.is_pseudonym(kind, parts[0]):
            return parts[0]
        body = _bits(self._digest(f"id {kind.letter}", *parts), kind.bits - kind.proof_bits)
        value = body << kind.proof_bits | self._proof(kind.letter, body, kind.proof_bits)
        places = range(kind.bits - 5, -1, -5)
        return kind.letter + "".join(_LETTERS[value >> place & 31] for place in places)

    def is_pseudonym(self, kind: Pseudonym, text: str) -> bool:
        """Whether this key made it."""
        if len(text) != kind.characters or text[0] != kind.letter or not set(text[1:]) <= set(_LETTERS):
            return False
        value = 0
        for letter in text[1:]:
            value = value << 5 | _LETTERS.index(letter)
        body, proof = value >> kind.proof_bits, value & ((1 << kind.proof_bits) - 1)
        return proof == self._proof(kind.letter, body, kind.proof_bits)

    # ---- dates

    def days(self, patient: str, most: int) -> int:
        """By how many days a patient's dates go back: 1 to `most`."""
        return 1 + _bits(self._digest("days", patient), 64) % most

    # ---- bits

    def _digest(self, label: str, *parts: str) -> bytes:
        """Of a label and parts, none of which can be taken for the end of another."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in map(str.encode, (label, *parts)))
        return hmac.digest(self.secret, message, hashlib.sha256)

    def _proof(self, label: str, body: int, bits: int) -> int:
        return _bits(self._digest(f"proof {label}", str(body)), bits)


def _bits(digest: bytes, count: int) -> int:
    return int.from_bytes(digest, "big") >> (8 * len(digest) - count)


def _as_uuid(value: int) -> int:
    """122 bits as a UUID of version 8, whose meaning is its maker's (RFC 9562 Section 5.8)."""
    high, middle, low = value >> 74, value >> 62 & 0xFFF, value & _LOW_62
    return high << 80 | 0x8 << 76 | middle << 64 | 0b10 << 62 | low


def _of_uuid(number: int) -> int | None:
    """The 122 bits; None of what is no such UUID."""
    if number >> 128 or number >> 76 & 0xF != 0x8 or number >> 62 & 0b11 != 0b10:
        return None
    return (number >> 80) << 74 | (number >> 64 & 0xFFF) << 62 | number & _LOW_62
