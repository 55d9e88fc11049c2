"""The Optuna dashboard on the stored studies, for this machine only."""

from __future__ import annotations

from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_dashboard import wsgi
from sqlalchemy.engine import URL

from explorer.errors import ExplorerError
from explorer.storage.optuna_view import optuna_storage

HOST = "127.0.0.1"


class _Quiet(WSGIRequestHandler):
    """Says nothing of every request; the page polls."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name that is overridden)
        """Drops the line."""


def dashboard_server(url: URL, port: int) -> WSGIServer:
    """A server of the dashboard on 127.0.0.1, listening but not serving yet; a port in use is an `ExplorerError`."""
    application = wsgi(optuna_storage(url))
    try:
        return make_server(HOST, port, application, handler_class=_Quiet)
    except OSError as error:
        raise ExplorerError(f"--port {port}: cannot be used: {error.strerror}; choose another") from None
