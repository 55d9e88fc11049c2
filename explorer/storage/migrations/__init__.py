"""Revisions of the tables, run in order by Alembic from the scripts in `versions/`.

To change the tables, edit `explorer.storage.tables`, add a script whose `down_revision` is the previous revision, and
set `explorer.storage.tables.REVISION` to its four-digit number.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def upgrade(connection: sa.Connection) -> None:
    """Migrate the tables to the latest revision within the connection's transaction."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "explorer.storage:migrations")
    command.upgrade(config, "head")
