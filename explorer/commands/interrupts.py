"""Ctrl-C and SIGTERM: the command prints one line, exits with code 130 and leaves no processes behind."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import ParamSpec

from explorer.commands.stopping import STOPPED

Arguments = ParamSpec("Arguments")


def interruptible(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Wrap the command to report interruptions in one line, which the `KeyboardInterrupt` may provide."""

    @wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> int:
        try:
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                return command(*arguments, **options)
            with _handling(signal.SIGTERM, _raise):
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
    if not callable(before):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if not ask():
            before(number, frame)

    with _handling(signal.SIGINT, handle):
        yield


def _raise(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(number: signal.Signals, handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    try:
        before = signal.signal(number, handle)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
