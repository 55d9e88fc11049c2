"""Interrupted commands: one line, exit code 130, and a first Ctrl-C that lets the runs in progress end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import current_thread, main_thread
from types import FrameType
from typing import ParamSpec

from explorer.commands.stopping import STOPPED

Arguments = ParamSpec("Arguments")


def interruptible(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Wrap the command to report interruptions in one line, which the `KeyboardInterrupt` may provide."""

    @wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> int:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt as stop:
            print(f"explorer: {stop if stop.args else 'stopped'}", file=sys.stderr)  # noqa: T201 (as errors)
            return STOPPED

    return run


@contextmanager
def stopping_twice(ask: Callable[[], bool]) -> Iterator[None]:
    """Call `ask` on each Ctrl-C, and handle it as before if it returns False."""
    before = signal.getsignal(signal.SIGINT)
    # A shell's background jobs ignore Ctrl-C, and only the main thread can handle signals.
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
