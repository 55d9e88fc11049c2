"""Commands for networks: list the design spaces, inspect a design point, and measure latencies."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from explorer.commands.console import Screen, cell, cost_cells, cost_headings, heading
from explorer.commands.settings import (
    Json,
    Quiet,
    SpaceName,
    Storage,
    StudyName,
    complete_settings,
    read_settings,
    read_sizes,
)
from explorer.errors import ExplorerError

if TYPE_CHECKING:
    from explorer.exporting.inspection import Inspection
    from explorer.networks.verification import CostCheck


def spaces(as_json: Json = False, quiet: Quiet = False) -> int:
    """List the design spaces with their presets and metaparameters."""
    from explorer import list_spaces

    screen, found = Screen(quiet, as_json), list_spaces()
    for name, group in groupby(found.to_dict(orient="records"), key=lambda row: row["space"]):
        rows = list(group)
        presets = rows[0]["presets"]
        screen.answer(name if quiet else f"{name}: {rows[0]['source']}; presets: {', '.join(presets)}")
        columns = ("metaparameter", "default", "values", "meaning")
        cells = [tuple(row[column] for column in columns) for row in rows]
        screen.table(("metaparameter", presets[0], "values", "meaning"), cells)
    screen.document(found)
    return 0


def describe(
    space: SpaceName,
    settings: Annotated[
        list[str] | None,
        Argument(help="preset=NAME, and metaparameters as key=value.", autocompletion=complete_settings),
    ] = None,
    levels: Annotated[int, Option("--levels", "--depth", min=1, help="Number of levels of the network to show.")] = 1,
    verify: Annotated[bool, Option("--verify", help="Compare with fvcore; exit with code 1 if counts differ.")] = False,
    latency: Annotated[bool, Option("--latency", help="Measure the latency for 1 and for 64 images.")] = False,
    threads: Annotated[int | None, Option(min=1, help="Number of threads for --latency; by default, 1.")] = None,
    onnx: Annotated[Path | None, Option(metavar="FILE", help="Write the untrained network as ONNX.")] = None,
    torch: Annotated[Path | None, Option(metavar="FILE", help="Write it as .pt2 for torch.export.load.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show the layers of a design point with output shapes and exact costs. Can check, measure and export it too."""
    from explorer import inspect

    if threads is not None and not latency:
        raise ExplorerError(f"--threads {threads}: this option needs --latency")
    screen = Screen(quiet, as_json)
    preset, values = read_settings(settings)
    measured_on = (threads or 1) if latency else None
    found = inspect(space, preset, values, levels=levels, verify=verify, threads=measured_on, onnx=onnx, torch=torch)
    _print_layers(screen, found)
    for note in found.notes:
        screen.say(note)
    if found.check:
        _print_check(screen, found.check)
    if found.latencies:
        _print_latencies(screen, found)
    for path in found.files:
        screen.answer(f"wrote {path}: untrained, initialised with seed 0")
    check = found.check
    screen.document(
        found.layers,
        network=found.network.digest,
        costs=found.amounts,
        notes=found.notes,
        check=check and {"operators": check.operators, "mismatches": check.mismatches},
        latencies=[asdict(one) for one in found.latencies],
        files=found.files,
    )
    return int(check is not None and bool(check.mismatches))


