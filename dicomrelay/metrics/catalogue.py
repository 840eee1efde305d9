"""Every family there is: its name, what it counts, its labels. The reference page, the rules and the dashboard are held to this.

A name ends in its unit, and a counter's in `_total`. Values of labels in a closed list stand here; tests hold them to the code
that gives them. No label is a UID, a path or anything of a data set (docs/design/metrics.md).
"""

from __future__ import annotations

from typing import Final

from dicomrelay.metrics.families import ANSWER_S, JOURNEY_S, WORK_S, Family, Kind, Merge

_GATEWAY: Final = "gateway, streamer (STOW-RS)"
_FORWARD: Final = "forward workers"
_LEDGER: Final = "scheduler, from the ledger"
_HOST: Final = "scheduler of each host"
_ALL: Final = "whoever gathers"
_ALL_SERVICES: Final = "gateway, streamer, workers"

STAGES: Final = ("archive", "frames")
BREAKERS: Final = ("closed", "open", "half_open")
QUEUES: Final = (
    "group",
    "forward.urgent",
    "forward.normal",
    "forward.bulk",
    "archive",
    "frames",
    "maintenance",
)
# Beside them, of the host that shows it: what only its own forward workers can read.
HERE: Final = "forward.here"
TASKS: Final = ("group", "forward", "archive", "frames", "release", "verify", "reports", "pull")
ATTENTION: Final = (
    "conflict",
    "refused",
    "gave_up",
    "suspect",
    "archive",
    "frames",
    "blocked",
    "unrouted",
    "unverified",
)
ROUTES: Final = (
    "frames",
    "instances",
    "metadata",
    "rendered",
    "search",
    "store",
    "streams",
    "worklist",
    "viewer",
    "health",
    "other",
)


def _counter(name: str, text: str, *labels: str, by: str, **values: tuple[str, ...]) -> Family:
    return Family(name, Kind.COUNTER, text, labels, values, by=by)


def _gauge(
    name: str, text: str, *labels: str, by: str, merge: Merge = Merge.SUM, **values: tuple[str, ...]
) -> Family:
    return Family(name, Kind.GAUGE, text, labels, values, merge=merge, by=by)


def _histogram(
    name: str, text: str, buckets: tuple[float, ...], *labels: str, by: str, **values: tuple[str, ...]
) -> Family:
    return Family(name, Kind.HISTOGRAM, text, labels, values, buckets, by=by)


# What arrives

RECEIVED: Final = _counter(
    "dicomrelay_received_instances_total",
    "Instances that are durable in the spool and were answered with success.",
    "source",
    "protocol",
    by=_GATEWAY,
    protocol=("dimse", "stow"),
)
RECEIVED_BYTES: Final = _counter(
    "dicomrelay_received_bytes_total",
    "Bytes of the data sets of those instances.",
    "source",
    "protocol",
    by=_GATEWAY,
    protocol=("dimse", "stow"),
)
RECEIVE_SECONDS: Final = _histogram(
    "dicomrelay_receive_seconds",
    "From an instance's request to its being durable, the data set's way over the line included.",
    ANSWER_S,
    "protocol",
    by=_GATEWAY,
    protocol=("dimse", "stow"),
)
REFUSED: Final = _counter(
    "dicomrelay_refused_instances_total",
    "Instances that were answered with a failure, by DICOM status (A700: no room).",
    "source",
    "status",
    by=_GATEWAY,
)
ASSOCIATIONS: Final = _counter(
    "dicomrelay_associations_total",
    "Associations that are over, by how they ended.",
    "source",
    "ending",
    by="gateway",
    ending=("released", "aborted-by-peer", "aborted-by-us", "connection-lost", "timed-out", "stopped"),
)
ASSOCIATIONS_OPEN: Final = _gauge(
    "dicomrelay_associations_open", "Associations that are open now.", by="gateway"
)
ASSOCIATION_SECONDS: Final = _histogram(
    "dicomrelay_association_seconds", "How long associations were open.", WORK_S, by="gateway"
)
TURNED_AWAY: Final = _counter(
    "dicomrelay_connections_refused_total",
    "Connections that did not become an association: the address may not call, there was no room, or it was rejected or given "
    "up.",
    "why",
    by="gateway",
    why=("address", "room", "not-made"),
)
OPERATIONS: Final = _counter(
    "dicomrelay_served_operations_total",
    "C-FIND, C-MOVE, C-GET, N-ACTION and other requests that were served beside storing.",
    "source",
    by="gateway",
)

