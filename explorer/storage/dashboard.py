"""The Optuna dashboard for stored studies, served only to this machine."""

from __future__ import annotations

from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_dashboard import wsgi

from explorer.errors import ExplorerError
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.optuna_tables import OptunaTables


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (named by the base class)
        """Log nothing, because the page polls all the time."""


def dashboard_server(storage: str | Path = DEFAULT_STORAGE, port: int = 8080) -> WSGIServer:
    """Return an Optuna dashboard that listens on 127.0.0.1. Call `serve_forever` to run it.

    Args:
        storage: SQLite file or database URL.
        port: The port; 0 picks a free one.

    Raises:
        ExplorerError: The storage cannot be opened, or the port is in use.
    """
    application = wsgi(OptunaTables(Ledger(storage)).storage)
    try:
        return make_server("127.0.0.1", port, application, handler_class=_Quiet)
    except OSError as error:
        raise ExplorerError(f"--port {port}: {error.strerror}; choose another port") from None