def count(
    module: Annotated[
        str, Argument(metavar="FILE.py:NAME", help="A torch module, or a function or class that returns one.")
    ],
    inputs: Annotated[
        list[str], Option("--input", metavar="SIZES", help="Input without the batch: 3,224,224. May be repeated.")
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Count the params and FLOPs of any torch module, with two counters; exit with code 1 if they differ.

    FLOPs are multiply-adds of convolutions, linear layers and matrix products, for one example. They are counted by
    torch on the exported graph and by fvcore. This runs the code of the file.
    """
    from explorer import count
    from explorer.networks.quantities import QUANTITIES

    flops = QUANTITIES["macs"]
    screen = Screen(quiet, as_json)
    found = count(module, *map(read_sizes, inputs))
    rows = [tuple(map(cell, row)) for row in found.layers.itertuples(index=False)]
    screen.table(("layer", "module", "params", f"{flops.noun} by torch", "by fvcore"), rows, right=3)
    screen.answer(f"params: {found.params:,}")
    if found.macs is not None:
        screen.answer(f"{flops.heading}: {found.macs:,}")
    for mismatch in found.mismatches:
        screen.answer(f"{flops.noun}: no total: {mismatch}", style="red")
    screen.document(found.layers, params=found.params, macs=found.macs, mismatches=found.mismatches)
    return int(bool(found.mismatches))


def latency(
    name: StudyName,
    storage: Storage = "explorer.db",
    threads: Annotated[int, Option(min=1, help="Number of threads per network.")] = 1,
    again: Annotated[bool, Option("--again", help="Measure stored latencies again.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure and store the latency of every network in a study on this machine, for 1 image and for 64.

    This takes about five seconds for each network not yet measured here. No sweep can use the storage meanwhile.
    """
    from explorer import latency
    from explorer.commands.progress import counting
    from explorer.networks.quantities import LATENCY, counted
    from explorer.training.limits import duration

    screen = Screen(quiet, as_json)

    def announce(networks: int, seconds: float, warning: str) -> None:
        screen.say(f"{name}: {networks} networks to measure, about {duration(seconds)}")
        for line in warning.splitlines():
            screen.say(line, "yellow")

    try:
        with counting(name) if screen.full else nullcontext() as progress:
            measured = latency(name, threads=threads, again=again, storage=storage, begin=announce, progress=progress)
    except KeyboardInterrupt:
        stored = "stopped; every measured network is stored, and the same command continues from there"
        raise KeyboardInterrupt(stored) from None
    batches = [str(column) for column in measured.networks if str(column).startswith("batch_")]
    rows = [
        (row["label"], *cost_cells(row), *(LATENCY.text(row[batch]) for batch in batches))
        for row in measured.networks.to_dict(orient="records")
    ]
    times = [f"batch {batch.split('_')[1]}, {LATENCY.unit.name}" for batch in batches]
    header = (", ".join(measured.metaparameters), *cost_headings(), *times)
    screen.table(header, rows, right=len(header) - 1)
    screen.answer(f"median over repeats; {measured.machine}, channels last, eager, {counted(threads, 'thread')}")
    screen.document(measured.networks, machine=asdict(measured.machine), threads=threads)
    return 0


def _print_layers(screen: Screen, found: Inspection) -> None:
    from explorer.networks.quantities import QUANTITIES

    headings = {"makes": "filters", "fvcore": f"{QUANTITIES['macs'].noun} by fvcore"}
    headings |= {key: heading(quantity) for key, quantity in QUANTITIES.items()}
    rows = [tuple(map(cell, row)) for row in found.layers.itertuples(index=False)]
    header = tuple(headings.get(str(name), str(name)) for name in found.layers)
    screen.table(header, rows, right=len(header) - 2, total=True)
    for key, amount in found.amounts.items():
        quantity = QUANTITIES[key]
        text = f"{quantity.heading}: {quantity.text(amount)} ({key} = {amount:,})"
        if key not in found.layers:
            screen.say(text)
        elif screen.quiet:
            screen.answer(text)
    screen.say(f"network: {found.network.digest[:12]}, one image, float32")


def _print_check(screen: Screen, check: CostCheck) -> None:
    rows = [
        (row.operator, row.note, *map(cell, (row.calls, row.ours, row.fvcore, row.difference)))
        for row in check.operators.itertuples()
    ]
    header = ("operator", "why", "calls not counted", "FLOPs, ours", "by fvcore", "difference")
    screen.table(header, rows, right=4)
    screen.say(f"params: {check.params:,} ours, {check.torch_params:,} by torch")
    for mismatch in check.mismatches:
        screen.answer(f"differs: {mismatch}", style="red")
    if not check.mismatches:
        screen.say("params and the FLOPs of every convolution and linear layer match")


def _print_latencies(screen: Screen, found: Inspection) -> None:
    from explorer.networks.quantities import LATENCY

    if found.warning:
        screen.say(found.warning, style="yellow")
    rows = [
        (
            one.batch,
            one.threads,
            LATENCY.text(one.median_seconds),
            f"{LATENCY.text(one.lower_seconds)} to {LATENCY.text(one.upper_seconds)}",
            f"{one.images_per_second:,.0f}",
            one.repeats,
        )
        for one in found.latencies
    ]
    times = (f"{name}, {LATENCY.unit.name}" for name in ("median", "quartiles"))
    header = ("batch", "threads", *times, "images/s", "repeats")
    screen.table(header, rows, right=len(header))
    screen.say(f"{found.machine}, channels last, eager, untrained weights")
