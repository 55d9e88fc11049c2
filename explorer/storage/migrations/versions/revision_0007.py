"""Store weights, the runs that studies start from, and the bytes of compressed files."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables and the column."""
    op.add_column("ledger_runs", sa.Column("file_bytes", sa.BigInteger))
    op.create_table(
        "ledger_weights",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_sources",
        sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
    )
