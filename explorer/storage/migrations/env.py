"""How Alembic runs the revisions: on the caller's connection, and with a version table apart from Optuna's."""

from alembic import context

from explorer.storage.tables import revision

context.configure(connection=context.config.attributes["connection"], version_table=revision.name)
context.run_migrations()
