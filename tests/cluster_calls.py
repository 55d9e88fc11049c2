"""What workers of a cluster do in tests instead of training; workers find this file on their path."""

import os
import signal
import time
from pathlib import Path


def first_time(file):
    try:
        Path(file).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def canned(job, folder, **about):
    row = {"state": "done", "reason": "", "images_per_second": 1e6, "host": {"folder": str(folder), **about}}
    return [row] * len(job)


def killed_once(marker, job, folder):
    if first_time(marker):
        os.kill(os.getpid(), signal.SIGKILL)
    return canned(job, folder)


def hanging_once(marker, job, folder):
    if first_time(marker):
        Path(marker).write_text(str(os.getpid()))
        time.sleep(1_000)
    return canned(job, folder)


def signalled_once(marker, number, job, folder):
    """Signal the Dask worker, the parent of this process, while this process goes on."""
    if first_time(marker):
        Path(marker).write_text(f"{os.getpid()} {os.getppid()}")
        os.kill(os.getppid(), number)
        time.sleep(1_000)
    return canned(job, folder, worker=os.getppid())


def hungry(job, folder):
    content = bytearray(os.urandom(1 << 20)) * 700
    time.sleep(30)
    return canned(job, folder, size=len(content))


def failing(job, folder):
    raise ZeroDivisionError(f"{len(job)} run in {folder.name}")


def environment(job, folder):
    return canned(job, folder, pid=os.getpid(), threads=os.environ["OMP_NUM_THREADS"], **allocator())


def allocator():
    return {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
