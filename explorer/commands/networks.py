"""Commands about networks: list the design spaces; show, check, measure and export a design point."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.console import console, count, print_table
from explorer.commands.settings import read_settings
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from rich.console import Console

    from explorer.exporting.inspection import Inspection
    from explorer.networks.verification import CostCheck


def spaces() -> int:
    """List the design spaces with their presets and metaparameters."""
    from explorer import list_spaces

    screen = console()
    for name, group in groupby(list_spaces().to_dict(orient="records"), key=lambda row: row["space"]):
        rows = list(group)
        presets = rows[0]["presets"]
        screen.print(name, style="bold", end="")
        screen.print(f": {rows[0]['source']}; presets: {', '.join(presets)}", highlight=False)
        columns = ("metaparameter", "default", "values", "meaning")
        cells = [tuple(row[column] for column in columns) for row in rows]
        print_table(screen, ("metaparameter", presets[0], "values", "meaning"), cells)
    return 0


def describe(
    space: Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")],
    settings: Annotated[list[str] | None, typer.Argument(help="preset=NAME, and metaparameters as key=value.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Levels of the network to show.")] = 1,
    verify: Annotated[
        bool, typer.Option("--verify", help="Show fvcore's counts beside ours; exit code 1 if they differ.")
    ] = False,
    latency: Annotated[bool, typer.Option("--latency", help="Measure the latency of 1 and of 64 images.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that --latency measures on; 1 by default.")
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the network, untrained, to an ONNX file.")
    ] = None,
    torch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it, untrained, to a .pt2 file for torch.export.load.")
    ] = None,
) -> int:
    """Show the layers of a design point with output shapes and exact costs; check, measure and export its network."""
    from explorer import inspect

    if threads is not None and not latency:
        raise ExplorerError(f"--threads {threads}: needs --latency")
    preset, values = read_settings(settings)
    measured_on = (threads or 1) if latency else None
    found = inspect(space, preset, values, depth=depth, verify=verify, threads=measured_on, onnx=onnx, torch=torch)
    screen = console()
    _print_layers(screen, found)
    for note in found.notes:
        screen.print(note, highlight=False)
    if found.check:
        _print_check(screen, found.check)
    if found.latencies:
        _print_latencies(screen, found)
    for path in found.files:
        screen.print(f"wrote {path}: untrained, as seed 0 initialises it", highlight=False, soft_wrap=True)
    return int(found.check is not None and bool(found.check.mismatches))


def _print_layers(screen: Console, found: Inspection) -> None:
    """Print the layer table, and below it the costs that only the whole network has."""
    from explorer.networks.quantities import QUANTITIES

    headings = {"makes": "filters", "fvcore": f"{QUANTITIES['macs'].noun} by fvcore"}
    headings |= {key: quantity.heading for key, quantity in QUANTITIES.items()}
    texts = ("layer", "makes", "output")
    rows = [
        tuple(str(value) if name in texts else count(value) for name, value in row.items())
        for row in found.layers.to_dict(orient="records")
    ]
    header = tuple(headings.get(str(name), str(name)) for name in found.layers)
    print_table(screen, header, rows, right=len(header) - 2, total=True)
    for key, amount in found.amounts.items():
        if key not in found.layers:
            quantity = QUANTITIES[key]
            screen.print(f"{quantity.heading}: {quantity.text(amount)} ({key} = {amount:,})", highlight=False)
    screen.print(f"network: {found.network.digest[:12]}, one image, float32", highlight=False)


def _print_check(screen: Console, check: CostCheck) -> None:
    """Print the counts by operator, the params, and what should agree and does not."""
    rows = [
        (*map(count, (row.calls, row.ours, row.fvcore, row.difference)), str(row.operator), str(row.note))
        for row in check.operators.itertuples()
    ]
    rows = [(operator, note, *counts) for *counts, operator, note in rows]
    header = ("operator", "why", "calls not counted", "FLOPs, ours", "by fvcore", "difference")
    print_table(screen, header, rows, right=4)
    screen.print(f"params: {check.params:,} ours, {check.torch_params:,} by torch", highlight=False)
    for mismatch in check.mismatches:
        screen.print(f"differs: {mismatch}", style="red", highlight=False)
    if not check.mismatches:
        screen.print("params, and the FLOPs of every convolution and linear layer, are equal", highlight=False)


def _print_latencies(screen: Console, found: Inspection) -> None:
    from explorer.networks.quantities import LATENCY

    if found.warning:
        screen.print(found.warning, style="yellow", highlight=False)
    rows = [
        (
            *map(count, (one.batch, one.threads)),
            LATENCY.text(one.median_seconds),
            f"{LATENCY.text(one.lower_seconds)} to {LATENCY.text(one.upper_seconds)}",
            *map(count, (round(one.images_per_second), one.repeats)),
        )
        for one in found.latencies
    ]
    times = (f"{name}, {LATENCY.unit.name}" for name in ("median", "quartiles"))
    header = ("batch", "threads", *times, "images/s", "repeats")
    print_table(screen, header, rows, right=len(header))
    screen.print(f"{found.machine}, channels last, eager, untrained weights", highlight=False)
