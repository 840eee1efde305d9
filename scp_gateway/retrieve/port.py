"""What a move has to ask the ledger: whether somebody holds a destination, and its turn on a line with a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Whether a destination of that name is held; None when nobody can say now.
Held = Callable[[str], bool | None]
# Books so many bytes at so many bytes a second on the line to a destination; how long to wait, in milliseconds, or None
# when nobody can say now.
Book = Callable[[str, int, int], int | None]


def nothing_is_held(_name: str) -> bool | None:
    """Without a ledger there is nobody who could hold anything."""
    return False


def nobody_books(_name: str, _count: int, _bytes_per_s: int) -> int | None:
    """Without a ledger a line is shared among the moves of this process only."""
    return None


@dataclass(frozen=True, slots=True)
class MovePort:
    """What the gateway has to be given for moves; both may take their time, and raise nothing."""

    held: Held = nothing_is_held
    book: Book = nobody_books
