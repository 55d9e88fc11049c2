"""The tables of the ledger at the latest revision. `explorer.storage.migrations` explains how to change them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

REVISION = "0007"
SCHEMA = 2  # for versions older than revisions, which only open schema 1

# The names must differ from Optuna's tables in the same database.
metadata = sa.MetaData()
version = sa.Table("ledger_version", metadata, sa.Column("schema", sa.Integer, primary_key=True))
revision = sa.Table(
    "ledger_revision",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="ledger_revision_pkc"),
)
runs = sa.Table(
    "ledger_runs",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("network", sa.String(64), nullable=False, index=True),
    sa.Column("data_fingerprint", sa.String(64), nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("traceback", sa.Text),
    sa.Column("accuracy", sa.Float),
    sa.Column("accuracies", sa.JSON(none_as_null=True)),
    sa.Column("train_losses", sa.JSON(none_as_null=True)),
    sa.Column("validation_images", sa.Integer),
    sa.Column("correct", sa.LargeBinary),
    sa.Column("top_probability", sa.LargeBinary),
    sa.Column("predicted", sa.LargeBinary),
    sa.Column("seconds", sa.Float),
    sa.Column("images_per_second", sa.Float),
    sa.Column("peak_memory_bytes", sa.BigInteger),
    sa.Column("finished", sa.String(32), nullable=False),
    sa.Column("host", sa.JSON, nullable=False),
    sa.Column("file_bytes", sa.BigInteger),
)
weights = sa.Table(
    "ledger_weights",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
studies = sa.Table(
    "ledger_studies",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("data_fingerprint", sa.String(64), nullable=False),
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("versions", sa.JSON, nullable=False),
    sa.Column("machine", sa.JSON, nullable=False),
    sa.Column("points", sa.JSON, nullable=False),
    sa.Column("classes", sa.Integer, nullable=False),
    sa.Column("class_counts", sa.JSON(none_as_null=True)),
    sa.Column("declined", sa.JSON(none_as_null=True)),
)
members = sa.Table(
    "ledger_members",
    metadata,
    sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
    sa.Column("point", sa.Integer, primary_key=True),
    sa.Column("seed", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),
)
proposals = sa.Table(
    "ledger_proposals",
    metadata,
    sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
    sa.Column("point", sa.Integer, primary_key=True),
    sa.Column("row", sa.JSON, nullable=False),
)
rungs = sa.Table(
    "ledger_rungs",
    metadata,
    sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
    sa.Column("point", sa.Integer, primary_key=True),
    sa.Column("seed", sa.Integer, primary_key=True),
    sa.Column("epochs", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),
)
sources = sa.Table(
    "ledger_sources",
    metadata,
    sa.Column("study", sa.String(255), sa.ForeignKey("ledger_studies.name"), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
)
latencies = sa.Table(
    "ledger_latencies",
    metadata,
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
)
certificates = sa.Table(
    "ledger_certificates",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("certificate", sa.Text, nullable=False),
)
tests = sa.Table(
    "ledger_tests",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("study", sa.String(255), nullable=False),
    sa.Column("point", sa.Integer, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("accuracy", sa.Float, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("finished", sa.String(32), nullable=False),
)


def foreign_table(connection: sa.Connection, tables: Iterable[sa.Table]) -> str | None:
    """Return the name of a table or view that is named like one of these tables but lacks columns, or None."""
    inspector = sa.inspect(connection)
    present = {*inspector.get_table_names(), *inspector.get_view_names()}
    for table in tables:
        if table.name in present:
            columns = {column["name"] for column in inspector.get_columns(table.name)}
            if not columns >= set(table.columns.keys()):
                return table.name
    return None
