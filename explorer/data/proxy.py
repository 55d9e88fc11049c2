"""A procedural stand-in for CIFAR-10: ten classes of patterned shapes, made in seconds on any machine, offline.

The class is one of five outlines and one of two textures; both must be read, amid small objects of every class. Colours,
contrast, lighting, place, scale, rotation, background, occlusion and noise are drawn independently of it, all outlines
have the same area and both colours of a texture cover half of it, so colour tells nothing.

Objects are on average lighter than the background, so something linear tells the outlines apart, as it does in
photographs, and the textures are ones that the smallest networks learn at once. With finer distinctions (fine or coarse
stripes, chequerboards) it depended on the seed whether a small network left its first plateau within a short run.

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

VERSION = 2
"""Counts up whenever a byte of the images changes: they are made anew, and the fingerprint keeps the runs apart."""
COUNT = 20_000
SIZE = 32
OUTLINES = ("disc", "peanut", "trefoil", "clover", "star")
"""With 0, 2, 3, 4 and 5 lobes."""
TEXTURES = ("level", "upright")
"""Stripes along the object and across it."""
CLASSES = tuple(f"{texture} {outline}" for outline in OUTLINES for texture in TEXTURES)
_BLOCK = 500  # images made at a time, with some 50 MB of work arrays

Plane: TypeAlias = NDArray[np.float32]
Classes: TypeAlias = NDArray[np.int64]


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
        with tqdm(
            total=COUNT, desc="making proxy", unit="image", disable=None if self.progress else True, leave=False
        ) as bar:
            for number in range(COUNT // _BLOCK):
                yield make_block(number)
                bar.update(_BLOCK)


def make_block(number: int) -> Block:
    """Returns the images (500, 32, 32, 3) uint8 and labels (500,) of one block; each class has 50 of them."""
    draws = _Draws((VERSION, number))
    labels = draws.classes()
    u, v = _place(draws, scale=(0.8, 1.2), reach=1.0)
    canvas = _colour(draws, _texture(draws, u, v, draws.classes() % 2), base=(0.1, 0.6))
    for _ in range(2):  # clutter behind the object, which is the largest and most central
        _paint(draws, canvas, draws.classes(), scale=(0.2, 0.35), reach=0.9, opacity=draws.chance(0.4))
    # In a sixth of the images the object is missing. Accuracy can reach 0.85, and differences show well below that.
    _paint(draws, canvas, labels, scale=(0.6, 0.95), reach=0.2, opacity=draws.chance(0.84))
    _paint(
        draws, canvas, draws.classes(), scale=(0.15, 0.4), reach=0.7, opacity=draws.chance(0.4)
    )  # in front: may hide it
    return _expose(draws, canvas), labels


class _Draws:
    """Random numbers for one block of images."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, low: float, high: float, channels: int = 1) -> Plane:
        """Returns (n, 1, 1) or (n, 1, 1, channels) numbers of 24 bits, which float32 holds exactly."""
        raw = (self._bits.random_raw(_BLOCK * channels) >> 40).astype(np.float32) * np.float32(2**-24)
        numbers: Plane = np.float32(low) + np.float32(high - low) * raw
        return numbers.reshape((_BLOCK, 1, 1) if channels == 1 else (_BLOCK, 1, 1, channels))

    def classes(self) -> Classes:
        """Returns (n,) classes, each equally often."""
        return np.argsort(self._bits.random_raw(_BLOCK), kind="stable") % len(CLASSES)

    def chance(self, share: float) -> Plane:
        """Returns (n, 1, 1) ones with this probability, else zeros."""
        return (self.uniform(0, 1) < np.float32(share)).astype(np.float32)

    def noise(self, shape: tuple[int, ...]) -> Plane:
        """Returns numbers in [-1, 1], most near 0: the difference of two random bytes each."""
        raw = self._bits.random_raw(2 * math.prod(shape) // 8).astype("<u8").view(np.uint8).reshape(2, *shape)
        noise: Plane = (raw[0].astype(np.float32) - raw[1]) / np.float32(255)
        return noise


def _paint(
    draws: _Draws,
    canvas: Plane,
    classes: Classes,
    scale: tuple[float, float],
    reach: float,
    opacity: Plane | float = 1.0,
) -> None:
    """Paints an object on each image of the canvas (n, 32, 32, 3), in place. Lengths are in half widths of the image."""
    u, v = _place(draws, scale, reach)
    cover = _cover(u, v, classes // 2, draws.uniform(0.25, 0.65)) * opacity
    colours = _colour(draws, _texture(draws, u, v, classes % 2), base=(0.4, 0.9))
    canvas += cover[..., None] * (colours - canvas)


def _axis() -> Plane:
    """Returns the centres of the pixels of a row, in (-1, 1)."""
    axis: Plane = (2 * np.arange(SIZE) + 1 - SIZE).astype(np.float32) / np.float32(SIZE)
    return axis


def _place(draws: _Draws, scale: tuple[float, float], reach: float) -> tuple[Plane, Plane]:
    """Returns where every pixel (n, 32, 32) lies in an object's frame of random centre, rotation and radius."""
    x = _axis() - draws.uniform(-reach, reach)
    y = _axis()[:, None] - draws.uniform(-reach, reach)
    half = draws.uniform(-0.2, 0.2)  # the tangent of half the angle: up to 23 degrees either way
    radius = draws.uniform(*scale) * (1 + half * half)
    cosine, sine = (1 - half * half) / radius, 2 * half / radius
    return cosine * x + sine * y, cosine * y - sine * x


def _cover(u: Plane, v: Plane, outline: Classes, lobes: Plane) -> Plane:
    """Returns how much of each pixel the object covers, in [0, 1].

    Its outline in polar form is r(angle) = 1 + lobes cos(k angle), for the disc without lobes, scaled to equal area. How high
    the lobes are, (n, 1, 1), differs from image to image: some are told at a glance, some hardly.
    """
    radius = np.sqrt(u * u + v * v) + np.float32(1e-6)
    cosine = u / radius
    cosine2 = 2 * cosine * cosine - 1
    cosine3 = 2 * cosine * cosine2 - cosine
    cosine4 = 2 * cosine2 * cosine2 - 1
    cosine5 = 2 * cosine * cosine4 - cosine3
    wave: Plane = np.choose(outline[:, None, None], [np.zeros_like(cosine), cosine2, cosine3, cosine4, cosine5])
    lobes = np.where(outline[:, None, None] == 0, np.zeros_like(lobes), lobes)
    shrink: Plane = np.sqrt(1 + lobes * lobes / 2)
    edge: Plane = (1 + lobes * wave) / shrink
    return _clip((edge - radius) * np.float32(6) + np.float32(0.5))


def _texture(draws: _Draws, u: Plane, v: Plane, upright: Classes) -> NDArray[np.bool_]:
    """Returns which of its two colours each pixel of an object has, in stripes along it or across it."""
    turns = np.where(upright[:, None, None] == 1, u, v) * draws.uniform(1.8, 3.0) + draws.uniform(0, 1)
    first_half: NDArray[np.bool_] = turns - np.floor(turns) < 0.5  # noqa: PLR2004 -- of each period
    return first_half


def _colour(draws: _Draws, pattern: NDArray[np.bool_], base: tuple[float, float]) -> Plane:
    """Returns a canvas (n, 32, 32, 3) in two random colours, their middle in the range `base`."""
    middle = draws.uniform(*base, channels=3)
    step = draws.uniform(0.1, 0.35)[..., None] + draws.uniform(-0.15, 0.15, channels=3)
    return np.where(pattern[..., None], middle + step, middle - step)


def _expose(draws: _Draws, canvas: Plane) -> NDArray[np.uint8]:
    """Returns the canvas as pixels, lit from one side and with noise."""
    light: Plane = 1 + draws.uniform(-0.3, 0.3) * _axis() + draws.uniform(-0.3, 0.3) * _axis()[:, None]
    canvas = canvas * light[..., None] + draws.noise(canvas.shape) * draws.uniform(0.02, 0.15)[..., None]
    return (_clip(canvas) * 255 + 0.5).astype(np.uint8)


def _clip(values: Plane) -> Plane:
    clipped: Plane = np.minimum(np.maximum(values, np.float32(0)), np.float32(1))
    return clipped
