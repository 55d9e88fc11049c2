"""The command line: all commands, and error reporting."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from explorer.commands import exports, networks, prices, studies
from explorer.errors import ExplorerError

COMMANDS = (
    studies.sweep,
    studies.report,
    studies.compare,
    studies.certify,
    studies.dashboard,
    studies.studies,
    networks.spaces,
    networks.describe,
    networks.latency,
    exports.export,
    exports.images,
    prices.price,
)


def application() -> typer.Typer:
    """The command line, with an option of `fit` for each quantity that is a budget."""
    app = typer.Typer(
        name="explorer",
        help="Explore the design spaces of small CNNs: exact costs, measured accuracies, honest uncertainties.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(common)
    for command in (*COMMANDS, prices.fit_command()):
        app.command()(command)
    return app


def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Declares the option that all commands share; `run` reads it, wherever it is."""


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    debug = "--debug" in arguments
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        return application()(rest, prog_name="explorer", standalone_mode=False, obj=rest) or 0
    except (ExplorerError, TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        if message:  # empty if no command was given, which shows the help
            print(f"explorer: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 (errors go to stderr)
        return 2