# Tasks and stages

TASK_SECONDS: Final = _histogram(
    "dicomrelay_task_seconds",
    "How long tasks of the workers took.",
    WORK_S,
    "task",
    by="workers",
    task=TASKS,
)
TASK_FAILURES: Final = _counter(
    "dicomrelay_task_failures_total",
    "Tasks that ended by an error; what they had in hand is taken up again.",
    "task",
    by="workers",
    task=TASKS,
)
GROUPED: Final = _counter(
    "dicomrelay_grouped_instances_total",
    "Spool items that were registered, by what they turned out to be: new, a repetition, the same bytes again, or other bytes "
    "under the same UID (set aside).",
    "verdict",
    by="intake workers",
    verdict=("new", "known", "duplicate", "conflict"),
)
STAGE_INSTANCES: Final = _counter(
    "dicomrelay_stage_instances_total",
    "Instances that were archived, or whose frames were indexed; and attempts at it that failed.",
    "stage",
    "outcome",
    by="keep workers",
    stage=STAGES,
    outcome=("done", "failed"),
)
STAGE_SECONDS: Final = _histogram(
    "dicomrelay_stage_batch_seconds",
    "How long batches of a stage took.",
    WORK_S,
    "stage",
    by="keep workers",
    stage=STAGES,
)
LEASES_LOST: Final = _counter(
    "dicomrelay_leases_lost_total",
    "Leases that ended under a runner: another has what it had in hand, or will have it.",
    by="workers",
)
DIGEST_FAILURES: Final = _counter(
    "dicomrelay_digest_failures_total",
    "Instances whose bytes are not those that were acknowledged: seen before they were sent or archived, or by the archive's "
    "scrub.",
    "seen",
    by="workers, scheduler",
    seen=("use", "scrub"),
)

# What goes out

OUTCOMES: Final = _counter(
    "dicomrelay_delivery_outcomes_total",
    "Instances that were sent, by what came of it; an attempt that failed is made again.",
    "destination",
    "outcome",
    by=_FORWARD,
    outcome=("delivered", "warning", "failed", "refused"),
)
SENT_BYTES: Final = _counter(
    "dicomrelay_sent_bytes_total",
    "Bytes of the data sets that were sent and answered.",
    "destination",
    by=_FORWARD,
)
ANSWER_SECONDS: Final = _histogram(
    "dicomrelay_delivery_answer_seconds",
    "From the first byte of an instance to its answer.",
    ANSWER_S,
    "destination",
    by=_FORWARD,
)
JOURNEY_SECONDS: Final = _histogram(
    "dicomrelay_delivery_journey_seconds",
    "From an instance's arrival here to the answer of a destination that has it.",
    JOURNEY_S,
    "destination",
    by=_FORWARD,
)
TRANSFERS: Final = _counter(
    "dicomrelay_transfers_total",
    "Attempts at a transfer, by what it was afterwards.",
    "destination",
    "state",
    by=_FORWARD,
    state=("done", "ready", "running", "waiting", "needs_attention", "held", "cancelled"),
)
TRANSFER_SECONDS: Final = _histogram(
    "dicomrelay_transfer_seconds",
    "How long attempts at a transfer took.",
    WORK_S,
    "destination",
    by=_FORWARD,
)
FORWARD_PLACES: Final = _gauge(
    "dicomrelay_forward_places", "Transfers that the forward workers can have in hand at once.", by=_FORWARD
)
FORWARD_BUSY: Final = _gauge(
    "dicomrelay_forward_places_taken", "Transfers that the forward workers have in hand.", by=_FORWARD
)

# Destinations, queues and stages at a moment

