"""Commands about networks: list the design spaces; show, check, measure and export a design point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.commands.console import console, count, print_table
from explorer.commands.settings import read_settings
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from rich.console import Console

    from explorer.networks.network import Network
    from explorer.networks.verification import CostCheck


def spaces() -> int:
    """List the design spaces with their presets and metaparameters."""
    from explorer.spaces import all_spaces
    from explorer.spaces.space import label

    screen = console()
    for space in all_spaces().values():
        screen.print(space.name, style="bold", end="")
        screen.print(f": {space.source}; presets: {', '.join(space.presets)}", highlight=False)
        rows = [
            (name, label(field.get("default")), _rule(field), str(field.get("description", "")))
            for name, field in space.model_json_schema()["properties"].items()
        ]
        print_table(screen, ("metaparameter", next(iter(space.presets)), "values", "meaning"), rows)
    return 0


def describe(
    space: Annotated[str, typer.Argument(help="A design space (see `explorer spaces`).")],
    settings: Annotated[list[str] | None, typer.Argument(help="preset=NAME, and metaparameters as key=value.")] = None,
    depth: Annotated[int, typer.Option(min=1, help="Levels of the network that are shown.")] = 1,
    verify: Annotated[
        bool, typer.Option("--verify", help="Show fvcore's counts beside ours; exit code 1 where they differ.")
    ] = False,
    latency: Annotated[bool, typer.Option("--latency", help="Measure the time of 1 and of 64 images.")] = False,
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
    """Show the layers of a design point with their output shapes and exact costs; check, measure and export the network."""
    from explorer.spaces import find_space

    family = find_space(space)
    preset, values = read_settings(settings)
    design = family.point(preset, **values)
    network = design.expand()
    _check_options(network, latency, threads, onnx, torch)
    screen = console()
    check = _cost_check(network) if verify else None
    _print_layers(screen, network, depth, check)
    for note in design.notes(network.cost):
        screen.print(note, highlight=False)
    if check:
        _print_check(screen, check)
    if latency:
        _print_latency(screen, network, threads or 1)
    if onnx or torch:
        _export(screen, network, onnx, torch)
    return int(check is not None and bool(check.mismatches))


def _check_options(network: Network, latency: bool, threads: int | None, onnx: Path | None, torch: Path | None) -> None:
    """Raises `ExplorerError` for what could not be done, before anything is printed or computed."""
    if threads is not None and not latency:
        raise ExplorerError(f"--threads {threads} says how --latency measures: give both")
    if threads is not None:
        from explorer.sweeping.timing import check_threads

        check_threads(threads)
    if onnx or torch:
        from explorer.exporting.programs import check_onnx
        from explorer.files import check_file

        if onnx:
            check_onnx(onnx, network)
        if torch:
            check_file(torch)


def _cost_check(network: Network) -> CostCheck:
    from explorer.networks.verification import check_cost

    return check_cost(network)


def _print_layers(screen: Console, network: Network, depth: int, check: CostCheck | None) -> None:
    """The layer table, with a column of fvcore's counts where they are known."""
    from explorer.networks.quantities import QUANTITIES, computed
    from explorer.pricing.prices import COUNTS, layer_table

    table = layer_table(network, depth)
    rows: list[tuple[str, ...]] = [
        (str(row.layer), str(row.makes), str(row.output), *(count(getattr(row, key)) for key in COUNTS))
        for row in table.itertuples()
    ]
    header: tuple[str, ...] = ("layer", "filters", "output", *(QUANTITIES[key].heading for key in COUNTS))
    if check:
        by_fvcore = [check.layers.get(name, 0) for name, *_ in rows[:-1]] + [check.layers[""]]
        rows = [(*row, count(macs)) for row, macs in zip(rows, by_fvcore, strict=True)]
        header = (*header, f"{QUANTITIES['macs'].noun} by fvcore")
    print_table(screen, header, rows, right=len(header) - 2, total=True)
    for key, compute in computed().items():
        if key not in COUNTS:
            quantity, amount = QUANTITIES[key], compute(network)
            screen.print(f"{quantity.heading}: {quantity.text(amount)} ({key} = {amount:,})", highlight=False)
    screen.print(f"network: {network.digest[:12]}, one image, float32", highlight=False)


def _print_check(screen: Console, check: CostCheck) -> None:
    """The counts by operator, params, and what should agree and does not."""
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


def _print_latency(screen: Console, network: Network, threads: int) -> None:
    from explorer.machine import load_average
    from explorer.networks.quantities import LATENCY
    from explorer.sweeping.timing import busy, measure, this_machine

    warning = busy(load_average())
    if warning:
        screen.print(warning, style="yellow", highlight=False)
    rows = [
        (
            *map(count, (found.batch, found.threads)),
            LATENCY.text(found.median_seconds),
            f"{LATENCY.text(found.lower_seconds)} to {LATENCY.text(found.upper_seconds)}",
            *map(count, (round(found.images_per_second), found.repeats)),
        )
        for found in measure(network, threads)
    ]
    times = (f"{name}, {LATENCY.unit.name}" for name in ("median", "quartiles"))
    header = ("batch", "threads", *times, "images/s", "repeats")
    print_table(screen, header, rows, right=len(header))
    screen.print(f"{this_machine()}, channels last, eager, untrained weights", highlight=False)


def _export(screen: Console, network: Network, onnx: Path | None, torch: Path | None) -> None:
    from explorer.exporting.programs import save_onnx, save_torch
    from explorer.training.trainer import untrained

    module = untrained(network)
    for path, save in ((onnx, save_onnx), (torch, save_torch)):
        if path:
            save(module, network.input, path)
            screen.print(f"wrote {path}: untrained, as seed 0 initialises it", highlight=False, soft_wrap=True)


def _rule(schema: dict[str, Any]) -> str:
    """The values that a metaparameter takes, from its JSON schema."""
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "anyOf" in schema:
        return " | ".join(map(_rule, schema["anyOf"]))
    kinds = {"integer": "whole number", "number": "number", "boolean": "yes | no", "array": "list", "null": "none"}
    kind = kinds[schema["type"]]
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()
