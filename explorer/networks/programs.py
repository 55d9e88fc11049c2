"""Write networks as ONNX files and as `torch.export` programs, which can be loaded without the explorer."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.errors import ExplorerError
from explorer.files import check_file, write_file
from explorer.networks.layers import Shape

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from explorer.networks.network import Network

ONNX_PACKAGES = ("onnx", "onnxscript")
MOST_ONNX_BYTES = 2**31 - 2**24  # protocol buffers are limited to 2 GiB, and the graph needs some of that


def onnx_obstacle(network: Network) -> str:
    """Return the reason why the network cannot be written as ONNX; empty if it can."""
    missing = [package for package in ONNX_PACKAGES if find_spec(package) is None]
    if missing:
        return f'ONNX needs {" and ".join(missing)}, not installed here: pip install "cnn-design-explorer[onnx]"'
    if network.cost.model_bytes > MOST_ONNX_BYTES:
        return f"a model of {network.cost.model_bytes:,} bytes; ONNX files are limited to 2 GiB"
    return ""


def check_onnx(path: Path, network: Network) -> None:
    """Raise `ExplorerError` if `save_onnx` could not write the network to this path."""
    obstacle = onnx_obstacle(network)
    if obstacle:
        raise ExplorerError(f"{path}: {obstacle}")
    check_file(path)


def save_onnx(module: nn.Module, shape: Shape, path: Path) -> None:
    """Write a module in evaluation mode as an ONNX file, from `images` (N, C, H, W) to `logits`, float32, for any N.

    This needs the extra `onnx`. Raises `ExplorerError` if the file cannot be written.
    """
    write_file(path, onnx_bytes(module, shape))


def onnx_bytes(module: nn.Module, shape: Shape, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the content of the file that `save_onnx` writes, plus metadata."""
    import torch

    program = _program(module, shape)
    with _quiet():
        exported = torch.onnx.export(
            program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
        )
    assert exported is not None  # only the older exporter returns None
    proto = exported.model_proto
    _name_batch(proto.graph)
    for name, value in (metadata or {}).items():
        proto.metadata_props.add(key=name, value=value)
    content: bytes = proto.SerializeToString()
    return content


def _name_batch(graph: Any) -> None:  # noqa: ANN401 (onnx has no types for its messages)
    """Rename the first axis of the images to `batch` everywhere. Torch calls it something like `s77`."""
    axis = re.compile(rf"\b{re.escape(graph.input[0].type.tensor_type.shape.dim[0].dim_param)}\b")
    for tensor in (*graph.input, *graph.output, *graph.value_info):
        for size in tensor.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = axis.sub("batch", size.dim_param)


def save_torch(module: nn.Module, shape: Shape, path: Path) -> None:
    """Write a module in evaluation mode and its weights for `torch.export.load`, from (N, C, H, W) to logits, any N.

    Raises `ExplorerError` if the file cannot be written.
    """
    import torch

    buffer = io.BytesIO()
    torch.export.save(_program(module, shape), buffer)
    write_file(path, buffer.getvalue())


def _program(module: nn.Module, shape: Shape) -> ExportedProgram:
    import torch

    # Use two images, because a batch size of 1 would be exported as a constant.
    images = torch.zeros(2, shape.channels, shape.size, shape.size)
    program = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it contains paths on this machine
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide torch's warnings about its own code and about the missing torchvision."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
