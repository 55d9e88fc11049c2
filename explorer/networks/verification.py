"""Compare a description's cost with its torch module. Torch counts the params and fvcore the multiply-adds."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import torch

from explorer.networks.network import Network

WITHOUT_PRODUCTS = {
    *("adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "max_pool2d_with_indices"),
    *("_native_batch_norm_legit_no_training", "native_group_norm", "native_layer_norm", "native_batch_norm"),
    *("softmax", "_softmax", "log_softmax", "_log_softmax", "relu", "prelu", "_prelu_kernel", "hardswish", "mish"),
    *("sum", "mean", "prod", "var", "std", "amax", "amin", "argmax", "argmin", "logsumexp", "any", "all"),
    *("dropout", "native_dropout", "feature_dropout", "alpha_dropout", "bernoulli", "rand"),
    *("cat", "stack", "repeat", "clone", "copy", "constant_pad_nd", "pad", "reflection_pad2d", "replication_pad2d"),
    *("pixel_shuffle", "channel_shuffle", "roll", "flip", "unfold", "im2col"),
    *("index", "index_select", "index_put", "gather", "embedding", "masked_fill"),
    *("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
    *("full", "full_like", "ones", "ones_like", "zeros", "zeros_like", "zero", "fill", "arange", "scalar_tensor"),
    *("new_zeros", "new_ones", "new_full", "empty_like", "lift_fresh_copy"),
}
"""Operators of torch that are neither elementwise nor views and have no multiply-adds, without a last `_`.

As in the papers, normalisation, pooling and interpolation count as none.
"""
PRODUCTS = ("scaled_dot_product_attention", "baddbmm")
"""Operators with multiply-adds that fvcore lacks."""
COUNTED = ("conv", "linear", "matmul", "bmm", "addmm", "einsum", *PRODUCTS)

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

    @property
    def unknown(self) -> list[str]:
        """Operators that have no count but may perform multiply-adds."""
        return sorted(name for name in self.calls if not without_products(name))


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


def fvcore_count(module: torch.nn.Module, *shapes: tuple[int, ...]) -> Count:
    """Count one example with fvcore, given the dimensions of each input. The module is left in evaluation mode."""
    with warnings.catch_warnings():
        # fvcore uses a deprecated name from typing, and torch's tracer warns about how fvcore traces.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        examples = tuple(torch.zeros(1, *shape) for shape in shapes)
        analysis = (
            FlopCountAnalysis(module.eval(), examples).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        )
        for name, handle in zip(PRODUCTS, (_attention, _batched), strict=True):
            analysis.set_op_handle(f"aten::{name}", handle)
        modules = {name: _whole(found) for name, found in analysis.by_module_and_operator().items()}
        return Count(modules[""], modules, _whole(analysis.unsupported_ops()))


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> float:  # noqa: ARG001 (fvcore's signature)
    """Count the products of queries (..., tokens, channels) with keys, and of scores with values."""
    queries, keys, values = (each.type().sizes() for each in inputs[:3])
    return float(math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1]))


def _batched(inputs: Sequence[Any], outputs: Sequence[Any]) -> float:  # noqa: ARG001 (fvcore's signature)
    """Count the products of two batches of matrices, which are added to a third."""
    left, right = (each.type().sizes() for each in inputs[1:3])
    return float(math.prod(left) * right[-1])


def check_cost(network: Network) -> CostCheck:
    """Build the network and compare its description with the counts of torch and fvcore, operator by operator."""
    module = network.build()
    counted = fvcore_count(module, network.input.dimensions)
    # The module wraps the body and a flattening layer, but layer tables show only the parts of the body.
    layers = {name.partition(".")[2]: _macs(found) for name, found in counted.modules.items() if "." in name}
    layers[""] = counted.macs
    params = sum(parameter.numel() for parameter in module.parameters())
    return CostCheck(
        operators=_operators(counted, _ours(network, counted)),
        layers=layers,
        params=int(network.cost.params),
        torch_params=params,
        mismatches=tuple(_mismatches(network, counted, layers, params)),
    )


def without_products(operator: str) -> bool:
    """Return whether an operator such as `aten::relu_` neither multiplies by weights nor multiplies matrices."""
    library, _, name = operator.partition("::")
    name = name.removesuffix("_")  # in place
    overloads = getattr(torch.ops.aten, name, None)
    if library != "aten" or overloads is None:
        return False
    first = getattr(overloads, overloads.overloads()[0])
    returned = [each.alias_info for each in first._schema.returns]  # noqa: SLF001 (no public API)
    is_view = bool(returned) and returned[0] is not None and not returned[0].is_write
    return name in WITHOUT_PRODUCTS or is_view or torch.Tag.pointwise in first.tags


def _ours(network: Network, counted: Count) -> dict[str, int]:
    """Assign the multiply-adds of each layer to the operator that fvcore finds in its module."""
    ours: dict[str, int] = {}
    for path, node in network.rows(depth=sys.maxsize):
        found = counted.modules.get(f"body.{path}", {})
        operator = max(COUNTED, key=lambda name: found.get(name, 0)) if _macs(found) else node.layer.kind
        if node.cost.macs:
            ours[operator] = ours.get(operator, 0) + node.cost.macs
    return ours


def _operators(counted: Count, ours: Mapping[str, int]) -> pd.DataFrame:
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
    notes = {name.removeprefix("aten::"): UNKNOWN if name in counted.unknown else NOT_COUNTED for name in counted.calls}
    frame["note"] = frame["operator"].map(notes | {"batch_norm": BATCH_NORM}).fillna("")
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


def _whole(counts: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in counts.items()}
