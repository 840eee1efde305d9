"""What `dicomrelay status` says to people: what runs, what lies where, what a person has to look at, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dicomrelay.cli.operating.show import delivered_words
from dicomrelay.cli.operating.stopping import stopper_of
from dicomrelay.cli.operating.words import counted
from dicomrelay.cli.status_archive import ArchiveState, archive_lines, archived_words, damaged_line
from dicomrelay.cli.status_services import services_step, services_words
from dicomrelay.ledger.values import Attention, AttentionKind, StudySummary, Waiting
from dicomrelay.ledger.values_operations import StoppedDestination
from dicomrelay.ledger.values_verification import Unverified
from dicomrelay.runtime.not_ready import NotReady
from dicomrelay.spool import SpoolUsage
from dicomrelay.telling.attention import TRIED, WHY
from dicomrelay.text import size

_FEW: Final = 3
_LONE: Final = "other bytes came first under this UID, and were removed from the archive since; these are in spool/aside alone"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of the relay's own that is wrong, and what to do."""

    words: str
    do: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a status says; `queues` None when the broker does not answer."""

    home: Path
    running: bool
    queues: dict[str, int] | None
    usage: SpoolUsage
    low_water_mark: int
    studies: tuple[StudySummary, ...]
    waiting: tuple[Waiting, ...]
    attention: Sequence[Attention]
    stopped: tuple[StoppedDestination, ...]
    held: int
    damaged: Sequence[str]
    sources: Sequence[dict[str, Any]]
    unverified: tuple[Unverified, ...] = ()
    faults: Sequence[Fault] = ()
    notes: Sequence[str] = ()
    outside: Sequence[str] = ()  # destinations that are outside of their time windows
    archive: ArchiveState = field(default_factory=ArchiveState)
    is_up: bool = False  # `dicomrelay up` runs, also where a service of it does not
    not_ready: Sequence[NotReady] = ()
    unheard: int = 0  # messages about performed procedure steps that need attention
    pulls: Mapping[str, int] = field(default_factory=dict)  # those that are open, or left something, by state

    @property
    def pulls_left(self) -> int:
        """Pulls that ended and left something that is not here."""
        return self.pulls.get("partial", 0) + self.pulls.get("failed", 0)

    @property
    def low_disk(self) -> bool:
        """Whether the gateway answers A700."""
        return self.usage.free_bytes < self.low_water_mark


def lines(found: Findings) -> Iterator[str]:
    """All of it, the next step last."""
    yield from _head(found)
    yield from _studies(found.studies, found.archive)
    yield from archive_lines(found.archive)
    yield from _waiting(found)
    yield from _stopped(found)
    yield from _unverified(found.unverified)
    yield from _pulls(found)
    yield from _attention(found)
    following = next_line(found)
    if following:
        yield following


def next_line(found: Findings) -> str:
    """The one thing to do first; "" when there is none."""
    if not found.running:
        return services_step(found.home, is_up=found.is_up, not_ready=found.not_ready)
    if found.faults or found.damaged or found.archive.damaged:
        return f"next: {_step_of_what_is_damaged(found)}"
    if found.low_disk:
        return "next: make room on the disk; instances are accepted again by themselves"
    if found.attention or found.unheard or found.pulls_left:
        return f"next: {_step_of_attention(found)}"
    if any(each.breaker != "closed" for each in found.stopped):
        name = next(each.name for each in found.stopped if each.breaker != "closed")
        return (
            f"next: `dicomrelay echo {name}` asks the destination now; it goes on by itself when that answers"
        )
    if found.held:
        return "next: `dicomrelay jobs list --state held` names what somebody holds, `dicomrelay jobs release ID` lets it go"
    held = next((each.name for each in found.stopped if each.held_for_ms is not None), "")
    return f"next: `dicomrelay destinations release {held}` lets it go on" if held else ""


def _step_of_what_is_damaged(found: Findings) -> str:
    if found.faults:
        return found.faults[0].do
    if found.damaged:
        return "`dicomrelay check` says what is damaged, `dicomrelay repair` mends what can be mended"
    return "`dicomrelay archive check --damaged` says what is damaged, docs/howto/check-and-repair.md how it is put back"


def _head(found: Findings) -> Iterator[str]:
    state = (
        ("every service is ready" if not found.faults else "every service is ready, and not all is well")
        if found.running
        else services_words(is_up=found.is_up, not_ready=found.not_ready)
    )
    yield f"home    {found.home}: {state}"
    if found.queues is None:
        yield "broker  does not answer; what arrives is kept in the spool"
    else:
        waiting = ", ".join(f"{name} {depth}" for name, depth in found.queues.items() if depth)
        yield f"broker  {waiting or 'no message waits'}"
    usage = found.usage
    about = "about " if usage.bytes_estimated else ""
    yield (
        f"spool   {usage.new} new, {usage.kept} kept, {usage.aside} set aside, {usage.corrupt} corrupt; "
        f"{about}{size(usage.bytes)}, {size(usage.free_bytes)} free"
    )
    for source in found.sources:
        if source.get("refused"):
            who = source.get("ae_title") or source.get("host") or "all peers"
            held, bound = size(source.get("bytes") or 0), size(source.get("max_bytes") or 0)
            yield f"bound   {who}: {held} in the spool, {bound} allowed; answered A700 until some of it is delivered"
    for fault in found.faults:
        yield f"fault   {fault.words}"
    for note in found.notes:
        yield f"note    {note}"
    if found.low_disk:
        mark = size(found.low_water_mark)
        yield f"disk    under the low-water mark of {mark}: instances are answered A700 until there is room"


def _studies(studies: Sequence[StudySummary], archive: ArchiveState) -> Iterator[str]:
    if not studies:
        yield "no study yet"
    for study in studies:
        at = datetime.fromtimestamp(study.last_received_at_ms / 1000, UTC)
        yield (
            f"{study.study_instance_uid}  {at:%Y-%m-%d %H:%M:%S}Z  {counted(study.instances, 'instance')} ({size(study.bytes)}), "
            f"{archived_words(study, archive)}"
        )
        for to in study.destinations:
            yield f"    {delivered_words(to)}"


def _waiting(found: Findings) -> Iterator[str]:
    """What was tried and is tried again; what is behind a destination that is stopped is told with that."""
    stopped = {each.name for each in found.stopped} | set(found.outside)
    for row in found.waiting:
        if row.destination not in stopped:
            due = f"in {row.due_in_ms / 1000:.0f} s" if row.due_in_ms >= 500 else "now"
            tried = f" after {counted(row.attempts, 'attempt')}, tried again" if row.attempts else ", sent"
            yield (
                f"{counted(row.instances, 'instance')} for {row.destination}{tried} {due}: "
                f"{row.reason or 'no reason given'}"
            )


def _unverified(rows: Sequence[Unverified]) -> Iterator[str]:
    """What destinations have acknowledged and are still to confirm."""
    for row in rows:
        parts = (
            (row.to_ask, "to be asked about"),
            (row.awaiting_report, "waiting for its report"),
            (row.need_attention, "not confirmed"),
        )
        told = ", ".join(f"{count} {words}" for count, words in parts if count)
        yield f"{row.destination} is verified; transfers: {told}"


def _pulls(found: Findings) -> Iterator[str]:
    """What is being fetched; what was left is told with what needs attention."""
    parts = [f"{found.pulls[state]} {state}" for state in ("asking", "fetching") if found.pulls.get(state)]
    if parts:
        yield f"pulls from other nodes: {', '.join(parts)} (`dicomrelay pull list` shows them)"


def _step_of_attention(found: Findings) -> str:
    if found.pulls_left and not found.attention and not found.unheard:
        state = "partial" if found.pulls.get("partial") else "failed"
        return f"`dicomrelay pull list --state {state}`, then `dicomrelay pull show ID` and `dicomrelay pull retry ID`"
    if not found.attention:
        return "`dicomrelay mpps list --stuck` names the steps, `dicomrelay mpps retry UID` tries again"
    if all(row.kind is AttentionKind.UNVERIFIED for row in found.attention):
        study = found.attention[0].study_instance_uid
        return f"see at {found.attention[0].destination} what is wrong, then `dicomrelay jobs retry {study}`"
    return "`dicomrelay jobs list --state needs_attention`, then `dicomrelay jobs show ID`"


def _stopped(found: Findings) -> Iterator[str]:
    """What a breaker or a person keeps back."""
    waiting = {row.destination: row.instances for row in found.waiting}
    for each in found.stopped:
        wait = (
            f"; {counted(waiting[each.name], 'instance')} for {each.name} behind it"
            if each.name in waiting
            else ""
        )
        yield stopper_of(each).words + wait
    stopped = {each.name for each in found.stopped}
    for name in found.outside:
        if name not in stopped:
            yield f"{name} is outside of its time windows: nothing is sent to it now"
    if found.held:
        yield f"{found.held} transfer{'s are' if found.held > 1 else ' is'} held"


def _attention(found: Findings) -> Iterator[str]:
    """What a person has to look at: the rare kinds first, alike ones together."""
    rows, damaged = found.attention, found.damaged
    archived = found.archive.damaged
    count = len(rows) + len(damaged) + len(archived) + found.unheard + found.pulls_left
    if not count:
        yield "nothing needs attention"
        return
    yield f"{count} need attention:"
    if archived:
        yield damaged_line(archived)
    if damaged:
        where = found.home / "spool" / "corrupt"
        yield (
            f"    {counted(len(damaged), 'damaged spool item')} put away in {where}: {', '.join(damaged[:5])}"
        )
    if found.unheard:
        yield f"    {counted(found.unheard, 'message')} about performed procedure steps (MPPS) not taken"
    if found.pulls_left:
        yield f"    {counted(found.pulls_left, 'pull')} from other nodes left something that is not here"
    alike: dict[tuple[AttentionKind, str, str], list[Attention]] = {}
    for row in rows:
        status = "" if row.status is None else f"{row.status:04X} "
        why = _LONE if row.sop_instance_uid in found.archive.lone else WHY[row.kind]
        alike.setdefault((row.kind, row.destination, status + (row.reason or why)), []).append(row)
    for (kind, destination, reason), group in sorted(alike.items(), key=lambda item: len(item[1])):
        to = f" at {destination}" if destination else ""
        few = ", ".join(row.sop_instance_uid for row in group[:_FEW])
        more = f" and {len(group) - _FEW} more (--json lists all)" if len(group) > _FEW else ""
        yield f"    {len(group)} {kind.value}{to}: {reason}: {few}{more}"
        advice = next((row.advice for row in group if row.advice), TRIED.get(kind, ""))
        if advice:
            yield f"        {advice}"
