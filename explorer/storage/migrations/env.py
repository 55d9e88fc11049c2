"""Run the revisions on the caller's connection, with a version table separate from Optuna's."""

from alembic import context

from explorer.storage.tables import revision

context.configure(connection=context.config.attributes["connection"], version_table=revision.name)
context.run_migrations()
