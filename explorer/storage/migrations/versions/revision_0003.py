"""Store the predicted classes with each run. They are unknown for older runs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("ledger_runs", sa.Column("predicted", sa.LargeBinary))
