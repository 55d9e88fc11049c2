"""Post-training quantisation to int8, per channel, with onnxruntime, and the accuracy of the quantised file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import nn

from explorer.exporting.programs import onnx_bytes
from explorer.networks.network import Network
from explorer.training.batches import Batches

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CALIBRATED = 512  # training images from which the ranges of feature maps are taken
BATCH = 64


def quantised(model: nn.Module, network: Network, training: Batches) -> bytes:
    """Return the ONNX file of a model in evaluation mode with int8 weights (per channel) and feature maps.

    The ranges of feature maps are measured on `CALIBRATED` training images. Batch norm is folded into convolutions.
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
            _Calibration(training),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return made.read_bytes()


def correct(content: bytes, validation: Batches) -> NDArray[np.bool_]:
    """Return for each image whether the file's network names its class, computed by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    right = [
        session.run(["logits"], {"images": images.float().cpu().numpy()})[0].argmax(1) == labels.cpu().numpy()
        for images, labels in validation.plain(BATCH)
    ]
    return np.concatenate(right)


class _Calibration:
    """Hands batches of training images to onnxruntime."""

    def __init__(self, training: Batches) -> None:
        self.batches = training.plain(BATCH, CALIBRATED)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next input, or None after the last one."""
        images, _ = next(self.batches, (None, None))
        return None if images is None else {"images": images.float().cpu().numpy()}


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
