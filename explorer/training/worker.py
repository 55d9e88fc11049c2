"""A worker process: `python -m explorer.training.worker SCHEDULER FOLDER` serves a Dask scheduler with one thread."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading


def end_with_parent() -> None:
    """Have this process exit when its parent's end of standard input closes, however the parent ended."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


async def _serve(scheduler: str, folder: str) -> None:
    from explorer.training.dask_import import Worker

    worker = Worker(
        scheduler,
        nthreads=1,
        name=os.getpid(),
        host="127.0.0.1",
        # The coordinator watches the memory. By default, Dask would silently pause a worker at 80 %.
        memory_limit=0,
        local_directory=folder,
    )
    async with worker:
        await worker.finished()


if __name__ == "__main__":
    end_with_parent()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(_serve(*sys.argv[1:]))
