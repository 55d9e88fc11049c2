"""The command line: all commands, and error reporting."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated

import typer
from typer.exceptions import TyperException

from explorer.commands import compression, editing, exports, networks, prices, searches, status, studies, transfer
from explorer.commands.console import printable
from explorer.commands.interrupts import interruptible
from explorer.errors import ExplorerError

COMMANDS: dict[Callable[..., int], str] = {
    studies.sweep: "sweep squeeze_ratio --data cifar10 --seeds 5",
    searches.search: 'search squeezenet --where "params < 200k and FLOPs <= 5M" --time 30m',
    status.status: "status squeeze_ratio",
    studies.retry: "retry squeeze_ratio",
    studies.report: "report squeeze_ratio --figures pdf",
    studies.compare: "compare squeeze_ratio pct3x3 --against params",
    studies.certify: "certify squeezenet --data cifar10 --dry-run",
    studies.dashboard: "dashboard --storage explorer.db",
    studies.studies: "studies --json",
    editing.delete: "delete squeeze_ratio --runs",
    editing.rename: "rename squeeze_ratio first_try",
    networks.spaces: "spaces",
    networks.describe: "describe squeezenet preset=v1_0 squeeze_ratio=0.25 --levels 2",
    networks.count: "count networks.py:build --input 3,224,224",
    networks.latency: "latency squeeze_ratio --threads 2",
    exports.export: "export squeeze_ratio --point 0.25 --out chosen",
    transfer.transfer: "transfer path/to/photos --from mine",
    compression.compress: "compress squeeze_ratio --density 3x3=0.33 --bits 6",
    exports.images: "images squeeze_ratio:0.25 --out sheet.png",
    prices.price: 'price squeezenet preset=cifar base_e=8..256 --where "params < 500k" --sort -params',
}
"""The commands, each with the example that its help shows."""

FIT_EXAMPLE = "fit squeezenet preset=cifar --params 500k --macs 20M"


def application() -> typer.Typer:
    """Return the command line, with a `fit` option for each quantity that can be a budget."""
    app = typer.Typer(
        name="explorer",
        help="Explore the design spaces of small CNNs: exact costs, measured accuracies, honest uncertainties.",
        epilog="Example: explorer sweep squeeze_ratio --quick",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # its boxes cut off long options
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(common)
    for command, example in COMMANDS.items():
        app.command(short_help=summary(command), epilog=f"Example: explorer {example}")(interruptible(command))
    spelling = {"token_normalize_func": prices.option_name}
    fit = interruptible(prices.fit_command())
    example = f"Example: explorer {FIT_EXAMPLE}"
    app.command(short_help=summary(fit), epilog=example, context_settings=spelling)(fit)
    return app


def summary(command: Callable[..., int]) -> str:
    """Return the first line of a command's help. Without this, the list of commands would cut it off."""
    return (command.__doc__ or "").partition("\n")[0]


def show_version(wanted: bool) -> None:
    """Print the versions of explorer and torch, and exit."""
    if wanted:
        from importlib.metadata import version

        print(f"explorer {version('cnn-design-explorer')}, torch {version('torch')}")  # noqa: T201 (without colours)
        raise typer.Exit


def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """Declare the options shared by all commands. `run` accepts `--debug` in any position."""


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    debug = "--debug" in arguments
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        return application()(rest, prog_name="explorer", standalone_mode=False, obj=rest) or 0
    except (ExplorerError, TyperException) as error:
        if debug:
            raise
        message = _message(error)
        if message:  # it is empty if no command was given and the help was shown
            shown = printable(" ".join(message.split()))
            print(f"explorer: {shown}", file=sys.stderr)  # noqa: T201 (errors go to stderr)
        return 2


def _message(error: Exception) -> str:
    """Return the message of an error. Messages of the parser are reworded and suggest the nearest option."""
    if not isinstance(error, TyperException):
        return str(error)
    possible, typed = getattr(error, "possibilities", None), getattr(error, "option_name", "")
    if possible and typed:
        near = get_close_matches(typed, possible, n=1)
        return f"No such option: {typed}{f'; did you mean {near[0]!r}?' if near else ''}"
    said = re.sub(r"valid integer(, .*)?$", "whole number", error.format_message())
    return re.sub(r"valid number, .*$", "number", said).replace("Input should", "should")
