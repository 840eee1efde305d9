"""Tables and indexes. A change here wants a revision in migrations/versions; a test compares the two.

`due_at` is NULL when there is nothing to do, so that the indexes on it hold the work and not the history.
Conditions of partial indexes are written once, as text, and used by the queries too: a planner takes such an index
only for the very same words.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
    text,
)

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

# SQLite numbers rows by itself only where the type is INTEGER.
ROW_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")

KEPT: Final = text("state = 'kept'")
RELEASABLE: Final = text(
    "state = 'kept' AND released_at IS NULL AND open_deliveries = 0 "
    "AND (archive_path <> '' OR (all_deliveries > 0 AND NOT archive_wanted))"
)
UNROUTED: Final = text(
    "state = 'kept' AND released_at IS NULL AND all_deliveries = 0 AND archive_path = '' AND NOT archive_wanted"
)
SET_ASIDE: Final = text("state = 'set_aside'")
REFUSED: Final = text("state = 'refused'")
FAILED: Final = text("state = 'failed'")
WITH_WARNING: Final = text("state = 'warning'")
UNGROUPED: Final = text("transfer_id IS NULL")
NEEDS_ATTENTION: Final = text("state = 'needs_attention'")
DUE: Final = text("due_at IS NOT NULL")
BLOCKED: Final = text("advice <> '' AND due_at IS NOT NULL")
RUNNING: Final = text("state = 'running'")
HELD: Final = text("state = 'held'")
CANCELLED: Final = text("state = 'cancelled'")
OVER: Final = text("state IN ('done', 'cancelled')")
OF_A_JOB: Final = text("job_id <> ''")
UNDECIDED: Final = text("undecided")
LASTS: Final = text("ended_at IS NULL")
UNTOLD: Final = text("state = 'due'")
WITH_EVIDENCE: Final = text("evidence_count > evidence_pruned")

studies: Final = Table(
    "studies",
    METADATA,
    Column("study_instance_uid", Text, primary_key=True),
    Column("first_received_at", BigInteger, nullable=False),
    Column("last_received_at", BigInteger, nullable=False),
    Column("ungrouped_at", BigInteger),
    # How long this study is to be quiet, where its source has a time of its own.
    Column("quiet_ms", BigInteger),
    # How many instances it has where it came from, when somebody said so.
    Column("expected_instances", Integer),
    # When the last of its senders ended: a hint, and no more (PS3.4 Section B.4).
    Column("association_ended_at", BigInteger),
    # The end of its chain of evidence.
    Column("evidence_count", Integer, nullable=False, server_default="0"),
    Column("evidence_hash", Text, nullable=False, server_default=""),
    # What retention took off its beginning: how many rows, and the hash of the last of them.
    Column("evidence_pruned", Integer, nullable=False, server_default="0"),
    Column("evidence_pruned_hash", Text, nullable=False, server_default=""),
    # Associations that brought what waits for a transfer and have not ended, a space between; "-" is one that never does.
    Column("senders", Text, nullable=False, server_default=""),
    # Whom to ask how many instances it has, "" for nobody, and when.
    Column("count_at", Text, nullable=False, server_default=""),
    Column("ask_at", BigInteger),
    # Rules of series or studies are to be asked when it is complete (docs/design/rules.md).
    Column("undecided", Boolean, nullable=False, server_default=false()),
)
Index(
    "ix_studies_undecided",
    studies.c.study_instance_uid,
    sqlite_where=UNDECIDED,
    postgresql_where=UNDECIDED,
)
Index("ix_studies_ungrouped_at", studies.c.ungrouped_at)
Index("ix_studies_last_received_at", studies.c.last_received_at)
Index(
    "ix_studies_with_evidence",
    studies.c.last_received_at,
    sqlite_where=WITH_EVIDENCE,
    postgresql_where=WITH_EVIDENCE,
)

# Associations that ended a moment ago: what they sent may be registered after that is known.
ended_associations: Final = Table(
    "ended_associations",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)

series: Final = Table(
    "series",
    METADATA,
    Column(
        "study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), primary_key=True, nullable=False
    ),
    Column("series_instance_uid", Text, primary_key=True, nullable=False),
    Column("modality", Text, nullable=False),
)
Index("ix_series_series_instance_uid", series.c.series_instance_uid)

instances: Final = Table(
    "instances",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("spool_id", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("modality", Text, nullable=False),
    Column("data_set_offset", BigInteger, nullable=False),
    Column("data_set_bytes", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("calling_ae_title", Text, nullable=False),
    Column("called_ae_title", Text, nullable=False),
    Column("peer_address", Text, nullable=False),
    Column("association_id", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("source_path", LargeBinary, nullable=False),
    Column("archive_wanted", Boolean, nullable=False),
    Column("archive_path", Text, nullable=False),
    Column("frames", Integer),
    # What was not cancelled; and of that what no destination has yet.
    Column("all_deliveries", Integer, nullable=False),
    Column("open_deliveries", Integer, nullable=False),
    Column("released_at", BigInteger),
    ForeignKeyConstraint(
        ["study_instance_uid", "series_instance_uid"],
        ["series.study_instance_uid", "series.series_instance_uid"],
    ),
    UniqueConstraint("spool_id"),
)
Index(
    "uq_instances_kept", instances.c.sop_instance_uid, unique=True, sqlite_where=KEPT, postgresql_where=KEPT
)
Index("ix_instances_sop_instance_uid", instances.c.sop_instance_uid)
Index("ix_instances_study", instances.c.study_instance_uid, instances.c.series_instance_uid)
Index(
    "ix_instances_releasable",
    instances.c.host,
    instances.c.registered_at,
    sqlite_where=RELEASABLE,
    postgresql_where=RELEASABLE,
)
Index("ix_instances_set_aside", instances.c.id, sqlite_where=SET_ASIDE, postgresql_where=SET_ASIDE)
Index("ix_instances_unrouted", instances.c.id, sqlite_where=UNROUTED, postgresql_where=UNROUTED)

destinations: Final = Table(
    "destinations",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ae_title", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("associations", Integer, nullable=False),
    Column("calling_ae_title", Text, nullable=False),
    Column("verification", Text, nullable=False, server_default="none"),
    # The circuit breaker, shared by all workers.
    Column("breaker", Text, nullable=False, server_default="closed"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("opened_at", BigInteger),
    Column("probe_at", BigInteger),
    Column("probes", Integer, nullable=False, server_default="0"),
    # How many associations it stands at present; NULL for all it was given.
    Column("allowed", Integer),
    # When that was last made less.
    Column("allowed_at", BigInteger),
    # Until when its bytes per second are spoken for.
    Column("paced_until", BigInteger),
    Column("held_at", BigInteger),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("last_delivered_at", BigInteger),
)

transfers: Final = Table(
    "transfers",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), nullable=False),
    Column("destination", Text, ForeignKey("destinations.name"), nullable=False),
    Column("priority", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    # What somebody has to do before an attempt can succeed; "" when nothing.
    Column("advice", Text, nullable=False, server_default=""),
)
Index(
    "ix_transfers_due",
    transfers.c.destination,
    transfers.c.priority,
    transfers.c.due_at,
    sqlite_where=DUE,
    postgresql_where=DUE,
)
Index(
    "ix_transfers_running",
    transfers.c.destination,
    transfers.c.due_at,
    sqlite_where=RUNNING,
    postgresql_where=RUNNING,
)
Index("ix_transfers_study", transfers.c.study_instance_uid)
Index(
    "ix_transfers_needs_attention",
    transfers.c.id,
    sqlite_where=NEEDS_ATTENTION,
    postgresql_where=NEEDS_ATTENTION,
)
Index("ix_transfers_blocked", transfers.c.id, sqlite_where=BLOCKED, postgresql_where=BLOCKED)
Index("ix_transfers_over", transfers.c.finished_at, sqlite_where=OVER, postgresql_where=OVER)
Index("ix_transfers_held", transfers.c.id, sqlite_where=HELD, postgresql_where=HELD)
Index("ix_transfers_cancelled", transfers.c.id, sqlite_where=CANCELLED, postgresql_where=CANCELLED)
Index("ix_transfers_job", transfers.c.job_id, sqlite_where=OF_A_JOB, postgresql_where=OF_A_JOB)

deliveries: Final = Table(
    "deliveries",
    METADATA,
    Column("instance_id", Text, ForeignKey("instances.id"), primary_key=True, nullable=False),
    Column("destination", Text, ForeignKey("destinations.name"), primary_key=True, nullable=False),
    Column("job_id", Text, primary_key=True, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("transfer_id", Text, ForeignKey("transfers.id")),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer),
    Column("reason", Text, nullable=False),
    Column("association_id", Text, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # What went out, where it was a copy: "" for the bytes that arrived.
    Column("sent_digest", Text, nullable=False, server_default=""),
    Column("sent_transfer_syntax_uid", Text, nullable=False, server_default=""),
    # "", pending, verified, missing
    Column("verification", Text, nullable=False, server_default=""),
    Column("verified_at", BigInteger),
    # The profile of [[edits]] by which what goes out is changed; "" for the bytes that arrived.
    Column("edits", Text, nullable=False, server_default=""),
    # By a rule its transfer does not begin before; 0 for at once.
    Column("not_before", BigInteger, nullable=False, server_default="0"),
)
Index(
    "ix_deliveries_ungrouped",
    deliveries.c.study_instance_uid,
    sqlite_where=UNGROUPED,
    postgresql_where=UNGROUPED,
)
Index("ix_deliveries_transfer", deliveries.c.transfer_id)
Index("ix_deliveries_study", deliveries.c.study_instance_uid)
Index("ix_deliveries_job", deliveries.c.job_id, sqlite_where=OF_A_JOB, postgresql_where=OF_A_JOB)
Index("ix_deliveries_refused", deliveries.c.instance_id, sqlite_where=REFUSED, postgresql_where=REFUSED)
Index("ix_deliveries_failed", deliveries.c.instance_id, sqlite_where=FAILED, postgresql_where=FAILED)
Index(
    "ix_deliveries_warning",
    deliveries.c.study_instance_uid,
    sqlite_where=WITH_WARNING,
    postgresql_where=WITH_WARNING,
)
# No response, and yet it went out over an association: that one died while this was under way.
WAS_UNDER_WAY: Final = and_(
    deliveries.c.state == "failed", deliveries.c.status.is_(None), deliveries.c.association_id != ""
)

stages: Final = Table(
    "stages",
    METADATA,
    Column("instance_id", Text, ForeignKey("instances.id"), primary_key=True, nullable=False),
    Column("stage", Text, primary_key=True, nullable=False),
    Column("host", Text, nullable=False),  # "" when any host can do it
    Column("state", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("claim", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index("ix_stages_due", stages.c.stage, stages.c.host, stages.c.due_at, sqlite_where=DUE, postgresql_where=DUE)
Index(
    "ix_stages_needs_attention",
    stages.c.instance_id,
    sqlite_where=NEEDS_ATTENTION,
    postgresql_where=NEEDS_ATTENTION,
)

jobs: Final = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("expected", Integer, nullable=False),
    Column("registered", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
)
Index("ix_jobs_created_at", jobs.c.created_at)

# What was said of a job or a study, and holds for what joins it later (docs/design/operations.md).
standing_orders: Final = Table(
    "standing_orders",
    METADATA,
    Column("subject", Text, primary_key=True, nullable=False),  # the id of a job, or a Study Instance UID
    Column("destination", Text, primary_key=True, nullable=False),  # "" for all of them
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

job_items: Final = Table(
    "job_items",
    METADATA,
    Column("spool_id", Text, primary_key=True),
    Column("job_id", Text, ForeignKey("jobs.id"), nullable=False),
    Column("instance_id", Text, ForeignKey("instances.id"), nullable=False),
    Column("verdict", Text, nullable=False),
)
Index("ix_job_items_job", job_items.c.job_id)

events: Final = Table(
    "events",
    METADATA,
    Column("id", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("transfer_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
Index("ix_events_study", events.c.study_instance_uid)
Index("ix_events_transfer", events.c.transfer_id)
Index("ix_events_at", events.c.at)

# Append only; each row's hash covers its body and the hash of the row before (docs/design/evidence.md).
evidence: Final = Table(
    "evidence",
    METADATA,
    Column(
        "study_instance_uid", Text, ForeignKey("studies.study_instance_uid"), primary_key=True, nullable=False
    ),
    Column("number", Integer, primary_key=True, nullable=False, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

WITH_TRANSACTION: Final = text("transaction_uid <> ''")
verifications: Final = Table(
    "verifications",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("transfer_id", Text, ForeignKey("transfers.id"), nullable=False),
    Column("destination", Text, ForeignKey("destinations.name"), nullable=False),
    Column("method", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # Answers in a row that settled nothing, and how often what was missing has been sent again.
    Column("doubts", Integer, nullable=False),
    Column("resends", Integer, nullable=False),
    Column("transaction_uid", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("asked_at", BigInteger),
    Column("finished_at", BigInteger),
)
Index("ix_verifications_due", verifications.c.due_at, sqlite_where=DUE, postgresql_where=DUE)
Index("ix_verifications_transfer", verifications.c.transfer_id)
Index(
    "uq_verifications_transaction_uid",
    verifications.c.transaction_uid,
    unique=True,
    sqlite_where=WITH_TRANSACTION,
    postgresql_where=WITH_TRANSACTION,
)
Index(
    "ix_verifications_needs_attention",
    verifications.c.id,
    sqlite_where=NEEDS_ATTENTION,
    postgresql_where=NEEDS_ATTENTION,
)

# What the relay tells by itself; told_at is when channels were last told of it.
alerts: Final = Table(
    "alerts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("told_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index(
    "ix_alerts_open",
    alerts.c.scope,
    alerts.c.kind,
    alerts.c.subject,
    unique=True,
    sqlite_where=LASTS,
    postgresql_where=LASTS,
)
Index("ix_alerts_began_at", alerts.c.began_at)

alert_messages: Final = Table(
    "alert_messages",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("alert_id", Text, ForeignKey("alerts.id"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("told", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("written_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("last_error", Text, nullable=False),
)
Index("ix_alert_messages_alert_id", alert_messages.c.alert_id)
Index(
    "ix_alert_messages_due",
    alert_messages.c.channel,
    alert_messages.c.id,
    sqlite_where=UNTOLD,
    postgresql_where=UNTOLD,
)

# Held until `due_at`: who leads, and whose scheduler runs.
named_leases: Final = Table(
    "named_leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
)

# What moved in each minute; the row "until" says which minute is counted next (docs/design/monitor.md).
transfer_rates: Final = Table(
    "transfer_rates",
    METADATA,
    Column("direction", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("instances", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
Index("ix_transfer_rates_minute", transfer_rates.c.minute)
