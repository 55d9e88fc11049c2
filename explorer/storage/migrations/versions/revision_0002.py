"""Store the number of classes with each study."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from explorer.errors import ExplorerError
from explorer.pricing.prices import price
from explorer.spaces import find_space

revision = "0002"
down_revision = "0001"

BUILT_IN = {"proxy", "cifar10"}

studies = sa.table(
    "ledger_studies",
    sa.column("name", sa.String),
    sa.column("study", sa.Text),
    sa.column("points", sa.JSON),
    sa.column("classes", sa.Integer),
)


def upgrade() -> None:
    """Add the column and fill it for stored studies."""
    op.add_column("ledger_studies", sa.Column("classes", sa.Integer))
    connection = op.get_bind()
    for row in connection.execute(sa.select(studies.c.name, studies.c.study, studies.c.points)).all():
        classes = _classes(json.loads(row.study), row.points)
        connection.execute(studies.update().where(studies.c.name == row.name).values(classes=classes))
    with op.batch_alter_table("ledger_studies") as table:
        table.alter_column("classes", existing_type=sa.Integer, nullable=False)
    # Versions older than revisions reject schema 2 with a one-line error.
    op.execute("UPDATE ledger_version SET schema = 2")


def _classes(study: dict[str, Any], points: list[dict[str, Any]]) -> int:
    try:
        known = find_space(study["space"]).model_fields
        planned = next(point for point in points if point["state"] == "planned")
        settings = study["fixed"] | {key: planned[key] for key in known if planned.get(key) is not None}
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        if "classes" in settings:
            return int(settings["classes"])
        if study["data"] not in BUILT_IN:
            two, three = price(study["space"], study["preset"], **settings, classes=[2, 3])["params"]
            # Each class adds the same number of params.
            more: int = round((planned["params"] - two) / (three - two))
            return 2 + more
    except ExplorerError:
        pass  # The space was removed or changed, so the digests differ for any number of classes.
    return 10
