"""A procedural stand-in for CIFAR-10: ten classes of cloudy pictures, generated offline in seconds.

Each image shows a picture of its class on a background. The picture is shifted, scaled, rotated, mirrored and tinted,
with pieces of other pictures behind it and in front of it, uneven light and noise. Pictures are random fields of five
octaves, of which the coarse ones are stronger. Pictures of a class share part of each octave, especially of the coarse
ones, and have similar octave strengths and grain direction. Colour, layout, outline, texture and background therefore
each carry weak evidence of the class.

The strength of that evidence was tuned to match how well simple classifiers do on CIFAR-10 with mean colours, pixels
averaged to 2, 4 and 8 a side, and edge energies (docs/data.md). Networks then learn from the first steps, as they do
on photographs, and are ranked by how well they combine weak evidence. With a few strong features, the result of a
short run depended on when it found each of them. With many pictures per class, memorising some of them helps less,
which lowers the spread between seeds.

The bytes are the same on every machine. Random numbers are raw PCG64 output, which NumPy guarantees. Pixels are
computed from them by single additions, multiplications, divisions, square roots and floors, which IEEE 754 defines
exactly. Sines and sums over axes are avoided because their last bit depends on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from explorer.data.dataset import SIZE, Dataset, ImageBlock, cached, progress_bar, store

VERSION = 3
"""Raise this when any byte of the images changes, to regenerate cached images."""
COUNT = 20_000
CLASSES = tuple(f"kind {number}" for number in range(10))

PICTURES = 96
"""Pictures per class."""
SCENES = 2
"""Backgrounds per class. Half of its images use them; the other half use a background of a random class."""
DETAIL = 32  # side of a picture in pixels
STRENGTH = (1.0, 1.2, 0.9, 0.6, 0.4)
"""Strength of each octave of a picture. Octaves are random grids of 2, 4, ..., 32 a side."""
COMMON = (0.7, 0.6, 0.5, 0.3, 0.1)
"""Part of each octave that the pictures of a class share. Their correlation is its square."""
ALIKE = 0.8
"""Part of a picture's octave strengths and grain that its class determines."""
BLOCK = 500  # images generated at a time, with about 50 MB of work arrays

