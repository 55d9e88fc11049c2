"""Store searches: the points that they propose, their runs at lower rungs, and what they declined to train."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables and the column."""
    op.add_column("ledger_studies", sa.Column("declined", sa.JSON))
    op.create_table(
        "ledger_proposals",
        sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
        sa.Column("point", sa.Integer, primary_key=True),
        sa.Column("row", sa.JSON, nullable=False),
    )
    op.create_table(
        "ledger_rungs",
        sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
        sa.Column("point", sa.Integer, primary_key=True),
        sa.Column("seed", sa.Integer, primary_key=True),
        sa.Column("epochs", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
    )
