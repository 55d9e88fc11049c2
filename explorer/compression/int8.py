"""Post-training quantisation to int8, per channel, with onnxruntime, and the logits of the quantised file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.networks.network import Network
from explorer.networks.programs import onnx_bytes

CALIBRATED = 512
"""Number of training images from which the ranges of feature maps are measured."""
BATCH = 64


def quantised(model: nn.Module, network: Network, calibration: Iterable[Tensor]) -> bytes:
    """Return the ONNX file of a model in evaluation mode with int8 weights (per channel) and feature maps.

    Batch norm is folded into convolutions.

    Args:
        model: The model, on the CPU.
        network: Its network.
        calibration: Batches of prepared training images, (n, channels, size, size).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder, _quiet():
        exported, folded, made = (Path(folder) / f"{name}.onnx" for name in ("exported", "folded", "int8"))
        exported.write_bytes(onnx_bytes(model, network.input))
        quant_pre_process(str(exported), str(folded))
        quantize_static(
            str(folded),
            str(made),
            _Calibration(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return made.read_bytes()


def logits_of(content: bytes, batches: Iterable[Tensor]) -> NDArray[np.float32]:
    """Return the logits that a quantised file gives for batches of images, computed by onnxruntime on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several runs are evaluated at the same time
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], _inputs(images))[0] for images in batches])


class _Calibration:
    """Hands batches of training images to onnxruntime."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, or None after the last one."""
        images = next(self.batches, None)
        return None if images is None else _inputs(images)


def _inputs(images: Tensor) -> dict[str, Any]:
    return {"images": images.float().cpu().numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide onnxruntime's warnings about its own steps, which go to the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