WAITING: Final = _gauge(
    "dicomrelay_destination_waiting_instances",
    "Instances on their way to a destination and not delivered.",
    "destination",
    by=_LEDGER,
)
WAITING_BYTES: Final = _gauge(
    "dicomrelay_destination_waiting_bytes", "Bytes of those instances.", "destination", by=_LEDGER
)
OLDEST: Final = _gauge(
    "dicomrelay_destination_oldest_seconds",
    "Age of the oldest of what waits for a destination; 0 when nothing does.",
    "destination",
    by=_LEDGER,
)
RATE_BYTES: Final = _gauge(
    "dicomrelay_destination_bytes_per_second",
    "Bytes delivered over the last ten seconds, by the second.",
    "destination",
    by=_LEDGER,
)
RATE_INSTANCES: Final = _gauge(
    "dicomrelay_destination_instances_per_second",
    "Instances delivered over the last ten seconds, by the second.",
    "destination",
    by=_LEDGER,
)
DRAIN: Final = _gauge(
    "dicomrelay_destination_drain_seconds",
    "How long what waits takes at that speed; not shown while nothing moves.",
    "destination",
    by=_LEDGER,
)
RUNNING: Final = _gauge(
    "dicomrelay_destination_running_transfers",
    "Transfers that are being sent to a destination.",
    "destination",
    by=_LEDGER,
)
LIMIT: Final = _gauge(
    "dicomrelay_destination_transfer_limit",
    "Transfers that a destination takes at once now; 0 while it is held or its breaker is open.",
    "destination",
    by=_LEDGER,
)
RUNNABLE: Final = _gauge(
    "dicomrelay_destination_runnable_transfers",
    "Transfers that could be sent to a destination now, the running ones included: what there is, up to its limit. Their sum "
    "against dicomrelay_forward_places says how many workers are worth having.",
    "destination",
    by=_LEDGER,
)
BREAKER: Final = _gauge(
    "dicomrelay_destination_breaker",
    "1 for the state that a destination's breaker is in.",
    "destination",
    "state",
    by=_LEDGER,
    state=BREAKERS,
)
BREAKER_SECONDS: Final = _gauge(
    "dicomrelay_destination_breaker_open_seconds",
    "How long a destination has not answered: since its breaker opened; 0 while it is closed.",
    "destination",
    by=_LEDGER,
)
HELD: Final = _gauge(
    "dicomrelay_destination_held", "1 while somebody holds a destination.", "destination", by=_LEDGER
)
REFUSED_NOW: Final = _gauge(
    "dicomrelay_destination_refused_instances",
    "Deliveries to a destination that stand refused.",
    "destination",
    by=_LEDGER,
)
QUEUE_MESSAGES: Final = _gauge(
    "dicomrelay_queue_messages",
    "Messages that wait in a queue of the broker. Where several hosts share one, group, archive and maintenance are each host's "
    "own, as is forward.here, what only its own forward workers can read; the others are the same to all of them.",
    "queue",
    by=_HOST,
    merge=Merge.MAX,
    queue=(*QUEUES, HERE),
)
QUEUE_OLDEST: Final = _gauge(
    "dicomrelay_queue_oldest_work_seconds",
    "For how long the oldest work of a queue has been there, by the ledger and whatever became of the messages; 0 when there is "
    "none.",
    "queue",
    by=_LEDGER,
    queue=tuple(name for name in QUEUES if name != "maintenance"),
)
QUEUE_WORKERS: Final = _gauge(
    "dicomrelay_queue_workers_up",
    "Workers that live and take from a queue.",
    "queue",
    by="workers",
    queue=QUEUES,
)
STAGE_WAITING: Final = _gauge(
    "dicomrelay_stage_waiting_instances",
    "Instances that wait for a stage; counted up to 100,000.",
    "stage",
    by=_LEDGER,
    stage=STAGES,
)
ATTENTION_ROWS: Final = _gauge(
    "dicomrelay_needs_attention",
    "Rows of `dicomrelay status` that need a person, by why; counted up to 1,000 of a kind.",
    "kind",
    by=_LEDGER,
    kind=ATTENTION,
)
LEDGER_ASKED: Final = _gauge(
    "dicomrelay_ledger_asked_timestamp_seconds",
    "When the ledger was last asked for these figures, in seconds since 1970.",
    by=_LEDGER,
    merge=Merge.MAX,
)
LEDGER_SECONDS: Final = _gauge(
    "dicomrelay_ledger_asked_seconds", "How long that took.", by=_LEDGER, merge=Merge.MAX
)
BROKER_UP: Final = _gauge("dicomrelay_broker_up", "1 while the broker answers.", by=_HOST, merge=Merge.MAX)

# The host

