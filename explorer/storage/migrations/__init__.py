"""Revisions of the tables, run in order by Alembic from the scripts in `versions/`.

To change the tables: change `explorer.storage.tables`, add a script whose `down_revision` is the last one, and set
`explorer.storage.tables.REVISION` to its number, which has four digits.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def upgrade(connection: sa.Connection) -> None:
    """Migrate the tables to the newest revision within the connection's transaction."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "explorer.storage:migrations")
    command.upgrade(config, "head")
