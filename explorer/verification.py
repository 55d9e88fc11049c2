"""Holds the cost of a description against its built module: parameters by torch, multiply-adds by fvcore."""

from __future__ import annotations

import warnings
from functools import cache

import torch

from explorer.layers import Shape
from explorer.network import Network

# Operators that fvcore has no count for and that are neither a convolution, a linear layer nor a matrix product.
UNCOUNTED = {
    f"aten::{operator}"
    for operator in ("max_pool2d", "add", "add_", "mul", "relu_", "silu_", "sigmoid", "dropout", "dropout_")
}
COUNTED = ("conv", "linear", "matmul", "bmm", "addmm", "einsum")


class CostMismatch(Exception):  # noqa: N818 (named for what was found)
    """A network whose description and module disagree about cost."""


@cache
def verify(network: Network) -> None:
    """Raises `CostMismatch` where params or MACs of the description differ from those counted on the module."""
    module = network.build()
    params = sum(parameter.numel() for parameter in module.parameters())
    if params != network.cost.params:
        raise CostMismatch(f"params: the description has {network.cost.params:,}, the module {params:,}")
    macs = fvcore_macs(module, network.input)
    if macs != network.cost.macs:
        raise CostMismatch(f"macs: the description has {network.cost.macs:,}, fvcore counts {macs:,}")


def fvcore_macs(module: torch.nn.Module, shape: Shape) -> int:
    """Multiply-adds of convolution, linear and matrix-product operators for one image, as fvcore counts them.

    Raises `CostMismatch` where the module holds an operator that is unknown here.
    """
    with warnings.catch_warnings():
        # fvcore uses a deprecated name of typing, and torch's tracer warns of what it is told to do.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        images = torch.zeros(1, shape.channels, shape.size, shape.size)
        analysis = (
            FlopCountAnalysis(module.eval(), images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        )
        by_operator = analysis.by_operator()
        unknown = set(analysis.unsupported_ops()) - UNCOUNTED
    if unknown:
        raise CostMismatch(f"operators that neither fvcore nor the explorer knows: {', '.join(sorted(unknown))}")
    return int(sum(by_operator[operator] for operator in COUNTED))
