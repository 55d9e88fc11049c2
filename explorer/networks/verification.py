"""Compare a description's cost with its torch module. Torch counts the params and fvcore the multiply-adds."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch

from explorer.networks.layers import Shape
from explorer.networks.network import Network, Node

COUNTED = ("conv", "linear", "matmul", "bmm", "addmm", "einsum")

BATCH_NORM = "fvcore counts batch norm; the papers' FLOPs do not"
NOT_COUNTED = "no weights to multiply by: neither fvcore nor the papers count it"
UNKNOWN = "unknown to fvcore and the explorer: it may have multiply-adds"


class CostMismatch(Exception):  # noqa: N818 (named after what was found)
    """A network's description and module disagree about its cost."""


@dataclass(frozen=True)
class Count:
    """fvcore's counts for a module and one image.

    Attributes:
        operators: Multiply-adds by operator.
        modules: Multiply-adds by operator for each module, including its submodules, keyed by dotted name.
        calls: Number of calls to each operator that fvcore does not count.
    """

    operators: Mapping[str, int]
    modules: Mapping[str, Mapping[str, int]]
    calls: Mapping[str, int]

    @property
    def macs(self) -> int:
        """Multiply-adds of convolution, linear and matrix-product operators."""
        return _macs(self.operators)


@dataclass(frozen=True)
class CostCheck:
    """A description's cost compared with its module's.

    Attributes:
        operators: One row per operator of the module: `operator`, `calls` (if fvcore does not count it), `ours`,
            `fvcore` and `difference` (multiply-adds for one image; NA without a count), `note` (why they differ).
        layers: fvcore's multiply-adds of convolutions, linear layers and matrix products, keyed by the dotted path of
            a layer at any depth. The key "" is the whole network.
        params: The description's params.
        torch_params: The module's params.
        mismatches: A sentence for each pair of counts that should agree but does not.
    """

    operators: pd.DataFrame
    layers: Mapping[str, int]
    params: int
    torch_params: int
    mismatches: tuple[str, ...]


@cache
def verify(network: Network) -> None:
    """Raise `CostMismatch` if the description and its module disagree about params or multiply-adds."""
    mismatches = check_cost(network).mismatches
    if mismatches:
        raise CostMismatch(mismatches[0])


def fvcore_count(module: torch.nn.Module, shape: Shape) -> Count:
    """Count one image of this shape with fvcore. The module is left in evaluation mode."""
    with warnings.catch_warnings():
        # fvcore uses a deprecated name from typing, and torch's tracer warns about how fvcore traces.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        images = torch.zeros(1, shape.channels, shape.size, shape.size)
        analysis = (
            FlopCountAnalysis(module.eval(), images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        )
        modules = {name: _whole(found) for name, found in analysis.by_module_and_operator().items()}
        return Count(modules[""], modules, _whole(analysis.unsupported_ops()))


def check_cost(network: Network) -> CostCheck:
    """Build the network and compare its description with the counts of torch and fvcore, operator by operator."""
    module = network.build()
    counted = fvcore_count(module, network.input)
    unknown = sorted(counted.calls.keys() - _uncounted(network.trace))
    # The module wraps the body and a flattening layer, but layer tables show only the parts of the body.
    layers = {name.partition(".")[2]: _macs(found) for name, found in counted.modules.items() if "." in name}
    layers[""] = counted.macs
    params = sum(parameter.numel() for parameter in module.parameters())
    return CostCheck(
        operators=_operators(counted, _ours(network, counted), unknown),
        layers=layers,
        params=int(network.cost.params),
        torch_params=params,
        mismatches=(*(f"{name}: {UNKNOWN}" for name in unknown), *_mismatches(network, counted, layers, params)),
    )


def _uncounted(node: Node) -> set[str]:
    """Return the operators of the layers that have no multiply-adds."""
    own = {f"aten::{name}" for name in node.layer.uncounted}
    return own.union(*map(_uncounted, node.parts))


def _ours(network: Network, counted: Count) -> dict[str, int]:
    """Assign the multiply-adds of each layer to the operator that fvcore finds in its module."""
    ours: dict[str, int] = {}
    for path, node in network.rows(depth=sys.maxsize):
        found = counted.modules.get(f"body.{path}", {})
        operator = max(COUNTED, key=lambda name: found.get(name, 0)) if _macs(found) else node.layer.kind
        if node.cost.macs:
            ours[operator] = ours.get(operator, 0) + node.cost.macs
    return ours


def _operators(counted: Count, ours: Mapping[str, int], unknown: Collection[str]) -> pd.DataFrame:
    """List the operators with a count in the order of `COUNTED`, then the operators that fvcore does not count."""
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
    notes = {name.removeprefix("aten::"): UNKNOWN if name in unknown else NOT_COUNTED for name in counted.calls}
    frame["note"] = frame["operator"].map(notes | {"batch_norm": BATCH_NORM}).fillna("")
    return frame


def _mismatches(network: Network, counted: Count, layers: Mapping[str, int], params: int) -> list[str]:
    found = []
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


def _whole(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in counts.items()}