SPOOL_ITEMS: Final = _gauge(
    "dicomrelay_spool_items",
    "Items in the spool, by where they are.",
    "folder",
    by=_HOST,
    folder=("new", "kept", "aside", "corrupt"),
)
SPOOL_BYTES: Final = _gauge(
    "dicomrelay_spool_bytes",
    "Bytes of the spool's items; of more than 1,000 files estimated from as many.",
    by=_HOST,
)
SPOOL_OLDEST: Final = _gauge(
    "dicomrelay_spool_oldest_new_seconds",
    "Age of the oldest item of the spool that no worker has registered; 0 when there is none.",
    by=_HOST,
    merge=Merge.MAX,
)
DISK_FREE: Final = _gauge(
    "dicomrelay_disk_free_bytes",
    "Bytes that the relay can still write, by what lies there.",
    "place",
    by=_HOST,
    place=("spool", "archive", "home"),
)
DISK_TOTAL: Final = _gauge(
    "dicomrelay_disk_size_bytes",
    "Size of that file system.",
    "place",
    by=_HOST,
    place=("spool", "archive", "home"),
)
LOW_WATER: Final = _gauge(
    "dicomrelay_disk_low_water_bytes",
    "Under so many free bytes the gateway answers A700 (gateway.min_free_bytes).",
    by=_HOST,
    merge=Merge.MAX,
)
CERTIFICATE_ENDS: Final = _gauge(
    "dicomrelay_certificate_expires_timestamp_seconds",
    "When a certificate of the settings expires, in seconds since 1970; of a file with several the first that does.",
    "of",
    by=_HOST,
    merge=Merge.MAX,
)

# The streamer

HTTP_SECONDS: Final = _histogram(
    "dicomrelay_http_request_seconds",
    "From a request's head to the end of its answer.",
    ANSWER_S,
    "route",
    by="streamer",
    route=ROUTES,
)
HTTP_REQUESTS: Final = _counter(
    "dicomrelay_http_requests_total",
    "Requests that were answered, by the class of the status.",
    "route",
    "status",
    by="streamer",
    route=ROUTES,
    status=("1xx", "2xx", "3xx", "4xx", "5xx", "none"),
)
HTTP_BYTES: Final = _counter(
    "dicomrelay_http_sent_bytes_total",
    "Bytes of the bodies of answers.",
    "route",
    by="streamer",
    route=ROUTES,
)
HTTP_OPEN: Final = _gauge(
    "dicomrelay_http_requests_open", "Requests and WebSockets that are under way.", by="streamer"
)

# What the relay tells by itself

ALERTS: Final = _gauge(
    "dicomrelay_alerts_open",
    "Alerts that last, by what they are about.",
    "kind",
    by=_HOST,
    kind=("attention", "destination", "disk", "certificate"),
)
ALERT_MESSAGES: Final = _counter(
    "dicomrelay_alert_messages_total",
    "Messages about alerts, by channel: told, tried again later, given up after three days.",
    "channel",
    "outcome",
    by="scheduler",
    outcome=("told", "failed", "given-up"),
)

AUDIT_UNSENT_BYTES: Final = _gauge(
    "dicomrelay_audit_unsent_bytes",
    "Bytes of the audit trail that the repository of [audit.syslog] has not heard; not shown without one.",
    by=_HOST,
    merge=Merge.MAX,
)
AUDIT_UNSENT_SECONDS: Final = _gauge(
    "dicomrelay_audit_unsent_seconds",
    "Age of the oldest entry that it has not heard; 0 when it has heard all.",
    by=_HOST,
    merge=Merge.MAX,
)
AUDIT_LOST: Final = _counter(
    "dicomrelay_audit_lost_entries_total",
    "Entries that could not be written to the audit trail.",
    by=_ALL_SERVICES,
)

SPANS: Final = _counter(
    "dicomrelay_spans_total",
    "Steps of traced instances: sent to the collector, or dropped because it was away or too many waited.",
    "outcome",
    by=_ALL_SERVICES,
    outcome=("sent", "dropped"),
)

# Processes

PROCESSES: Final = _gauge("dicomrelay_processes", "Processes of a service that live.", "service", by=_ALL)
RESIDENT: Final = _gauge(
    "dicomrelay_process_resident_bytes",
    "Memory of the processes of a service, where the kernel says it. Forks share some of it, and it is counted for each.",
    "service",
    by=_ALL,
)
DAMAGED_FILES: Final = _counter(
    "dicomrelay_metrics_damaged_files_total", "Files of figures that could not be read.", by=_ALL
)
BUILD: Final = _gauge(
    "dicomrelay_build_info", "1, with the version.", "version", by="scheduler", merge=Merge.MAX
)

FAMILIES: Final[dict[str, Family]] = {
    family.name: family for family in list(globals().values()) if isinstance(family, Family)
}
