"""Create the tables from before there were revisions. Older storages may lack them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the missing tables."""
    op.create_table(
        "ledger_latencies",
        sa.Column("network", sa.String(64), primary_key=True),
        sa.Column("processor", sa.String(255), primary_key=True),
        sa.Column("torch", sa.String(32), primary_key=True),
        sa.Column("dtype", sa.String(16), primary_key=True),
        sa.Column("batch", sa.Integer, primary_key=True),
        sa.Column("threads", sa.Integer, primary_key=True),
        sa.Column("median_seconds", sa.Float, nullable=False),
        sa.Column("lower_seconds", sa.Float, nullable=False),
        sa.Column("upper_seconds", sa.Float, nullable=False),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("load", sa.Float),
        sa.Column("finished", sa.String(32), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "ledger_certificates",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("certificate", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "ledger_tests",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("study", sa.String(255), nullable=False),
        sa.Column("point", sa.Integer, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("accuracy", sa.Float, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("finished", sa.String(32), nullable=False),
        if_not_exists=True,
    )
