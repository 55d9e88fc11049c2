"""Handle interrupted commands: print one line, exit with code 130, and let runs in progress end on the first Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from threading import current_thread, main_thread
from types import FrameType
from typing import ParamSpec

from explorer.commands.stopping import STOPPED

Arguments = ParamSpec("Arguments")


def interruptible(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Wrap the command to report an interruption in one line. The `KeyboardInterrupt` may provide the text."""

    @wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> int:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt as stop:
            with suppress(OSError):  # the terminal may be closed
                print(f"explorer: {stop if stop.args else 'stopped'}", file=sys.stderr, flush=True)  # noqa: T201 (as errors)
            return STOPPED

    return run


@contextmanager
def stopping_twice(ask: Callable[[], bool]) -> Iterator[None]:
    """Call `ask` on each Ctrl-C. If it returns False, handle the Ctrl-C as before."""
    before = signal.getsignal(signal.SIGINT)
    # Background jobs of a shell ignore Ctrl-C, and only the main thread can handle signals.
    if not callable(before) or current_thread() is not main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if not ask():
            before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
