"""A score of untrained networks, as a baseline for short runs."""

from __future__ import annotations

import torch
from torch import nn

from explorer.networks.network import Network
from explorer.training.trainer import untrained


def synflow(network: Network) -> float:
    """Return the common logarithm of the synaptic flow of an untrained network; higher should be better.

    The flow is the sum over all params of |param * gradient| for an image of ones, where every param is replaced by its
    absolute value and the output is summed (Tanaka et al. 2020, arXiv:2006.05467). Normalisation is left out, as in
    Abdelfattah et al. 2021 (arXiv:2101.08134). It takes no data, and milliseconds for small networks.
    """
    model = untrained(network).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.register_forward_hook(_left_out)
    for param in model.parameters():
        param.data.abs_()
    model(torch.ones(1, *network.input.dimensions, dtype=torch.float64)).sum().backward()
    flows = [(param * param.grad).abs().sum() for param in model.parameters() if param.grad is not None]
    return float(torch.stack(flows).sum().log10().detach())


def _left_out(_: nn.Module, inputs: tuple[torch.Tensor], __: torch.Tensor) -> torch.Tensor:
    return inputs[0]
