"""Fetch the results of tasks in the background, many at a time, while the coordinator does other things."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future as Pending
from typing import Any

from explorer.training.dask_import import Client, Future


def result_of(client: Client, task: Future[Any]) -> Pending[Any]:
    """Return a future of a task's result, which is fetched from its worker as soon as the task has ended.

    It has the task's error if there is one, or Dask's `CancelledError` if the connection to the scheduler is lost.
    """

    async def fetched() -> Any:  # noqa: ANN401 (any task)
        return await client.gather(task, asynchronous=True)

    # Dask fetches results that are asked for at the same time together. One after another, each takes a round trip.
    # Tornado's types allow other loops, but Dask always has this one.
    loop = client.loop.asyncio_loop  # type: ignore[union-attr]
    return asyncio.run_coroutine_threadsafe(fetched(), loop)
