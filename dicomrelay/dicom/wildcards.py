"""Patterns with * and ?, as the settings have them: wild card matching of PS3.4 Section C.2.2.2.4 and nothing else.

No regular expression: one for 1.2*1*1*1*2 tries all ways to share out what its stars take, which are seconds for one UID
that a peer may choose. Here a star that does not fit takes one character more, and those before it are settled: at
most as many steps as pattern times text has characters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wildcards:
    """A pattern: * is any number of any characters, also none, ? exactly one; upper case is not lower case."""

    pattern: str

    def matches(self, text: str) -> bool:
        """Whether the pattern is the whole text."""
        pattern = self.pattern
        at = position = 0
        star, taken_to = -1, 0  # the last star, and up to where it takes
        while position < len(text):
            wanted = pattern[at : at + 1]
            if wanted == "*":
                star, taken_to = at, position
                at += 1
            elif wanted and wanted in ("?", text[position]):
                at += 1
                position += 1
            elif star >= 0:
                taken_to += 1
                at, position = star + 1, taken_to
            else:
                return False
        return not pattern[at:].strip("*")
