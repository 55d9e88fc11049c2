"""Handle Ctrl-C, SIGTERM and SIGHUP from the start, even during slow imports. This module imports almost nothing."""

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
    """Raise `KeyboardInterrupt` on Ctrl-C, SIGTERM and SIGHUP, but exit immediately during an import.

    Imports may turn a `KeyboardInterrupt` into another exception.
    """
    # Shells start background jobs that ignore Ctrl-C. Keep ignoring it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):  # nohup ignores the second
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def stop() -> NoReturn:
    """Print that the command has stopped, and exit immediately."""
    with suppress(OSError):  # the terminal may be closed
        os.write(2, b"explorer: stopped\n")
    end()


def end() -> NoReturn:
    """Exit immediately after an interruption, without interpreter cleanup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, RuntimeError):  # for a closed pipe, or a signal in the middle of a line
        sys.stdout.flush()
    os._exit(STOPPED)


def _interrupt(_: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            stop()
        frame = frame.f_back
    raise KeyboardInterrupt
