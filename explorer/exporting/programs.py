"""Networks for other programs: ONNX, and programs of `torch.export` that load without the explorer."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.errors import ExplorerError
from explorer.files import check_file, write_file
from explorer.networks.layers import Shape

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from explorer.networks.network import Network

ONNX_PACKAGES = ("onnx", "onnxscript")
MOST_ONNX_BYTES = 2**31 - 2**24  # a file of protocol buffers ends at 2 GiB, and the graph takes some of it


def onnx_obstacle(network: Network) -> str:
    """Why the network cannot be written as ONNX here; empty where it can."""
    missing = [package for package in ONNX_PACKAGES if find_spec(package) is None]
    if missing:
        return (
            f'ONNX needs {" and ".join(missing)}, which this environment lacks: pip install "cnn-design-explorer[onnx]"'
        )
    if network.cost.model_bytes > MOST_ONNX_BYTES:
        return f"a model of {network.cost.model_bytes:,} bytes; an ONNX file holds at most 2 GiB"
    return ""


def check_onnx(path: Path, network: Network) -> None:
    """Raises `ExplorerError` where `save_onnx` could not write the network there, before any work is done."""
    obstacle = onnx_obstacle(network)
    if obstacle:
        raise ExplorerError(f"{path}: {obstacle}")
    check_file(path)


def save_onnx(module: nn.Module, shape: Shape, path: Path) -> None:
    """Writes a module in evaluation mode as one ONNX file: `images` (N, C, H, W) to `logits`, float32, for any N.

    Raises `ExplorerError` where the file cannot be written. Needs the extra `onnx`.
    """
    write_file(path, onnx_bytes(module, shape))


def onnx_bytes(module: nn.Module, shape: Shape) -> bytes:
    """What `save_onnx` writes."""
    import torch

    program = _program(module, shape)
    with _quiet():
        exported = torch.onnx.export(
            program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
        )
    assert exported is not None  # it is for the older exporter only
    content: bytes = exported.model_proto.SerializeToString()
    return content


def save_torch(module: nn.Module, shape: Shape, path: Path) -> None:
    """Writes a module in evaluation mode as a program for `torch.export.load`, weights included: (N, C, H, W) to logits, for any N.

    Raises `ExplorerError` where the file cannot be written.
    """
    import torch

    buffer = io.BytesIO()
    torch.export.save(_program(module, shape), buffer)
    write_file(path, buffer.getvalue())


def _program(module: nn.Module, shape: Shape) -> ExportedProgram:
    import torch

    # Two images: a batch of one would be taken for a constant.
    images = torch.zeros(2, shape.channels, shape.size, shape.size)
    program = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds the paths of this machine's files, which are nobody's business
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what torch's own code makes torch say: a deprecation, and that torchvision is not there."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
