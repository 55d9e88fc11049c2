"""Fetch the results of tasks in the background, many at a time, while the coordinator does other things."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future as Pending
from typing import Any

from explorer.training.dask_import import Future


def result_of(task: Future[Any]) -> Pending[Any]:
    """Return a future of a task's result, which is fetched from its worker as soon as the task has ended.

    It has the task's error if there is one, or Dask's `CancelledError` if the connection to the scheduler is lost.
    """

    async def fetched() -> Any:  # noqa: ANN401 (any task)
        return await task

    # Dask fetches results that are asked for at the same time together. One after another, each takes a round trip.
    loop = task.client.loop.asyncio_loop
    return asyncio.run_coroutine_threadsafe(fetched(), loop)
