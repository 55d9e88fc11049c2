"""Holds the cost of a description against its built module: parameters by torch, multiply-adds by fvcore."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch

from explorer.networks.layers import Shape
from explorer.networks.network import Network

# Operators that fvcore has no count for and that are neither a convolution, a linear layer nor a matrix product.
UNCOUNTED = {
    f"aten::{operator}"
    for operator in ("max_pool2d", "mean", "add", "add_", "mul", "relu_", "silu", "sigmoid", "dropout", "dropout_")
}
COUNTED = ("conv", "linear", "matmul", "bmm", "addmm", "einsum")

NOTES = {
    "batch_norm": "fvcore counts batch norm; the papers' FLOPs do not",
}
NOT_COUNTED = "no weights to multiply by: neither fvcore nor the papers count it"
UNKNOWN = "an operator that neither fvcore nor the explorer knows: it may hold multiply-adds"


class CostMismatch(Exception):  # noqa: N818 (named for what was found)
    """A network whose description and module disagree about cost."""


@dataclass(frozen=True)
class Count:
    """What fvcore counts on a module for one image.

    `operators` holds multiply-adds by operator and `modules` the same for each module with all that is in it, by dotted name;
    `calls` how often each operator was called that fvcore has no count for.
    """

    operators: Mapping[str, int]
    modules: Mapping[str, Mapping[str, int]]
    calls: Mapping[str, int]

    @property
    def macs(self) -> int:
        """Multiply-adds of convolution, linear and matrix-product operators."""
        return _macs(self.operators)

    @property
    def unknown(self) -> list[str]:
        """Operators without a count that may hold multiply-adds, for all that is known here."""
        return sorted(set(self.calls) - UNCOUNTED)


@dataclass(frozen=True)
class CostCheck:
    """The description's cost beside that of the built module.

    `operators` has one row for each operator of the module: `operator`, `calls` (of those that fvcore has no count for),
    `ours`, `fvcore` and `difference` (multiply-adds for one image; NA where there is no count), `note` (why they differ).
    `layers` holds fvcore's multiply-adds of convolution, linear and matrix-product operators by a layer's dotted path, at any
    depth, and "" for the whole. `params` and `torch_params` are the description's and the module's. `mismatches` says in one
    sentence each what should be equal and is not.
    """

    operators: pd.DataFrame
    layers: Mapping[str, int]
    params: int
    torch_params: int
    mismatches: tuple[str, ...]


@cache
def verify(network: Network) -> None:
    """Raises `CostMismatch` where params or MACs of the description differ from those counted on the module."""
    module = network.build()
    params = _params(module)
    if params != network.cost.params:
        raise CostMismatch(f"params: the description has {network.cost.params:,}, the module {params:,}")
    macs = fvcore_macs(module, network.input)
    if macs != network.cost.macs:
        raise CostMismatch(f"macs: the description has {network.cost.macs:,}, fvcore counts {macs:,}")


def fvcore_macs(module: torch.nn.Module, shape: Shape) -> int:
    """Multiply-adds of convolution, linear and matrix-product operators for one image, as fvcore counts them.

    Raises `CostMismatch` where the module holds an operator that is unknown here.
    """
    counted = fvcore_count(module, shape)
    if counted.unknown:
        raise CostMismatch(f"operators that neither fvcore nor the explorer knows: {', '.join(counted.unknown)}")
    return counted.macs


def fvcore_count(module: torch.nn.Module, shape: Shape) -> Count:
    """All that fvcore counts on the module, which it leaves in evaluation mode, for one image of that shape."""
    with warnings.catch_warnings():
        # fvcore uses a deprecated name of typing, and torch's tracer warns of what it is told to do.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        images = torch.zeros(1, shape.channels, shape.size, shape.size)
        analysis = (
            FlopCountAnalysis(module.eval(), images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        )
        modules = {name: _whole(found) for name, found in analysis.by_module_and_operator().items()}
        return Count(modules[""], modules, _whole(analysis.unsupported_ops()))


def check_cost(network: Network) -> CostCheck:
    """Builds the network and compares its description with what torch and fvcore count, operator by operator."""
    module = network.build()
    counted = fvcore_count(module, network.input)
    # The module of a network holds its body and what flattens the logits; layer tables show the body's parts.
    layers = {name.partition(".")[2]: _macs(found) for name, found in counted.modules.items() if "." in name}
    layers[""] = counted.macs
    params = _params(module)
    return CostCheck(
        operators=_operators(counted, _ours(network, counted)),
        layers=layers,
        params=int(network.cost.params),
        torch_params=params,
        mismatches=tuple(_mismatches(network, counted, layers, params)),
    )


def _ours(network: Network, counted: Count) -> dict[str, int]:
    """The description's multiply-adds by operator: each layer's belong to what fvcore finds in its module."""
    ours: dict[str, int] = {}
    for path, node in network.rows(depth=sys.maxsize):
        found = counted.modules.get(f"body.{path}", {})
        operator = max(COUNTED, key=lambda name: found.get(name, 0)) if _macs(found) else node.layer.kind
        if node.cost.macs:
            ours[operator] = ours.get(operator, 0) + node.cost.macs
    return ours


def _operators(counted: Count, ours: Mapping[str, int]) -> pd.DataFrame:
    """Operators with a count by either, in the order of `COUNTED`, then those that fvcore has no count for."""
    names = {**dict.fromkeys(COUNTED), **counted.operators, **ours}
    rows: list[dict[str, object]] = [
        {"operator": name, "ours": ours.get(name, 0), "fvcore": counted.operators.get(name, 0)}
        for name in names
        if ours.get(name) or counted.operators.get(name)
    ]
    rows += [{"operator": name.removeprefix("aten::"), "calls": calls} for name, calls in sorted(counted.calls.items())]
    frame = pd.DataFrame(rows, columns=["operator", "calls", "ours", "fvcore"])
    frame = frame.astype(dict.fromkeys(["calls", "ours", "fvcore"], "Int64"))
    frame["difference"] = frame["fvcore"] - frame["ours"]
    known = {name.removeprefix("aten::"): UNKNOWN if name in counted.unknown else NOT_COUNTED for name in counted.calls}
    frame["note"] = [(NOTES | known).get(name, "") for name in frame["operator"]]
    return frame


def _mismatches(network: Network, counted: Count, layers: Mapping[str, int], params: int) -> list[str]:
    found = [f"{name}: {UNKNOWN}" for name in counted.unknown]
    if params != network.cost.params:
        found.append(f"params: the description has {network.cost.params:,}, the module {params:,}")
    if counted.macs != network.cost.macs:
        found.append(f"FLOPs: the description has {network.cost.macs:,}, fvcore counts {counted.macs:,}")
    for path, node in network.rows(depth=sys.maxsize):
        if node.cost.macs != layers.get(path, 0):
            found.append(f"{path}: the description has {node.cost.macs:,} FLOPs, fvcore counts {layers.get(path, 0):,}")
    return found


def _macs(operators: Mapping[str, int]) -> int:
    return sum(operators.get(operator, 0) for operator in COUNTED)


def _params(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _whole(counts: Mapping[str, float]) -> dict[str, int]:
    """Its counters as whole numbers, which the counts of all our operators are."""
    return {name: int(value) for name, value in counts.items()}
