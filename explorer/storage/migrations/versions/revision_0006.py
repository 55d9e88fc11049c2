"""Store the traceback of a run that crashed with an exception; unknown for older runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("ledger_runs", sa.Column("traceback", sa.Text))
