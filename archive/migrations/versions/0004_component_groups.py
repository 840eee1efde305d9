"""Names that have more than one component group have an index of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAMES = (
    ("archive_patients", "patient_name"),
    ("archive_studies", "patient_name"),
    ("archive_studies", "referring_physician_name"),
)


def upgrade() -> None:
    for table, name in NAMES:
        key = f"{name}_key"
        is_grouped = sa.text(f"replace({key}, '=', '') <> {key}")
        op.create_index(
            f"ix_{table}_{name}_groups", table, [key], sqlite_where=is_grouped, postgresql_where=is_grouped
        )


def downgrade() -> None:
    for table, name in NAMES:
        op.drop_index(f"ix_{table}_{name}_groups", table)
