"""Needs attention: what will not get better by itself, alike things together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dicomrelay.ledger.values import Attention, AttentionKind
from dicomrelay.telling.attention import TRIED, WHY
from dicomrelay.text import shown
from monitor import words
from monitor.beside import lines
from monitor.pages.page import Page

MOST: Final = 1000
_STUDIES: Final = 20
_RETRIED: Final = frozenset(
    {
        AttentionKind.REFUSED,
        AttentionKind.GAVE_UP,
        AttentionKind.SUSPECT,
        AttentionKind.BLOCKED,
        AttentionKind.ARCHIVE,
        AttentionKind.FRAMES,
        AttentionKind.UNVERIFIED,
    }
)
_ADVICE: Final = {
    **TRIED,
    AttentionKind.CONFLICT: "Nothing was lost. Ask the sender which of the two is right; it can be sent under a UID of its own.",
    AttentionKind.REFUSED: "See at the destination why, then retry.",
    AttentionKind.GAVE_UP: "See at the destination why, then retry.",
    AttentionKind.BLOCKED: "Mend what the reason says; it is tried again by itself, and at once by retry.",
    AttentionKind.ARCHIVE: "See whether the archive's disk or bucket is well, then retry.",
    AttentionKind.FRAMES: "It is archived all the same. Retry prepares them again.",
    AttentionKind.UNROUTED: "Add a destination or a rule, then replay the study.",
    AttentionKind.UNVERIFIED: "Look for it at the destination; retry asks again.",
}
# Their transfers are in that state.
_STATED: Final = frozenset({AttentionKind.REFUSED, AttentionKind.GAVE_UP})


@dataclass(frozen=True, slots=True)
class Group:
    """Things that are alike.

    Attributes
    ----------
    since : str
        How long the oldest of them has been so.
    instances : str
        How many; "1,000 … or more" of a kind of which no more were asked for.
    studies : tuple
        UID and how many of it, at most twenty; `more` says how many studies that leaves out.
    more_at : str
        Where they are listed; "" where they are in no list.
    can_retry : bool
        Whether trying again is something that may help.
    """

    key: str
    kind: str
    destination: str
    why: str
    advice: str
    instances: str
    since: str
    studies: tuple[tuple[str, int], ...]
    more: str
    more_at: str
    can_retry: bool


def groups(found: Sequence[Attention], now_ms: int) -> list[Group]:
    """Alike ones together: of one kind, one destination and one reason; the rare ones first."""
    alike: dict[tuple[AttentionKind, str, str], list[Attention]] = {}
    for each in found:
        status = "" if each.status is None else f"{each.status:04X} "
        why = status + (words.ours(each.reason) or WHY[each.kind])
        alike.setdefault((each.kind, each.destination, why), []).append(each)
    most = {kind for kind, number in Counter(each.kind for each in found).items() if number >= MOST}
    ordered = sorted(alike.items(), key=lambda item: (len(item[1]), item[0][0].value, item[0][1:]))
    return [_group(*key, rows, now_ms, is_cut=key[0] in most) for key, rows in ordered]


def _group(
    kind: AttentionKind, destination: str, why: str, rows: Sequence[Attention], now_ms: int, *, is_cut: bool
) -> Group:
    studies = _counted(each.study_instance_uid for each in rows)
    advice = next((each.advice for each in rows if each.advice), _ADVICE[kind])
    return Group(
        key=f"{kind.value} {destination} {why}",
        kind=kind.value.replace("_", " "),
        destination=shown(destination),
        why=why,
        advice=shown(advice),
        instances=words.count(len(rows), "instance") + (" or more" if is_cut else ""),
        since=words.age(max(0, now_ms - min(each.since_ms for each in rows))),
        studies=tuple(list(studies.items())[:_STUDIES]),
        more=_more(len(studies) - _STUDIES, is_cut=is_cut),
        more_at="/studies?state=needs_attention" if kind in _STATED else "",
        can_retry=kind in _RETRIED,
    )


def _more(number: int, *, is_cut: bool) -> str:
    if number <= 0:
        return "and perhaps more studies" if is_cut else ""
    return f"and {words.count(number, 'more study', 'more studies')}{' or more' if is_cut else ''}"


def _counted(uids: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for uid in uids:
        found[uid] = found.get(uid, 0) + 1
    return found


class AttentionPage(Page):
    """All of it; of each kind a thousand instances at most."""

    tab = "attention"

    async def get(self) -> None:
        house = self.house
        rows, stopped, beside = await house.looks.shared(
            "attention",
            lambda ledger: (
                ledger.needs_attention(limit=MOST),
                ledger.operations.stopped(),
                lines(ledger, house.settings),
            ),
        )
        found = groups(rows, int(time.time() * 1000))
        number = words.count(len(rows), "instance needs", "instances need")
        is_cut = any(each.instances.endswith("or more") for each in found)
        self.show(
            "relay-attention.html",
            groups=found,
            said_of_all=f"{number} attention{', or more' if is_cut else ''}." if rows else "",
            beside=beside,
            stopped=[
                (shown(each.name), words.ours(each.last_error))
                for each in stopped
                if each.breaker != "closed" and each.held_for_ms is None
            ],
            held=[shown(each.name) for each in stopped if each.held_for_ms is not None],
        )
