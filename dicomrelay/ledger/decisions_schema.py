"""Tables of what rules decided: the rules themselves, each decision with what was asked, and who put them in force.

docs/design/rules.md
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, text

from dicomrelay.ledger.schema import METADATA, ROW_NUMBER

OF_MANY: Final = text("level <> 'instance'")

rule_versions: Final = Table(
    "rule_versions",
    METADATA,
    Column("version", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
)
rule_activations: Final = Table(
    "rule_activations",
    METADATA,
    Column("id", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("decisions", Integer, nullable=False),
    Column("forced", Boolean, nullable=False),
)
decisions: Final = Table(
    "decisions",
    METADATA,
    Column("id", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("level", Text, nullable=False),  # instance, series, study
    Column("subject", Text, nullable=False),  # the id of an instance, or the UID of a series or a study
    Column("study_instance_uid", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("rules", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)
Index("ix_decisions_subject", decisions.c.subject)
Index(
    "ix_decisions_later",
    decisions.c.study_instance_uid,
    sqlite_where=OF_MANY,
    postgresql_where=OF_MANY,
)
Index("ix_decisions_at", decisions.c.at)
