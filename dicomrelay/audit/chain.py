"""Each line of the trail names the one before it by its digest, so that what is changed, taken out or put in is seen.

Whoever owns the home can write the whole trail anew, digests and all. That shows against a digest that was noted elsewhere
before, or against what the audit repository has heard.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

KEY: Final = "before"
_DIGITS: Final = 32
_WITHIN: Final = "does not follow the one before it: lines were changed, taken out or put in between"
# What a restore leaves that joined two trails; and what else takes a file away, or puts one in.
_SEAM: Final = (
    "does not follow the segment before it: segments were changed, taken out or put in between, as by a restore that joined two "
    "trails"
)


def link_of(line: bytes) -> str:
    """What the next line says of this one, which has its end with it: 128 bits of its SHA-256."""
    return hashlib.sha256(line).hexdigest()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the trail is not as it was written."""

    segment: str
    line: int
    words: str


@dataclass(slots=True)
class Checker:
    """Given the lines of a trail in their order, tells where they do not follow each other.

    Attributes
    ----------
    lines : int
        So many were looked at.
    unlinked : int
        Of them say nothing of the line before: torn by a crash or a full disk, or from before lines were linked.
    last : str
        The digest of the last one, to be noted elsewhere.
    breaks : list of Break
        What was found.
    seen : bool
        Whether `wanted` is the digest of one of them.
    """

    wanted: str = ""
    lines: int = 0
    unlinked: int = 0
    last: str = ""
    seen: bool = False
    breaks: list[Break] = field(default_factory=list)

    def look(self, segment: str, number: int, line: bytes) -> None:
        """At the next line."""
        self.lines += 1
        said = _said(line)
        if said is None:
            # Torn, or of a version that did not link: the line behind it says whether it is what was there.
            self.unlinked += 1
        elif self.last and said != self.last:
            self.breaks.append(Break(segment, number, _SEAM if number == 1 else _WITHIN))
        self.last = link_of(line)
        self.seen = self.seen or (bool(self.wanted) and self.last == self.wanted)


def _said(line: bytes) -> str | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    said = found.get(KEY) if isinstance(found, dict) else None
    return said if isinstance(said, str) else None
