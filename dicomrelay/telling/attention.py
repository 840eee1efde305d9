"""Why something needs attention, in words."""

from __future__ import annotations

from typing import Final

from dicomrelay.ledger.values import AttentionKind

WHY: Final = {
    AttentionKind.CONFLICT: "other bytes came first under this UID; both are kept, these in spool/aside",
    AttentionKind.REFUSED: "the destination refused it",
    AttentionKind.GAVE_UP: "the attempts are used up",
    AttentionKind.SUSPECT: "associations end over it",
    AttentionKind.BLOCKED: "no attempt can succeed",
    AttentionKind.ARCHIVE: "it could not be archived",
    AttentionKind.FRAMES: "its frames could not be prepared",
    AttentionKind.UNROUTED: "no rule sends it anywhere and the archive is off",
    AttentionKind.UNVERIFIED: "the destination acknowledged it, and does not confirm that it has it",
}
# What is tried again by itself all the same.
TRIED: Final = {
    AttentionKind.SUSPECT: "It is tried again by itself, last and alone; the peer's log says what it met.",
}
