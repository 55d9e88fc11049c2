"""Inspect one design point: layers and costs, fvcore's counts, latency, and network files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from explorer.errors import ExplorerError
from explorer.files import check_file, user_path
from explorer.machine import load
from explorer.networks.network import FEWEST_PIXELS, SMALL_MAPS, Network
from explorer.networks.programs import check_onnx, save_onnx, save_torch
from explorer.networks.quantities import computed
from explorer.pricing.prices import layer_table
from explorer.spaces import find_space

if TYPE_CHECKING:
    from explorer.networks.verification import CostCheck
    from explorer.sweeping.timing import BatchTime, Machine


@dataclass(frozen=True)
class Inspection:
    """The result of `inspect`.

    Attributes:
        layers: The layer table of `describe`. With `verify`, it also has fvcore's multiply-adds as `fvcore`.
        network: The network description.
        amounts: The network's costs, by quantity.
        notes: The space's notes on this point.
        check: The comparison with the counts of fvcore and torch, if requested.
        latencies: The measured latencies, if any.
        machine: The machine on which they were measured.
        warning: A warning if the machine was busy, or "".
        files: The files that were written.
    """

    layers: pd.DataFrame
    network: Network
    amounts: dict[str, int]
    notes: tuple[str, ...]
    check: CostCheck | None
    latencies: list[BatchTime]
    machine: Machine | None
    warning: str
    files: list[Path]


def inspect(
    space: str,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    levels: int = 1,
    verify: bool = False,
    threads: int | None = None,
    onnx: str | Path | None = None,
    torch: str | Path | None = None,
) -> Inspection:
    """Describe a design point, and optionally check its network, measure it and write it to files.

    Args:
        space: Name of the space.
        preset: Name of the preset; by default, the first one.
        settings: Metaparameters that differ from the preset.
        levels: Levels of nesting in the layer table.
        verify: Compare the counts with those of fvcore and torch.
        threads: Measure the latency with this number of threads.
        onnx: Write the untrained network to this ONNX file.
        torch: Write the untrained network to this `.pt2` file for `torch.export.load`.

    Raises:
        ExplorerError: A name is unknown, a value is invalid, there are fewer cores than threads, or a file cannot be
            written.
        Infeasible: There is no network for the point.
    """
    for key, value in (settings or {}).items():
        if isinstance(value, str) and re.fullmatch(r"[\d.]+\s*([.]{2,}|[-:,])\s*[\d.].*", value):
            raise ExplorerError(f"{space}: {key} = {value}: give a single value; ranges are for `explorer price`")
    point = find_space(space).point(preset, **(settings or {}))
    network = point.expand()
    files = _checked_files(network, onnx, torch)
    latencies: list[BatchTime] = []
    machine, warning = None, ""
    if threads is not None:
        from explorer.sweeping import timing

        timing.check_threads(threads)
        machine, warning = timing.this_machine(), timing.busy(load())
    layers, check = layer_table(network, levels), None
    if verify:
        from explorer.networks.verification import check_cost

        check = check_cost(network)
        names = [*layers["layer"][:-1], ""]  # fvcore calls the whole network ""
        layers["fvcore"] = [check.layers[""] if not name else check.layers.get(name, 0) for name in names]
    if threads is not None:
        (latencies,) = timing.measure([network], threads)
    if files:
        _write(network, files)
    return Inspection(
        layers=layers,
        network=network,
        amounts={key: int(compute(network)) for key, compute in computed().items()},
        notes=point.notes(network.cost) + ((SMALL_MAPS,) if network.final_size < FEWEST_PIXELS else ()),
        check=check,
        latencies=latencies,
        machine=machine,
        warning=warning,
        files=list(files.values()),
    )


def _checked_files(network: Network, onnx: str | Path | None, torch: str | Path | None) -> dict[str, Path]:
    """Return the paths by format; raise `ExplorerError` if one cannot be written."""
    files = {name: user_path(path) for name, path in (("onnx", onnx), ("torch", torch)) if path is not None}
    if "onnx" in files:
        check_onnx(files["onnx"], network)
    if "torch" in files:
        check_file(files["torch"])
    return files


def _write(network: Network, files: Mapping[str, Path]) -> None:
    from explorer.training.trainer import untrained

    module = untrained(network)
    for name, path in files.items():
        (save_onnx if name == "onnx" else save_torch)(module, network.input, path)
