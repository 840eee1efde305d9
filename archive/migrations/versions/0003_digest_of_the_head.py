"""What is in front of a data set has a digest of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    # NULL where it is not known yet: the scrub writes down what it finds when it first looks at the file.
    op.add_column("archive_instances", sa.Column("head_digest", TEXT))


def downgrade() -> None:
    op.drop_column("archive_instances", "head_digest")