Plane: TypeAlias = NDArray[np.float32]
Numbers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class ProxySource:
    """The procedural data set: 20,000 images of 32 px, in ten classes of 2,000 images."""

    @property
    def name(self) -> str:
        """`proxy`."""
        return "proxy"

    @property
    def class_count(self) -> int:
        """The number of classes, 10."""
        return len(CLASSES)

    def prepare(self) -> Dataset:
        """Return the training pool. The first call takes a few seconds."""
        key = f"proxy {VERSION}"
        return cached(key, lambda: store(key, self.name, CLASSES, (COUNT, SIZE), self._blocks()))

    def _blocks(self) -> Iterator[ImageBlock]:
        with progress_bar(COUNT, "making proxy", "image") as bar:
            pictures = make_pictures()
            for number in range(COUNT // BLOCK):
                yield make_block(pictures, number)
                bar.update(BLOCK)


def make_block(pictures: Plane, number: int) -> ImageBlock:
    """Make images (500, 32, 32, 3) uint8 and labels (500,) from the output of `make_pictures`, 50 of each class."""
    draws = _Draws((VERSION, number), BLOCK)
    labels = draws.below(len(CLASSES))
    canvas = _background(draws, pictures, labels)
    _paint(draws, pictures, canvas, draws.below(len(CLASSES)), scale=(0.25, 0.45), reach=0.9, share=0.5)
    _paint(draws, pictures, canvas, labels, scale=(0.6, 1.2), reach=0.45)
    _paint(draws, pictures, canvas, draws.below(len(CLASSES)), scale=(0.2, 0.4), reach=0.7, share=0.3)
    return _expose(draws, canvas), labels


class _Draws:
    """Draws `count` random values at a time."""

    def __init__(self, seed: tuple[int, ...], count: int) -> None:
        self._bits = np.random.PCG64(seed)
        self.count = count

    def uniform(self, low: float, high: float, channels: int = 1, count: int = 0) -> Plane:
        """Return 24-bit numbers (count, 1, 1, channels), which float32 represents exactly."""
        raw = (self._bits.random_raw((count or self.count) * channels) >> 40).astype(np.float32) * np.float32(2**-24)
        numbers: Plane = np.float32(low) + np.float32(high - low) * raw
        return numbers.reshape(-1, 1, 1, channels)

    def below(self, end: int) -> Numbers:
        """Return integers from 0 to `end` - 1, (count,), in random order. Their frequencies differ by at most one."""
        return np.argsort(self._bits.random_raw(self.count), kind="stable") % end

    def chance(self, share: float) -> NDArray[np.bool_]:
        """Return booleans (count, 1, 1, 1) that are true with probability `share`."""
        return self.uniform(0, 1) < np.float32(share)

    def noise(self, *shape: int) -> Plane:
        """Return triangular noise with standard deviation 1, made from differences between random bytes."""
        raw = self._bits.random_raw(2 * math.prod(shape) // 8).astype("<u8").view(np.uint8).reshape(2, *shape)
        noise: Plane = raw[0].astype(np.float32)
        noise -= raw[1]
        noise /= 104
        return noise


def make_pictures() -> Plane:
    """Return the pixels of all pictures, RGB and opacity, (pictures * 32 * 32, 4). The backgrounds come last."""
    draws = _Draws((VERSION, COUNT), len(CLASSES) * (PICTURES + SCENES))
    field = np.zeros((draws.count, 1, 1, 4), np.float32)
    for strength, common in zip(STRENGTH, COMMON, strict=True):
        field = _doubled(field) + np.float32(strength) * _octave(draws, 2 * field.shape[1], common)
    colours = field[..., :3]
    # Mostly grey, like photographs.
    grey = (colours[..., :1] + colours[..., 1:2] + colours[..., 2:]) * np.float32(0.55)
    axis = _axis(DETAIL)
    round_: Plane = np.float32(0.8) - axis * axis - (axis * axis)[:, None]
    cover = _clip((round_ + np.float32(0.7) * field[..., 3]) * 6 + np.float32(0.5))
    return np.concatenate([np.float32(0.3) * colours + grey, cover[..., None]], axis=3).reshape(-1, 4)


def _octave(draws: _Draws, size: int, common: float) -> Plane:
    """Return a random grid (size, size, 4) for each picture, partly shared within a class."""
    grid = draws.noise(draws.count, size, size, 4)
    shared = draws.noise(len(CLASSES), size, size, 4).repeat(PICTURES, axis=0)
    grid[: len(shared)] *= math.sqrt(1 - common * common)
    grid[: len(shared)] += common * shared
    grain, strength = _character(draws, 0, 1), _character(draws, 0.2, 1.8)
    before = np.maximum(np.arange(size) - 1, 0)
    beside, above = grid[:, :, before], grid[:, before]
    beside -= above
    grid += above
    beside *= grain
    grid += beside
    grid *= strength * np.float32(0.75)
    return grid


def _character(draws: _Draws, low: float, high: float) -> Plane:
    """Return a random number (pictures, 1, 1, 1) for each picture, partly shared within a class."""
    numbers = draws.uniform(low, high)
    shared = draws.uniform(low, high, count=len(CLASSES)).repeat(PICTURES, axis=0)
    numbers[: len(shared)] += np.float32(ALIKE) * (shared - numbers[: len(shared)])
    return numbers


def _doubled(field: Plane) -> Plane:
    """Upsample fields (n, k, k, channels) to (n, 2k, 2k, channels), smoothed."""
    for axis in (1, 2):
        field = field.repeat(2, axis=axis)
        places = np.arange(field.shape[axis])
        sides = field.take(np.maximum(places - 1, 0), axis)
        sides += field.take(np.minimum(places + 1, places[-1]), axis)
        field += np.float32(0.5) * sides
        field *= np.float32(0.5)
    return field


def _background(draws: _Draws, pictures: Plane, labels: Numbers) -> Plane:
    """Return canvases (n, 32, 32, 3) that each show part of a background."""
    kinds = np.where(draws.chance(0.5).ravel(), labels, draws.below(len(CLASSES)))
    u, v = _place(draws, scale=(1.0, 2.0), reach=0.0)
    u, v = 0.6 * u + draws.uniform(-0.4, 0.4)[..., 0], 0.6 * v + draws.uniform(-0.4, 0.4)[..., 0]
    seen = _look(pictures, len(CLASSES) * PICTURES + kinds * SCENES + draws.below(SCENES), u, v)
    return _tinted(draws, seen, contrast=(0.3, 1.0))


def _paint(
    draws: _Draws,
    pictures: Plane,
    canvas: Plane,
    kinds: Numbers,
    scale: tuple[float, float],
    reach: float,
    share: float = 1.0,
) -> None:
    """With probability `share`, paint a picture of each kind on its canvas (n, 32, 32, 3), in place."""
    u, v = _place(draws, scale, reach)
    seen = _look(pictures, kinds * PICTURES + draws.below(PICTURES), u, v)
    inside = (np.maximum(np.abs(u), np.abs(v)) < 1)[..., None] & draws.chance(share)
    canvas += seen[..., 3:] * inside * (_tinted(draws, seen, contrast=(0.7, 1.2)) - canvas)


def _axis(size: int) -> Plane:
    """Return the centres of the pixels in a row, between -1 and 1."""
    axis: Plane = (2 * np.arange(size) + 1 - size).astype(np.float32) / np.float32(size)
    return axis


def _place(draws: _Draws, scale: tuple[float, float], reach: float) -> tuple[Plane, Plane]:
    """Return the coordinates (n, 32, 32) of every pixel in a picture with random centre, rotation and size.

    Pictures range from -1 to 1. `scale` and `reach` are in units of half the image width.
    """
    x = _axis(SIZE) - draws.uniform(-reach, reach)[..., 0]
    y = _axis(SIZE)[:, None] - draws.uniform(-reach, reach)[..., 0]
    half = draws.uniform(-0.15, 0.15)[..., 0]  # tangent of half the angle, up to 17 degrees
    size = draws.uniform(*scale)[..., 0] * (1 + half * half)
    cosine, sine = (1 - half * half) / size, 2 * half / size
    side = np.where(draws.chance(0.5)[..., 0], np.float32(1), np.float32(-1))
    return side * (cosine * x + sine * y), cosine * y - sine * x


def _look(pictures: Plane, numbers: Numbers, u: Plane, v: Plane) -> Plane:
    """Return the pixels (n, 32, 32, 4) of pictures at these coordinates, which are clamped to the edges."""
    column, row = (
        np.minimum(np.maximum((place + 1) * (DETAIL // 2), 0), DETAIL - 1).astype(np.int32) for place in (u, v)
    )
    found: Plane = pictures.take((numbers.astype(np.int32)[:, None, None] * DETAIL + row) * DETAIL + column, axis=0)
    return found


def _tinted(draws: _Draws, seen: Plane, contrast: tuple[float, float]) -> Plane:
    """Return the colours (n, 32, 32, 3) with random contrast and tint."""
    return seen[..., :3] * draws.uniform(*contrast) + draws.uniform(-0.5, 0.5, channels=3)


def _expose(draws: _Draws, canvas: Plane) -> NDArray[np.uint8]:
    """Light the canvases from one side, add noise and convert them to uint8."""
    across, down = draws.uniform(-0.3, 0.3), draws.uniform(-0.3, 0.3)
    light = 1 + across * _axis(SIZE)[:, None] + down * _axis(SIZE)[:, None, None]
    canvas = (np.float32(0.48) + np.float32(0.16) * canvas) * light
    canvas += draws.noise(*canvas.shape) * draws.uniform(0.01, 0.05)
    return (_clip(canvas) * 255 + 0.5).astype(np.uint8)


def _clip(values: Plane) -> Plane:
    clipped: Plane = np.minimum(np.maximum(values, np.float32(0)), np.float32(1))
    return clipped
