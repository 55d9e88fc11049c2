"""The workers of a running Dask scheduler as a crew: they may join, leave, freeze, or differ from this machine."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from explorer.data.dataset import FILES
from explorer.errors import ExplorerError
from explorer.training.cluster import Cluster
from explorer.training.crew import DIED, WORKER_BYTES, silent_scheduler
from explorer.training.dask_import import CancelledError, Client, Future, wait
from explorer.training.hosting import Place, Welcome, dismiss, perform_in_child, receive, received, welcome
from explorer.training.software import Software

LOOK_SECONDS = 1.0  # between requests for the scheduler's workers
ANSWER_SECONDS = 60  # for the scheduler to answer; a frozen one never does
RESULT_SECONDS = 5  # to fetch a finished result
SILENT_SECONDS = 60.0
"""Time without a sign of life after which a worker counts as lost; Dask's workers send one every few seconds."""

ALONE_SECONDS = 5.0
"""Time without workers after which the user is told so."""

SENT_BYTES = 4 * 2**20  # of the data in one message
MESSAGES = 4  # on their way to one worker
RECEIVERS = 4  # workers that receive data at the same time

DONE = object()

Steps: TypeAlias = Generator[None, None, Any]
"""Work that yields while it waits."""


class WorkerGone(Exception):  # noqa: N818 (named after the outcome)
    """A worker left while it was being checked."""


@dataclass(eq=False)
class Host:
    """A worker of the scheduler, which trains in several places at the same time.

    Attributes:
        address: Its address.
        admission: Its check, while that is in progress.
        folder: The data set's folder there.
        slots: Its places; none until it is admitted, or if it is refused.
        heard: The scheduler's time of its last sign of life.
        silent: Seconds since then.
        present: Whether the scheduler can reach it.
        refused: Why it is not used.
        told: Whether the user knows.
    """

    address: str
    folder: Path
    admission: Steps | None = None
    slots: list[Slot] = field(default_factory=list)
    heard: float = 0.0
    silent: float = 0.0
    present: bool = True
    refused: str = ""
    told: bool = False


@dataclass(eq=False)
class Slot:
    """A place on a worker of the scheduler, as a member of the crew."""

    host: Host
    place: Place
    networks: set[str] = field(default_factory=set)
    trouble: str = DIED
    fresh: bool = False

    @property
    def alive(self) -> bool:
        """Whether the scheduler can reach its worker."""
        return self.host.present

    @property
    def where(self) -> str:
        """The address of its worker."""
        return self.host.address

    def end(self) -> None:
        """Let its next job train in a new process."""
        self.networks.clear()
        self.fresh = True


