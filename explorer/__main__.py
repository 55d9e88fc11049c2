"""Entry point of `python -m explorer` and the `explorer` command."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress

from explorer.commands.interrupts import STOPPED, interruptible


@interruptible
def main(arguments: list[str] | None = None) -> int:
    """Run a command and return 0, or 1 if a sweep left runs unfinished, 2 for a user error, 130 if interrupted."""
    try:
        from explorer.commands.cli import run
    except ModuleNotFoundError as error:
        if str(error.name).startswith("explorer"):
            raise
        print(  # noqa: T201 (errors go to stderr)
            f"explorer: {error.name} is not installed for {sys.executable}; "
            "activate the environment that has it, for example: source .venv/bin/activate",
            file=sys.stderr,
        )
        return 2

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not support all characters
    return run(sys.argv[1:] if arguments is None else arguments)


def program() -> None:
    """Run a command and exit; if interrupted, exit at once without interpreter cleanup."""
    code = main()
    if code == STOPPED:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    program()
