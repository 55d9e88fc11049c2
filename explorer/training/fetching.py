"""Fetch the results of tasks in the background, many at a time, while the coordinator does other things."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future as Pending
from queue import Empty, SimpleQueue
from typing import Any

from explorer.training.dask_import import Future


class Results:
    """Results of tasks, each fetched from its worker as soon as the task has ended.

    Dask fetches results that are awaited at the same time together. One after another, each takes a round trip.
    """

    def __init__(self) -> None:
        # The only connection to Dask's thread: Ctrl-C may interrupt it anywhere without leaving a lock behind.
        self.arrived: SimpleQueue[tuple[Future[Any], Any]] = SimpleQueue()
        self.awaited: dict[Future[Any], Pending[None]] = {}

    def expect(self, task: Future[Any]) -> None:
        """Fetch the result of a task when it has ended."""
        self.awaited[task] = asyncio.run_coroutine_threadsafe(self._fetch(task), task.client.loop.asyncio_loop)

    def take(self, seconds: float) -> dict[Future[Any], Any]:
        """Return the results that have arrived, by task; wait for the first one at most this long.

        Instead of a result, there may be the task's error, or Dask's `CancelledError`.
        """
        found = {}
        try:
            task, result = self.arrived.get(timeout=seconds)
            while True:
                found[task] = result
                self.awaited.pop(task, None)
                task, result = self.arrived.get_nowait()
        except Empty:
            return found

    def close(self) -> None:
        """Expect no more results."""
        for pending in self.awaited.values():
            pending.cancel()

    async def _fetch(self, task: Future[Any]) -> None:
        try:
            result = await task
        except Exception as error:  # noqa: BLE001 (whatever the task raised)
            result = error
        self.arrived.put((task, result))
