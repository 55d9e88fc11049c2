"""Entry point for `python -m explorer` and the `explorer` command."""

from __future__ import annotations

import sys

from explorer.commands.stopping import STOPPED, end, handle_signals, stop


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Return 0, 1 if a sweep left runs unfinished, 2 for a user error, or 130 if interrupted."""
    from explorer.commands.interrupts import interruptible

    return interruptible(_run)(sys.argv[1:] if arguments is None else arguments)


def program() -> None:
    """Run a command and exit. If interrupted, exit immediately without interpreter cleanup."""
    try:
        handle_signals()
        code = main()
    except KeyboardInterrupt:
        stop()
    if code == STOPPED:
        end()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
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
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not support all characters
    return run(arguments)


if __name__ == "__main__":
    program()
