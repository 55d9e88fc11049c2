"""The command line's way in: turns every mistake of a user into one line on standard error and exit code 2."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 1 where runs failed, 2 for a user's mistake, 130 when interrupted."""
    from explorer.cli import run

    return run(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
