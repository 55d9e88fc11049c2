"""Batches of normalised images that are shifted, flipped and resampled by matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from explorer.data import Labelled
from explorer.training.recipe import Recipe

GROUPS = 16
"""Number of groups in a batch. The images of a group get the same column shift, in one large matrix product."""
SCALES = 9
"""Number of sizes that images are scaled to, if the recipe scales them. The images of a group get the same size."""


def shuffled(seed: tuple[int, ...], count: int, batch_size: int) -> tuple[np.random.Generator, NDArray[np.int64]]:
    """Return the images of each batch of an epoch, (batches, batch size), and the generator for what else is random."""
    rng = np.random.default_rng(seed)
    whole = count // batch_size
    return rng, rng.permutation(count)[: whole * batch_size].reshape(whole, batch_size)


class Batches:
    """Batches made from some images of a data set, resampled to `size` x `size` pixels.

    Each channel is normalised with the mean and standard deviation of these images, or of `like`. The images stay in
    memory-mapped bytes or are copied to the device.

    Shifting, flipping and resampling are linear along the rows and the columns of an image. Two matrix products
    therefore turn bytes into a batch, with matrices from a table of all shifts. The second product also normalises.
    """

    def __init__(
        self,
        dataset: Labelled,
        indices: NDArray[np.int64],
        size: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        like: Batches | None = None,
    ) -> None:
        self.device, self.dtype, self.size = device, dtype, size
        self.images = torch.from_numpy(dataset.images)
        self.places = torch.from_numpy(indices)
        self.labels = torch.from_numpy(dataset.labels[indices]).to(device)
        # On a CPU, all workers share the pages of the data set. Other devices get a copy of the chosen images.
        if device.type != "cpu":
            self.images = self.images.index_select(0, self.places).to(device)
            self.places = torch.arange(len(indices), device=device)
        self._tables: dict[tuple[int, bool, float], _Table] = {}
        self.mean: Tensor
        self.deviation: Tensor
        self.mean, self.deviation = (like.mean, like.deviation) if like else self._statistics()

    def __len__(self) -> int:
        return len(self.places)

    def plain(self, batch_size: int, count: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the first `count` images (by default, all) in order: (batch, channels, size, size), labels (batch,)."""
        table = self._table(padding=0, flip=False, scale=0.0)
        stop = len(self) if count is None else min(count, len(self))
        for start in range(0, stop, batch_size):
            chosen = torch.arange(start, min(start + batch_size, stop), device=self.device)
            middle = torch.zeros_like(chosen)
            yield table.batch(self._bytes(chosen), middle, middle[:1]), self.labels[chosen]

    def augmented(
        self, batch_size: int, recipe: Recipe, seed: tuple[int, ...], steps: range
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches `steps` of an epoch in random order, changed as the recipe says.

        Shifts and smaller sizes repeat the edge of the image. Batches depend only on the seed, so training can continue
        in the middle of an epoch.
        """
        table = self._table(recipe.crop_padding, recipe.flip, recipe.scale)
        rng, order = shuffled(seed, len(self), batch_size)
        whole = len(order)
        groups = math.gcd(batch_size, GROUPS)
        rows = rng.integers(len(table.rows) // table.scales, size=(whole, batch_size))
        columns = rng.integers(len(table.columns) // table.scales, size=(whole, groups))
        # Drawn last, so that recipes without them have the same batches as before these fields existed.
        scales = rng.integers(table.scales, size=(whole, groups))
        centres = rng.integers(self.size, size=(whole, 2, batch_size)) if recipe.cutout else None
        rows = rows * table.scales + np.repeat(scales, batch_size // groups, axis=1)
        columns = columns * table.scales + scales
        # Copied to a GPU once per epoch: small copies in every step would slow small networks.
        images, rows_of, columns_of = map(self._on_device, (order, rows, columns))
        centres_of = None if centres is None else self._on_device(centres)
        for step in steps:
            made = table.batch(self._bytes(images[step]), rows_of[step], columns_of[step])
            if centres_of is not None:
                made = _cut_out(made, centres_of[step], round(recipe.cutout * self.size))
            yield made, self.labels[images[step]]

    def _on_device(self, values: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _table(self, padding: int, flip: bool, scale: float) -> _Table:
        key = padding, flip, scale
        if key not in self._tables:
            self._tables[key] = _Table(self, *key)
        return self._tables[key]

    def _bytes(self, chosen: Tensor) -> Tensor:
        return self.images.index_select(0, self.places[chosen])

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation of the bytes of each channel, (channels,) float64."""
        channels = self.images.shape[-1]
        counts = torch.zeros(channels, 256, dtype=torch.float64)
        for places in self.places.split(1000):
            pixels = self.images.index_select(0, places).reshape(-1, channels).cpu()
            counts += torch.stack([torch.bincount(channel, minlength=256) for channel in pixels.T])
        levels = torch.arange(256, dtype=torch.float64)
        shares = counts / counts.sum(1, keepdim=True)
        mean = shares @ levels
        return mean, (shares @ levels**2 - mean**2).clamp(min=1.0).sqrt()


class _Table:
    """Matrices that turn bytes into normalised images.

    An image (height, width * channels) is multiplied by one of `rows` (changes, size, height) from the left and one of
    `columns` (changes, width * channels, size * channels) from the right. A change is a shift and one of `scales`
    sizes, with the size varying fastest. If flips are used, the second half of `columns` flips the image.
    """

    def __init__(self, batches: Batches, padding: int, flip: bool, scale: float) -> None:
        height, width, channels = batches.images.shape[1:]
        self.scales = SCALES if scale else 1
        across = _shifts(width, padding)
        if flip:
            across = torch.cat([across, across.flip(1)])
        contrast = (1 / batches.deviation).to(batches.dtype).double()
        lines = _resampling(width, batches.size) @ _scaled(across, scale)
        columns = [torch.kron(line.T.contiguous(), contrast.diag()) for line in lines]
        rows = _resampling(height, batches.size) @ _scaled(_shifts(height, padding), scale)
        self.rows = rows.to(batches.device, batches.dtype)
        self.columns = torch.stack(columns).to(batches.device, batches.dtype)
        # Repeat along a row of pixels, because arithmetic is faster over long vectors than over three channels.
        self.offset = (-batches.mean * contrast).repeat(batches.size).to(batches.device, batches.dtype)
        self.channels = channels

    def batch(self, images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Turn bytes (batch, height, width, channels) into images (batch, channels, size, size), channels last.

        `rows` has a table index for each image, and `columns` has one for each group of consecutive images.
        """
        shifted = torch.bmm(self.rows.index_select(0, rows), images.flatten(2).to(self.offset.dtype))
        grouped = shifted.view(len(columns), -1, shifted.shape[2])
        made = torch.baddbmm(self.offset, grouped, self.columns.index_select(0, columns))
        size = self.rows.shape[1]
        return made.view(len(images), size, size, self.channels).permute(0, 3, 1, 2)


def _shifts(length: int, padding: int) -> Tensor:
    """Return matrices (2 * padding + 1, length, length) that shift a line of pixels by -padding to padding."""
    places = torch.arange(length) + torch.arange(-padding, padding + 1)[:, None]
    return functional.one_hot(places.clamp(0, length - 1), length).double()


def _scaled(shifts: Tensor, scale: float) -> Tensor:
    """Combine matrices (shifts, length, length) with `SCALES` sizes: (shifts * sizes, length, length).

    The middle stays in place. Sizes are evenly spaced from 1 - scale to 1 + scale. Pixels are interpolated linearly.
    """
    if not scale:
        return shifts
    length = shifts.shape[1]
    factors = torch.linspace(1 - scale, 1 + scale, SCALES, dtype=torch.float64)[:, None]
    middle = (length - 1) / 2
    places = ((torch.arange(length) - middle) / factors + middle).clamp(0, length - 1)
    distances = (places[:, :, None] - torch.arange(length)).abs()
    return ((1 - distances).clamp(min=0) @ shifts[:, None]).flatten(0, 1)


def _cut_out(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Replace a square of each image (batch, channels, size, size) by zero, the mean colour.

    `centres` (2, batch) has the rows and columns. A square at the edge is only partly inside the image.
    """
    places = torch.arange(images.shape[2], device=images.device)
    first = centres[:, :, None] - side // 2
    inside = (places >= first) & (places < first + side)
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None])[:, None], 0.0)


def _resampling(length: int, size: int) -> Tensor:
    """Return the matrix (size, length) that resamples a line of pixels by area means, or linearly to enlarge it."""
    lines = torch.eye(length, dtype=torch.float64)[:, None]
    if size > length:
        return functional.interpolate(lines, size=size, mode="linear", align_corners=False)[:, 0].T
    return functional.interpolate(lines, size=size, mode="area")[:, 0].T
