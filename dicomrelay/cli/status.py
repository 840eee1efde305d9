"""`dicomrelay status`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

import click

from dicomrelay.cli import status_lines
from dicomrelay.cli.discretion import in_our_words
from dicomrelay.cli.ledgers import Unlisted, not_in_the_ledger, opened_ledger
from dicomrelay.cli.operating.stopping import outside_now
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.status_archive import look_at_archive
from dicomrelay.cli.status_lines import Fault, Findings
from dicomrelay.cli.status_mpps import unheard_messages
from dicomrelay.errors import ConfigurationError, ExitCode, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.values import Attention, AttentionKind
from dicomrelay.runtime import home, not_ready, rules_state
from dicomrelay.runtime.queue import Queue, WakeUps
from dicomrelay.runtime.queue_depths import depths_at
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool

# Enough that the estimate of the rest is good, and few enough that nobody waits for it.
_MEASURED_FILES = 4_000


@relay_command(
    about="What runs, what lies in the spool, the newest studies and how far each is, what needs attention, and what to do next. "
    "Exit code 1 when something needs attention, 4 when spool items or archived files are damaged, the spool has lost "
    "its name, or the ledger does not know what the archive has though nothing was imported into it.",
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
    found = look(invocation.settings, count)
    found = dataclasses.replace(
        found,
        attention=in_our_words(found.attention, verbose=invocation.verbose),
        waiting=tuple(in_our_words(found.waiting, verbose=invocation.verbose)),
    )
    if invocation.as_json:
        invocation.emit(_as_json(found))
    else:
        click.echo("\n".join(status_lines.lines(found)))
    if found.usage.corrupt or found.faults or found.archive.damaged:
        return ExitCode.INTEGRITY
    return (
        ExitCode.SOME_FAILED
        if found.attention or found.unheard or found.pulls_left or found.low_disk
        else ExitCode.OK
    )


def look(settings: Settings, count: int) -> Findings:
    """Ask ledger, spool and broker, each once.

    Raises
    ------
    ConfigurationError
        Nothing has run in this home yet.
    """
    with opened_ledger(settings) as ledger:
        studies = ledger.studies(limit=count)
        attention = ledger.needs_attention(limit=1000)
        waiting = ledger.waiting()
        stopped = ledger.operations.stopped()
        held = ledger.operations.held()
        unverified = ledger.verifications.unverified()
        pulls = ledger.pulls.standing()
        unlisted = not_in_the_ledger(settings, ledger)
        archive = look_at_archive(
            settings, studies, ledger.inventory.stages_waiting(), _lone_in_the_spool(ledger, attention)
        )
    is_up = home.HomeLock(settings).is_held()
    with closing(Spool(settings.path("spool"))) as spool:
        usage = spool.usage(measured=_MEASURED_FILES)
    return Findings(
        home=settings.home,
        # The file alone may be one that a killed `up` left behind.
        running=settings.path("run", "ready").exists() and is_up,
        queues=_queues(settings),
        usage=usage,
        low_water_mark=settings.gateway.min_free_bytes,
        studies=studies,
        waiting=waiting,
        attention=attention,
        stopped=stopped,
        held=held,
        damaged=_damaged(settings) if usage.corrupt else [],
        sources=_bounds(settings),
        unverified=unverified,
        pulls=pulls,
        faults=_faults(settings, unlisted),
        notes=[*_notes(unlisted), *(_rules_note(settings) if is_up else ())],
        outside=sorted(outside_now(settings)),
        archive=archive,
        is_up=is_up,
        not_ready=not_ready.shown(settings.path("run")) if is_up else (),
        unheard=unheard_messages(settings),
    )


def _lone_in_the_spool(ledger: Ledger, attention: Sequence[Attention]) -> set[str]:
    """Of the SOP Instance UIDs in conflict those whose first bytes are not in the spool any more."""
    uids = sorted({each.sop_instance_uid for each in attention if each.kind is AttentionKind.CONFLICT})
    first = ledger.inventory.kept(uids)
    return {uid for uid in uids if (entry := first.get(uid)) and entry.released_ms_ago is not None}


def _as_json(found: Findings) -> dict[str, Any]:
    return {
        "running": found.running,
        "not_ready": [dataclasses.asdict(each) for each in found.not_ready],
        "queues": found.queues,
        "spool": dataclasses.asdict(found.usage),
        "sources": found.sources,
        "studies": [dataclasses.asdict(study) for study in found.studies],
        "low_disk": found.low_disk,
        "damaged_spool_items": found.damaged,
        "waiting": [dataclasses.asdict(row) for row in found.waiting],
        "stopped_destinations": [dataclasses.asdict(row) for row in found.stopped],
        "outside_of_windows": list(found.outside),
        "held_transfers": found.held,
        "archive": found.archive.as_json(),
        "unverified": [dataclasses.asdict(row) for row in found.unverified],
        "pulls": dict(found.pulls),
        "needs_attention": [{**dataclasses.asdict(row), "kind": row.kind.value} for row in found.attention],
        "performed_step_messages_not_taken": found.unheard,
        "faults": [{"words": fault.words, "do": fault.do} for fault in found.faults],
        "notes": list(found.notes),
        "next": status_lines.next_line(found),
    }


def _faults(settings: Settings, unlisted: Unlisted) -> list[Fault]:
    """What no study and no destination shows."""
    found = []
    try:
        home.known_spool_name(settings)
    except ConfigurationError as error:
        found.append(Fault(str(error), "`dicomrelay repair`"))
    except OSError as error:
        found.append(Fault(f"spool/identity cannot be read: {error.strerror}", "look at the disk"))
    if unlisted.instances and not unlisted.was_imported:
        words = f"the archive holds at least {unlisted.instances} instances that the ledger does not know"
        found.append(Fault(words, "`dicomrelay repair` makes them known; nothing is sent"))
    return found


def _notes(unlisted: Unlisted) -> list[str]:
    """What is as it should be, and might surprise."""
    if not (unlisted.instances and unlisted.was_imported):
        return []
    words = f"the archive holds at least {unlisted.instances} instances that the ledger does not know"
    return [
        f"{words}: files were imported; they are found and served, and `dicomrelay repair` makes them known"
    ]


def _rules_note(settings: Settings) -> list[str]:
    """That the file of rules is not what is in force."""
    state = rules_state.told(settings)
    if state is None or not state.refused:
        return []
    return [
        f"the relay refuses {settings.rules_path}, and goes on by version {state.version}: `dicomrelay doctor` says why"
    ]


def _damaged(settings: Settings) -> list[str]:
    """Spool items whose content cannot be trusted any more."""
    return sorted(path.name for path in settings.path("spool", "corrupt").glob("*"))


def _bounds(settings: Settings) -> list[dict[str, Any]]:
    """What the gateway's bounds on sources are at; it writes them down while it runs and has any."""
    with suppress(OSError, ValueError):
        shown = json.loads(settings.path("run", "spool.json").read_text("utf-8"))
        found: list[dict[str, Any]] = shown["sources"]
        return found
    return []


def _queues(settings: Settings) -> dict[str, int] | None:
    if settings.broker.url.get_secret_value() == "embedded":
        with suppress(ServiceUnavailable):
            names = [queue.value for queue in Queue]
            return depths_at(home.broker_socket(settings), names, timeout_s=settings.broker.timeout_s)
        return None
    with closing(WakeUps(settings)) as wake_ups, suppress(ServiceUnavailable):
        return {queue.value: depth for queue, depth in wake_ups.depths().items()}
    return None
