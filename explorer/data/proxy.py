"""A procedural stand-in for CIFAR-10: ten classes of textured shapes, made in seconds on any machine, offline.

The class is one of five outlines and one of two textures; both must be read. Colours, contrast, lighting, place, scale,
rotation, background clutter, occlusion and noise are drawn independently of it, so colour tells nothing.

The bytes are the same everywhere: random numbers are raw PCG64 output, which NumPy promises to keep, and pixels are made
from it by single additions, multiplications, divisions, square roots and floors, which IEEE 754 rounds in one way only.
Sines and sums over axes, whose last bit depends on the machine, are not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from explorer.data.dataset import Block, Dataset, recall, store

VERSION = 1
"""Counts up whenever a byte of the images changes; results on different versions do not mix."""
COUNT = 20_000
SIZE = 32
_BLOCK = 500  # images made at a time: about 60 MB of work arrays

Plane: TypeAlias = NDArray[np.float32]

# Outlines in polar form, r(angle) = 1 + sum of a_k cos(k angle), k = 1 to 5, scaled to equal area.
_OUTLINES = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.3, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.3, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.3, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.3],
    ],
    np.float32,
)
# sqrt(1 + sum of a_k^2 / 2): the area of the outline over that of the disc is the square of it.
_NORMS = np.sqrt(1 + (_OUTLINES[:, 1] ** 2 + _OUTLINES[:, 2] ** 2 + _OUTLINES[:, 3] ** 2 + _OUTLINES[:, 4] ** 2) / 2)
_NAMES = ("disc", "peanut", "trefoil", "clover", "star")
CLASSES = tuple(f"{texture} {shape}" for shape in _NAMES for texture in ("banded", "ridged"))


@dataclass(frozen=True)
class ProxySource:
    """The procedural data set: 20,000 images of 32 px in ten classes of 2,000."""

    progress: bool = True

    @property
    def name(self) -> str:
        """Returns `proxy`."""
        return "proxy"

    @property
    def class_count(self) -> int:
        """Returns 10."""
        return len(CLASSES)

    def prepare(self) -> Dataset:
        """Returns the training pool, made in a few seconds the first time; an unwritable cache is an ExplorerError."""
        key = f"proxy {VERSION}"
        return recall(key) or store(key, self.name, CLASSES, (COUNT, SIZE), self._blocks())

    def _blocks(self) -> Iterator[Block]:
        for number in tqdm(range(COUNT // _BLOCK), desc="making proxy", disable=not self.progress, leave=False):
            yield make_block(number)


class _Draws:
    """Uniform random numbers with 24 bits, which float32 holds exactly."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Plane:
        raw = (self._bits.random_raw(math.prod(shape)) >> 40).astype(np.float32).reshape(shape)
        return np.float32(low) + np.float32(high - low) * (raw * np.float32(2**-24))

    def order(self, count: int) -> NDArray[np.int64]:
        return np.argsort(self._bits.random_raw(count), kind="stable").astype(np.int64)

    def noise(self, *shape: int) -> Plane:
        """Returns triangular noise in (-1, 1), two random bytes for each number."""
        count = math.prod(shape)
        raw = self._bits.random_raw(-(-count // 4)).astype("<u8").view(np.uint8)[: 2 * count].reshape(2, *shape)
        return (raw[0].astype(np.float32) - raw[1]) * np.float32(1 / 255)


def make_block(number: int) -> Block:
    """Returns the images (500, 32, 32, 3) uint8 and labels (500,) of one block; each class has 50 of them."""
    draws = _Draws((VERSION, number))
    labels = draws.order(_BLOCK) % len(CLASSES)
    canvas = _background(draws)
    for _ in range(2):
        _paint(draws, canvas, _any_class(draws), scale=(0.2, 0.35), reach=0.9)
    _paint(draws, canvas, labels, scale=(0.45, 0.75), reach=0.3)
    _paint(draws, canvas, _any_class(draws), scale=(0.15, 0.25), reach=0.7)
    return _expose(draws, canvas), labels


def _any_class(draws: _Draws) -> NDArray[np.int64]:
    return draws.order(_BLOCK) % len(CLASSES)


def _background(draws: _Draws) -> Plane:
    """Returns a canvas (n, 32, 32, 3) with a faint grating of two random colours."""
    u, v = _place(draws, scale=(0.8, 1.2), reach=1.0)
    return _colour(draws, _grating(draws, u, v, draws.uniform(-1, 1, _BLOCK, 1, 1) < 0), contrast=0.5)


def _paint(draws: _Draws, canvas: Plane, classes: NDArray[np.int64], scale: tuple[float, float], reach: float) -> None:
    """Paints one object on each image, in place."""
    u, v = _place(draws, scale, reach)
    cover = _outline(u, v, classes // 2)[..., None]
    colours = _colour(draws, _grating(draws, u, v, (classes % 2 == 1)[:, None, None]), contrast=1.0)
    canvas += cover * (colours - canvas)


def _place(draws: _Draws, scale: tuple[float, float], reach: float) -> tuple[Plane, Plane]:
    """Returns the coordinates (n, 32, 32) of every pixel in a frame of random centre, scale and rotation."""
    axis = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) / np.float32(SIZE / 2) - np.float32(1)
    x = axis[None, None, :] - draws.uniform(-reach, reach, _BLOCK, 1, 1)
    y = axis[None, :, None] - draws.uniform(-reach, reach, _BLOCK, 1, 1)
    half = draws.uniform(-0.2, 0.2, _BLOCK, 1, 1)  # tangent of half the angle: up to 23 degrees either way
    size = draws.uniform(*scale, _BLOCK, 1, 1) * (1 + half * half)
    cosine, sine = (1 - half * half) / size, 2 * half / size
    return cosine * x + sine * y, cosine * y - sine * x


def _outline(u: Plane, v: Plane, kind: NDArray[np.int64]) -> Plane:
    """Returns how much of each pixel is inside, in [0, 1]."""
    radius = np.sqrt(u * u + v * v) + np.float32(1e-6)
    cosine = u / radius
    before, now = np.ones_like(cosine), cosine
    edge = np.ones_like(cosine)
    for harmonic in range(_OUTLINES.shape[1]):
        edge += _OUTLINES[kind, harmonic][:, None, None] * now
        before, now = now, 2 * cosine * now - before  # Chebyshev: cos((k + 1) angle) from the two before
    return np.clip((edge / _NORMS[kind][:, None, None] - radius) * 6 + 0.5, 0, 1)


def _grating(draws: _Draws, u: Plane, v: Plane, ridged: NDArray[np.bool_]) -> Plane:
    """Returns stripes across (ridged) or along the object's axis, in [0, 1]."""
    turns = np.where(ridged, u, v) * draws.uniform(1.4, 2.2, _BLOCK, 1, 1) + draws.uniform(0, 1, _BLOCK, 1, 1)
    return np.clip(np.abs(turns - np.floor(turns) - 0.5) * 6 - 1, 0, 1)


def _colour(draws: _Draws, wave: Plane, contrast: float) -> Plane:
    """Returns a canvas (n, 32, 32, 3) between two random colours, by the value of `wave`."""
    base = draws.uniform(0.15, 0.85, _BLOCK, 1, 1, 3)
    step = draws.uniform(-0.5, 0.5, _BLOCK, 1, 1, 3) * contrast
    return base + step * (wave[..., None] - 0.5)


def _expose(draws: _Draws, canvas: Plane) -> NDArray[np.uint8]:
    """Returns the canvas as pixels: lit from one side, with noise."""
    axis = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) / np.float32(SIZE / 2) - np.float32(1)
    light = 1 + draws.uniform(-0.3, 0.3, _BLOCK, 1, 1) * axis[:, None] + draws.uniform(-0.3, 0.3, _BLOCK, 1, 1) * axis
    canvas = canvas * light[..., None] + draws.noise(*canvas.shape) * draws.uniform(0.05, 0.3, _BLOCK, 1, 1, 1)
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
