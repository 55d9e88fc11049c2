"""A running Dask scheduler, whose workers train instead of processes on this machine: its address and certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.training.dask_import import Client, Security

CONNECT_SECONDS = 6
EXAMPLE = "tcp://127.0.0.1:8786"


@dataclass(frozen=True)
class Cluster:
    """The address of a Dask scheduler, with the certificates that an encrypted one needs.

    Attributes:
        address: `tcp://host:port`, or `tls://host:port` with the three files.
        ca: File of the authority that signed the certificates of the scheduler and its workers.
        cert: This machine's certificate, signed by the same authority.
        key: The private key of `cert`.

    Raises:
        ExplorerError: The address is malformed, or a file is missing, unreadable or invalid.
    """

    address: str
    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.address)
            valid = parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port and not parts.path.strip("/")
        except ValueError:
            valid = False
        if not valid:
            raise ExplorerError(
                f"cluster {self.address}: give the scheduler's address as tcp://host:port or tls://host:port, "
                f"such as {EXAMPLE}"
            )
        files = {"ca": self.ca, "cert": self.cert, "key": self.key}
        missing = [name for name, file in files.items() if file is None]
        if parts.scheme == "tls" and missing:
            raise ExplorerError(
                f"cluster {self.address}: TLS needs ca, cert and key (--tls-ca, --tls-cert, --tls-key); not given: "
                f"{', '.join(missing)}"
            )
        if parts.scheme == "tcp" and len(missing) < len(files):
            raise ExplorerError(
                f"cluster {self.address}: TLS files are for encrypted addresses; drop them, or write "
                f"{self.address.replace('tcp', 'tls', 1)}"
            )
        if parts.scheme == "tls":
            for file in files.values():
                _check_readable(Path(str(file)))
            _check_certificates(*(str(file) for file in files.values()))

    @classmethod
    def read(cls, cluster: Cluster | str | None) -> Cluster | None:
        """Return a cluster given as an address or as `Cluster`."""
        return cls(cluster) if isinstance(cluster, str) else cluster

    def threads(self) -> int:
        """Return the number of threads of all workers now; raises `ExplorerError` if no scheduler answers."""
        from explorer.training.dask_import import dask_defaults, rpc

        async def ask() -> dict[str, Any]:
            arguments = self._security.get_connection_args("client")
            async with rpc(self.address, timeout=CONNECT_SECONDS, connection_args=arguments) as scheduler:
                # Dask waits forever for a server that accepts a connection and says nothing.
                answer: dict[str, Any] = await asyncio.wait_for(scheduler.identity(n_workers=0), CONNECT_SECONDS)
                return answer

        # In its own thread, because a notebook has a running loop.
        with dask_defaults({}), ThreadPoolExecutor(1) as thread:
            try:
                parts = urlsplit(self.address)
                # Dask would try again where nothing listens.
                socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
                answer = thread.submit(asyncio.run, ask()).result()
            except Exception as error:  # a server that is not Dask's can raise anything
                raise self._unreachable(error) from error
        if answer["type"] != "Scheduler":
            raise ExplorerError(f"cluster {self.address}: a scheduler must answer there, but a {answer['type']} does")
        return int(answer["total_threads"])

    @contextmanager
    def connect(self) -> Iterator[Client]:
        """Connect to the scheduler; raises `ExplorerError` if it does not answer within seconds."""
        from explorer.training.dask_import import Client, dask_defaults

        self.threads()
        with dask_defaults({}):
            try:
                with warnings.catch_warnings(action="ignore"):  # about package versions
                    client = Client(self.address, security=self._security, timeout=CONNECT_SECONDS)
            except OSError as error:
                raise self._unreachable(error) from error
            try:
                yield client
            finally:
                with suppress(TimeoutError, OSError):
                    client.close(timeout=1)

    @property
    def _security(self) -> Security:
        from explorer.training.dask_import import Security

        files = {"tls_ca_file": self.ca, "tls_client_cert": self.cert, "tls_client_key": self.key}
        given = {name: str(file) for name, file in files.items() if file is not None}
        return Security(require_encryption=bool(given), **given)

    def _unreachable(self, error: Exception) -> ExplorerError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                return ExplorerError(
                    f"cluster {self.address}: TLS fails ({_said(cause)}); the scheduler, its workers and this machine "
                    "need certificates of the same authority"
                )
            cause = cause.__cause__ or cause.__context__
        return ExplorerError(
            f"cluster {self.address}: no Dask scheduler answers there; start one with `dask scheduler`, "
            "or check the address"
        )


def _check_readable(file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise ExplorerError(f"TLS file {file}: it must be readable, but {error.strerror or error}") from error


def _check_certificates(ca: str, cert: str, key: str) -> None:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca)
    except (ssl.SSLError, ValueError) as error:
        raise ExplorerError(f"TLS file {ca}: it must hold certificates in PEM format ({_said(error)})") from error
    try:
        context.load_cert_chain(cert, key, password="")  # never ask for one
    except (ssl.SSLError, ValueError) as error:
        raise ExplorerError(
            f"TLS files {cert} and {key}: they must be a certificate and its private key in PEM format, "
            f"without a password ({_said(error)})"
        ) from error


def _said(error: BaseException) -> str:
    return getattr(error, "reason", None) or str(error)
