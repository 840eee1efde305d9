"""Tables of what is fetched from other nodes (docs/design/pulls.md)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from dicomrelay.ledger.schema import DUE, METADATA, RUNNING

OPEN: Final = text("finished_at IS NULL")
ONLY_ONCE: Final = text("only_once <> ''")
pulls: Final = Table(
    "pulls",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, ForeignKey("destinations.name"), nullable=False),
    Column("state", Text, nullable=False),
    Column("rank", Integer, nullable=False),
    # JSON. The question may name a patient: it is "" once it is answered.
    Column("policy", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("asked_for", Text, nullable=False),
    Column("of_study", Text, nullable=False),
    Column("only_once", Text, nullable=False),
    Column("truncated", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("asked_at", BigInteger),
    Column("finished_at", BigInteger),
)
Index("ix_pulls_open", pulls.c.id, sqlite_where=OPEN, postgresql_where=OPEN)
Index("ix_pulls_finished_at", pulls.c.finished_at)
Index(
    "uq_pulls_only_once", pulls.c.only_once, unique=True, sqlite_where=ONLY_ONCE, postgresql_where=ONLY_ONCE
)

pull_steps: Final = Table(
    "pull_steps",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("pull_id", Text, ForeignKey("pulls.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, ForeignKey("destinations.name"), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # Retrievals in a row that brought nothing new.
    Column("rounds", Integer, nullable=False),
    Column("announced", Integer),
    # Of those: what is here, and what was here before anything was fetched.
    Column("here", Integer, nullable=False),
    Column("here_before", Integer, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("proof", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    UniqueConstraint("pull_id", "number"),
)
# In the order in which they go.
Index(
    "ix_pull_steps_due",
    pull_steps.c.source,
    pull_steps.c.rank,
    pull_steps.c.due_at,
    pull_steps.c.id,
    sqlite_where=DUE,
    postgresql_where=DUE,
)
Index("ix_pull_steps_open", pull_steps.c.pull_id, sqlite_where=DUE, postgresql_where=DUE)
Index("ix_pull_steps_running", pull_steps.c.source, sqlite_where=RUNNING, postgresql_where=RUNNING)

pull_missing: Final = Table(
    "pull_missing",
    METADATA,
    Column("step_id", Text, ForeignKey("pull_steps.id"), primary_key=True, nullable=False),
    Column("sop_instance_uid", Text, primary_key=True, nullable=False),
    Column("series_instance_uid", Text, nullable=False),
)

pull_polls: Final = Table(
    "pull_polls",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("due_at", BigInteger, nullable=False),
    # What the source had then was listed.
    Column("known_until", BigInteger),
    Column("pull_id", Text, nullable=False),
)