class RemoteCrew:
    """The workers of a scheduler that compute with the same software as this machine."""

    shared = True
    """A job may have to wait on its worker until those of others have ended; it reports when it begins."""

    def __init__(
        self,
        client: Client,
        address: str,
        data: tuple[Path, str],
        tell: Callable[[str], None],
        changed: Callable[[int], None],
        most: int | None,
        memory_limit: float | None,
        per_gpu: int,
    ) -> None:
        self.client = client
        self.address = address
        self.folder, self.fingerprint = data
        self.tell = tell
        self.changed = changed
        self.most = most
        self.memory_limit = memory_limit
        self.per_gpu = per_gpu
        self.name = uuid.uuid4().hex[:12]
        self.software = Software.here()
        self.hosts: dict[str, Host] = {}
        self.number: int | None = None  # of places, as last reported; None before the first
        self.receiving = 0
        self.look = self.alone = 0.0
        self.topic = ""

    @property
    def ready(self) -> list[Slot]:
        """The places on workers that are admitted."""
        slots = [slot for host in self.hosts.values() for slot in host.slots]
        return slots[: self.most]

    @property
    def complete(self) -> bool:
        """Whether no worker is being checked."""
        return not any(host.admission for host in self.hosts.values())

    def tend(self, seconds: float) -> None:
        """Check workers that joined and drop those that left; last called `seconds` ago.

        Raises:
            ExplorerError: The scheduler does not respond, or no worker has the software of this machine.
        """
        self.look -= seconds
        if self.look <= 0:
            self.look = LOOK_SECONDS
            self._look(LOOK_SECONDS)
        for host in self.hosts.values():
            if host.admission is not None and next(host.admission, DONE) is DONE:
                host.admission = None
        self._report(seconds)

    def listen(self, topic: str, hear: Callable[[str, float], None]) -> None:
        """Call `hear` with the key and the speed of each report to a topic; a speed of 0 means that the job begins."""
        self.topic = topic

        def own(event: tuple[float, tuple[str, str, float]]) -> None:
            coordinator, key, speed = event[1]
            if coordinator == self.name:
                hear(key, speed)

        self.client.subscribe_topic(topic, own)

    def submit(self, member: Any, call: Callable[..., Any], job: Any, _: Path, key: str) -> Future[Any]:  # noqa: ANN401
        """Run a call with a job and the data set's folder on a member."""
        fresh, member.fresh, member.trouble = member.fresh, False, DIED
        task = partial(
            perform_in_child, member.place, self.topic, fresh, job[0].key, partial(call, job, member.host.folder)
        )
        return self._submit(member.host, task, key=key)

    def recheck(self, member: Any, folder: Path) -> None:  # noqa: ANN401 (of this crew)
        """Check a member's worker again, because it cannot read the data set, which is in `folder` here."""
        self.folder = folder
        member.host.slots = []
        member.host.admission = self._admit(member.host)

    def close(self) -> None:
        """End the children that wait for jobs; those that train end when their tasks are cancelled with the client."""
        futures = [self._submit(host, dismiss, self.name) for host in self.hosts.values() if host.slots]
        with suppress(TimeoutError, CancelledError, OSError):
            if futures:
                wait(futures, timeout=1)

    def _submit(self, host: Host, call: Callable[..., Any], *arguments: object, key: str = "call") -> Future[Any]:
        return self.client.submit(
            call,
            *arguments,
            key=f"explorer-{self.name}-{key}-{uuid.uuid4().hex[:8]}",
            pure=False,
            workers=[host.address],
            allow_other_workers=False,
        )

    def _look(self, seconds: float) -> None:
        try:
            known = self.client.sync(self._identity, callback_timeout=ANSWER_SECONDS)["workers"]
        except (OSError, TimeoutError, ValueError, CancelledError) as error:
            raise silent_scheduler() from error
        for address, worker in known.items():
            host = self.hosts.get(address) or self._join(address)
            host.silent = 0.0 if worker["last_seen"] != host.heard else host.silent + seconds
            host.heard = worker["last_seen"]
        for host in list(self.hosts.values()):
            if host.address not in known:
                self._drop(host, "its worker left the cluster")
                del self.hosts[host.address]
            elif host.silent > SILENT_SECONDS and host.present:
                self._drop(host, f"its worker gave no sign of life for {SILENT_SECONDS:.0f} s")
            elif host.silent == 0 and not host.present:
                self._join(host.address)

    async def _identity(self) -> dict[str, Any]:
        scheduler = self.client.scheduler
        if scheduler is None:
            raise silent_scheduler()
        found: dict[str, Any] = await scheduler.identity(n_workers=-1)
        return found

    def _join(self, address: str) -> Host:
        host = Host(address, self.folder)
        host.admission = self._admit(host)
        self.hosts[address] = host
        return host

    def _drop(self, host: Host, trouble: str) -> None:
        host.present = False
        if host.admission is not None:
            host.admission.close()
            host.admission = None
        for slot in host.slots:
            slot.trouble = trouble
        host.slots = []

    def _admit(self, host: Host) -> Steps:
        """Check a worker, give it the data, and make its places available."""
        try:
            found: Welcome = yield from self._result(host, welcome, Place(self.name, 0), self.folder, self.fingerprint)
            if found.software != self.software:
                host.refused = f"it computes with {found.software}, but this machine with {self.software}"
                return
            if found.folder is None:
                found = replace(found, folder=(yield from self._send_data(host)))
            if found.folder is None:
                host.refused = "the data did not arrive there intact"
                return
            host.folder, host.slots = found.folder, [Slot(host, place) for place in self._places(found)]
        except WorkerGone:
            return
        except ExplorerError:
            raise
        except ImportError as error:
            host.refused = f"{error}; the scheduler and its workers need this version of the explorer"
        except Exception as error:
            if "deserialization of the task graph" in str(error):
                raise ExplorerError(
                    f"cluster {self.address}: its scheduler cannot read runs; install this version of the explorer "
                    "where it runs, too"
                ) from error
            host.refused = f"{type(error).__name__}: {error}".splitlines()[0]

    def _places(self, found: Welcome) -> list[Place]:
        cuda = found.software.numerics.device == "cuda"
        most = self.per_gpu * found.gpus if cuda else max(1, found.memory // WORKER_BYTES)
        count = min(found.threads, most)
        limit = self.memory_limit or found.memory / count
        return [Place(self.name, number, number % found.gpus if cuda else None, limit) for number in range(count)]

    def _send_data(self, host: Host) -> Generator[None, None, Path | None]:
        while self.receiving >= RECEIVERS:
            yield
        self.receiving += 1
        try:
            sent: deque[Steps] = deque()
            for name, start, content in _parts(self.folder):
                sent.append(self._result(host, receive, self.folder.name, self.name, name, start, content))
                if next(sent[-1], None) or len(sent) >= MESSAGES:
                    yield from sent.popleft()
            for waiting in sent:
                yield from waiting
            arrived: Path | None = yield from self._result(
                host, received, self.folder.name, self.name, self.fingerprint
            )
            return arrived
        finally:
            self.receiving -= 1

    def _result(self, host: Host, call: Callable[..., Any], *arguments: Any) -> Steps:  # noqa: ANN401 (any task)
        future = self._submit(host, call, *arguments)
        while not future.done():
            yield
        if future.status in {"cancelled", "lost"}:
            raise WorkerGone
        return future.result(timeout=RESULT_SECONDS)

    def _report(self, seconds: float) -> None:
        """Tell the user about refused workers, a lack of workers and their number."""
        hosts, number = self.hosts.values(), len(self.ready)
        refused = [host for host in hosts if host.refused and not host.told]
        if self.number is None and hosts and all(host.refused for host in hosts):
            raise ExplorerError(
                f"cluster {self.address}: none of its {len(hosts)} workers can be used; {refused[0].address}: "
                f"{refused[0].refused}"
            )
        self.alone = self.alone + seconds if not number and self.complete else 0.0
        if self.alone - seconds < ALONE_SECONDS <= self.alone:
            self.tell(f"waiting for workers at {self.address}; start one with `dask worker {self.address}`")
        if number != (self.number or 0):
            self.number = number
            self.changed(number)
        if self.number is not None:
            for host in refused:
                host.told = True
                self.tell(f"worker {host.address} is not used: {host.refused}")


def _parts(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield the files of a data set in parts: name, start and content."""
    try:
        for name in FILES:
            with (folder / name).open("rb") as file:
                start = 0
                while content := file.read(SENT_BYTES):
                    yield name, start, content
                    start += len(content)
    except OSError as error:
        raise ExplorerError(f"the data in {folder} cannot be sent to workers: {error.strerror or error}") from error


@contextmanager
def remote_crew(
    cluster: Cluster,
    data: tuple[Path, str],
    tell: Callable[[str], None],
    changed: Callable[[int], None],
    *,
    most: int | None = None,
    memory_limit: float | None = None,
    per_gpu: int = 1,
) -> Iterator[RemoteCrew]:
    """Connect to a scheduler and yield a crew of its workers.

    Args:
        cluster: The scheduler.
        data: The data set's folder here and its fingerprint.
        tell: Called with what the user should know, such as why a worker is not used.
        changed: Called with the number of runs that train at the same time, whenever it changes.
        most: Limit of that number.
        memory_limit: Bytes that a run may use; by default an equal share of its worker's memory.
        per_gpu: Runs that share a GPU.
    """
    with cluster.connect() as client:
        crew = RemoteCrew(client, cluster.address, data, tell, changed, most, memory_limit, per_gpu)
        try:
            yield crew
        finally:
            crew.close()
