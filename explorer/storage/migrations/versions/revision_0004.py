"""Store the number of images per class with a study. It is unknown for older studies."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("ledger_studies", sa.Column("class_counts", sa.JSON))
