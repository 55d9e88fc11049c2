"""Ctrl-C and SIGTERM from the first moment on: this module imports almost nothing, and stops imports at once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

STOPPED = 130
"""Exit code of an interrupted command."""


def handle_signals() -> None:
    """Stop at once at a Ctrl-C or SIGTERM in the middle of an import, else raise `KeyboardInterrupt`.

    In an import, a `KeyboardInterrupt` may turn into another exception.
    """
    # A background job of a shell ignores Ctrl-C, and goes on doing so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def stop() -> NoReturn:
    """Say that the command has stopped, and end the process."""
    os.write(2, b"explorer: stopped\n")
    end()


def end() -> NoReturn:
    """End an interrupted process at once, without clearing up the interpreter."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, RuntimeError):  # a closed pipe, or a signal in the middle of a line
        sys.stdout.flush()
    os._exit(STOPPED)


def _interrupt(_: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            stop()
        frame = frame.f_back
    raise KeyboardInterrupt
