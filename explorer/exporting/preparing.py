"""Support for photos in exports: `labels` and `prepare` in the code, `predict.py`, and the ONNX metadata."""

from __future__ import annotations

import ast
import inspect
import json
import pprint
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from explorer.data import photo
from explorer.exporting.torch_code import WIDTH
from explorer.networks.layers import Shape

HEADER = """
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn
"""

PREDICT_CODE = '''"""Print the most likely classes of photos: python predict.py PHOTO [PHOTO ...]."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from network import build, labels, prepare

sys.stdout.reconfigure(errors="backslashreplace")  # labels can contain characters the terminal cannot show
model, status = build().eval(), 0
model.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
for path in sys.argv[1:] or sys.exit("usage: python predict.py PHOTO [PHOTO ...]"):
    try:
        image = prepare(path)
    except Exception as error:  # damaged files raise many kinds of errors
        print(f"{path}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        status = 2
        continue
    with torch.inference_mode():
        probabilities = model(image).softmax(dim=1)[0]
    print(path)
    for place in probabilities.argsort(descending=True)[:5]:
        print(f"  {probabilities[place]:6.1%}  {labels[place]}")
sys.exit(status)
'''


@dataclass(frozen=True)
class Preparing:
    """How images become the input of a network.

    Attributes:
        labels: Names of the classes, in the order of the logits.
        pixels: Side length of the images in the data set.
        shape: Shape of the network's input.
        mean: Mean of each channel in bytes, which is subtracted.
        deviation: Standard deviation of each channel in bytes. The result is divided by it.
    """

    labels: Sequence[str]
    pixels: int
    shape: Shape
    mean: Sequence[float]
    deviation: Sequence[float]

    @property
    def text(self) -> str:
        """A sentence that says how a photo is prepared."""
        size = self.shape.size
        means = "area means" if size < self.pixels else "bilinear"
        resampled = f" resampled to {size} x {size} ({means})," if size != self.pixels else ""
        return (
            "The photo is rotated according to its EXIF tag and converted to RGB bytes (transparent pixels over grey), "
            f"its central square is resized to {self.pixels} x {self.pixels} pixels (averaged when shrinking, bicubic "
            f"when enlarging),{resampled} and each channel is normalised: minus the mean, divided by the deviation."
        )

    @property
    def code(self) -> str:
        """The code that defines `labels` and `prepare`, for use with `HEADER`."""
        size, channels = self.shape.size, self.shape.channels
        resampling = 'mode="area"' if size < self.pixels else 'mode="bilinear", align_corners=False'
        resampled = (
            f"    channels = nn.functional.interpolate(channels, size={size}, {resampling})\n"
            if size != self.pixels
            else ""
        )
        mean, deviation = (tuple(round(value, 6) for value in values) for values in (self.mean, self.deviation))
        return f'''
labels = {_listing(self.labels)}  # in the order of the logits

MEAN = {mean}  # of each channel over the training images, in bytes
DEVIATION = {deviation}


def prepare(image: str | Path | Image.Image | NDArray[np.uint8]) -> Tensor:
    """Turn a photo into the network's input, (1, {channels}, {size}, {size}).

    The photo is a path, a Pillow image, or RGB bytes (height, width, 3).
    """
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        with Image.open(image) as opened:
            return prepare(opened)
    pixels = np.array(central_square(image, {self.pixels}))
    channels = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
{resampled}    return (channels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


{_below_imports(photo)}'''

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata for network files, with lists as JSON."""
        return {
            "labels": json.dumps(list(self.labels)),
            "mean": json.dumps(list(self.mean)),
            "deviation": json.dumps(list(self.deviation)),
            "input_size": str(self.shape.size),
            "prepare": self.text,
        }


def _below_imports(module: ModuleType) -> str:
    """Return the source of a module without its docstring and imports."""
    source = inspect.getsource(module)
    first = next(part for part in ast.parse(source).body[1:] if not isinstance(part, ast.Import | ast.ImportFrom))
    return "\n".join(source.splitlines()[first.lineno - 1 :])


def _listing(labels: Sequence[str]) -> str:
    """Return a list as code, on one line if it fits."""
    if len(line := repr(list(labels))) < WIDTH // 2:
        return line
    inside = pprint.pformat(list(labels), width=WIDTH - 4, compact=True)[1:-1].replace("\n ", "\n")
    return f"[\n{textwrap.indent(inside, '    ')},\n]"
