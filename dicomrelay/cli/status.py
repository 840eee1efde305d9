"""`dicomrelay status`."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import click

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.progress import size
from dicomrelay.errors import ConfigurationError, ExitCode, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import Attention, AttentionKind, StudySummary, Waiting
from dicomrelay.runtime import home
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool, SpoolUsage

_FEW = 3
_WHY = {
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
_TRIED = {
    AttentionKind.SUSPECT: "It is tried again by itself, last and alone; the peer's log says what it met.",
}


@relay_command(
    about="What runs, what lies in the spool, the newest studies and how far each is, and what needs attention. "
    "Exit code 1 when something needs attention, 4 when spool items are damaged.",
    examples="dicomrelay status\ndicomrelay status --studies 50 --json",
)
@click.option(
    "--studies",
    "count",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    help="Newest studies to show.",
)
def command(invocation: Invocation, count: int) -> int:
    settings = invocation.settings
    if not _has_run(settings):
        raise ConfigurationError(
            f"{settings.home}: nothing has run here yet: start `dicomrelay up`, or name another home with --home"
        )
    ledger = Ledger.open(home.ledger_url(settings))
    try:
        studies = ledger.studies(limit=count)
        attention = ledger.needs_attention(limit=1000)
        waiting = ledger.waiting()
    finally:
        ledger.dispose()
    spool = Spool(settings.path("spool"))
    usage = spool.usage()
    spool.close()
    queues = _queues(settings)
    # The file alone may be one that a killed `up` left behind.
    running = settings.path("run", "ready").exists() and home.HomeLock(settings).is_held()
    if invocation.as_json:
        invocation.emit(
            {
                "running": running,
                "queues": queues,
                "spool": dataclasses.asdict(usage),
                "studies": [dataclasses.asdict(study) for study in studies],
                "low_disk": _is_low(settings, usage),
                "damaged_spool_items": _damaged(settings),
                "waiting": [dataclasses.asdict(row) for row in waiting],
                "needs_attention": [{**dataclasses.asdict(row), "kind": row.kind.value} for row in attention],
            }
        )
    else:
        for line in (
            *_head(settings, running, usage, queues),
            *_studies(studies),
            *_waiting(waiting),
            *_attention(attention, settings),
        ):
            click.echo(line)
    if usage.corrupt:
        return ExitCode.INTEGRITY
    return ExitCode.SOME_FAILED if attention or _is_low(settings, usage) else ExitCode.OK


def _has_run(settings: Settings) -> bool:
    """Whether there can be a ledger. A `send` without `up` makes the folders and no more."""
    if settings.database.url.get_secret_value() != "embedded":
        return settings.path("run").is_dir()
    file = settings.path("db", "ledger.sqlite")
    return file.is_file() and file.stat().st_size > 0


def _is_low(settings: Settings, usage: SpoolUsage) -> bool:
    return usage.free_bytes < settings.gateway.min_free_bytes


def _damaged(settings: Settings) -> list[str]:
    """Spool items whose content cannot be trusted any more."""
    return sorted(path.name for path in settings.path("spool", "corrupt").glob("*"))


def _queues(settings: Settings) -> dict[str, int] | None:
    wake_ups = WakeUps(settings)
    try:
        return {queue.value: depth for queue, depth in wake_ups.depths().items()}
    except ServiceUnavailable:
        return None
    finally:
        wake_ups.close()


def _head(settings: Settings, running: bool, usage: SpoolUsage, queues: dict[str, int] | None) -> list[str]:
    state = (
        "every service is ready"
        if running
        else "not all services run: start `dicomrelay up`, or see its output"
    )
    lines = [f"home    {settings.home}: {state}"]
    if queues is None:
        lines.append("broker  does not answer; what arrives is kept in the spool")
    else:
        waiting = ", ".join(f"{name} {depth}" for name, depth in queues.items() if depth)
        lines.append(f"broker  {waiting or 'no message waits'}")
    lines.append(
        f"spool   {usage.new} new, {usage.kept} kept, {usage.aside} set aside, {usage.corrupt} corrupt; "
        f"{size(usage.bytes)}, {size(usage.free_bytes)} free"
    )
    if _is_low(settings, usage):
        mark = size(settings.gateway.min_free_bytes)
        lines.append(
            f"disk    under the low-water mark of {mark}: instances are answered A700 until there is room"
        )
    return lines


def _studies(studies: tuple[StudySummary, ...]) -> list[str]:
    if not studies:
        return ["no study yet"]
    lines = []
    for study in studies:
        at = datetime.fromtimestamp(study.last_received_at_ms / 1000, UTC)
        lines.append(
            f"{study.study_instance_uid}  {at:%Y-%m-%d %H:%M:%S}Z  {study.instances} instances ({size(study.bytes)}), "
            f"{study.archived} archived, {study.frames} frames"
        )
        for to in study.destinations:
            total = to.pending + to.delivered + to.failed + to.refused + to.gave_up
            notes = [
                f"{number} {what}"
                for number, what in (
                    (to.warnings, "with warnings"),
                    (to.pending, "pending"),
                    (to.failed, "to be tried again"),
                    (to.refused, "refused"),
                    (to.gave_up, "given up"),
                )
                if number
            ]
            lines.append(
                f"    {to.destination}: {to.delivered} of {total} deliveries made"
                + "".join(f", {n}" for n in notes)
            )
    return lines


def _waiting(rows: tuple[Waiting, ...]) -> list[str]:
    return [
        f"{row.destination} waits with {row.instances} instances after {row.attempts} attempts, "
        f"next in {row.due_in_ms / 1000:.0f} s: {row.reason or 'no reason given'}"
        for row in rows
    ]


def _attention(rows: list[Attention], settings: Settings) -> list[str]:
    """What a person has to look at: the rare kinds first, alike ones together."""
    damaged = _damaged(settings)
    if not rows and not damaged:
        return ["nothing needs attention"]
    lines = [f"{len(rows) + len(damaged)} need attention:"]
    if damaged:
        where = settings.path("spool", "corrupt")
        lines.append(
            f"    {len(damaged)} spool items are damaged and were put away in {where}: {', '.join(damaged[:5])}"
        )
    alike: dict[tuple[AttentionKind, str, str], list[Attention]] = {}
    for row in rows:
        alike.setdefault((row.kind, row.destination, row.reason or _WHY[row.kind]), []).append(row)
    for (kind, destination, reason), group in sorted(alike.items(), key=lambda item: len(item[1])):
        to = f" at {destination}" if destination else ""
        few = ", ".join(row.sop_instance_uid for row in group[:_FEW])
        more = f" and {len(group) - _FEW} more (--json lists all)" if len(group) > _FEW else ""
        lines.append(f"    {len(group)} {kind.value}{to}: {reason}: {few}{more}")
        advice = next((row.advice for row in group if row.advice), _TRIED.get(kind, ""))
        lines += [f"        {advice}"] if advice else []
    return lines
