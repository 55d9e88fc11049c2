"""Images of a data set as batches of normalised tensors, cropped and flipped a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from explorer.data import Dataset
from explorer.recipe import Recipe


class Batches:
    """Some images of a data set, resident on the device as bytes, in channels-last order.

    They are normalised with their own mean and deviation for each channel, or with those of `like`, and resampled to
    `size` x `size` pixels where the network asks for another size than the data set has.
    """

    def __init__(
        self, dataset: Dataset, indices: NDArray[np.int64], size: int, device: torch.device, like: Batches | None = None
    ) -> None:
        self.device = device
        self.size = size
        self.images = torch.from_numpy(dataset.images[indices]).to(device)
        self.labels = torch.from_numpy(dataset.labels[indices]).to(device)
        if like is None:
            pixels = self.images.reshape(-1, self.images.shape[-1])
            levels = torch.arange(256, dtype=torch.float64)
            shares = torch.stack([torch.bincount(channel, minlength=256) / len(pixels) for channel in pixels.cpu().T])
            mean = shares.double() @ levels
            deviation = (shares.double() @ levels**2 - mean**2).clamp(min=1.0).sqrt()
            # Repeated along a row of pixels, so that the arithmetic runs over long vectors and not over three channels.
            width = self.images.shape[2]
            self.offset = (-mean / deviation).float().repeat(width).to(device)
            self.scale = (1 / deviation).float().repeat(width).to(device)
        else:
            self.offset, self.scale = like.offset, like.scale

    def plain(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order: (batch, channels, size, size) and labels (batch,)."""
        for start in range(0, len(self.images), batch_size):
            stop = start + batch_size
            yield self._normalised(self.images[start:stop]), self.labels[start:stop]

    def augmented(self, batch_size: int, recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Full batches in random order, each image shifted by up to `crop_padding` pixels and flipped half of the time."""
        count, height, width, _ = self.images.shape
        order = rng.permutation(count)
        for start in range(0, count - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            rows = self._shifted(height, batch_size, recipe.crop_padding, rng)
            columns = self._shifted(width, batch_size, recipe.crop_padding, rng)
            if recipe.flip:
                flipped = rng.random(batch_size) < 0.5  # noqa: PLR2004 (half of them)
                columns[flipped] = columns[flipped, ::-1]
            picked = self.images[
                self._index(chosen)[:, None, None], self._index(rows)[:, :, None], self._index(columns)[:, None, :]
            ]
            yield self._normalised(picked), self.labels[self._index(chosen)]

    @staticmethod
    def _shifted(length: int, count: int, padding: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Pixel positions of `count` shifted windows, (count, length); what lies outside repeats the edge."""
        shift = rng.integers(-padding, padding + 1, size=(count, 1))
        places: NDArray[np.int64] = np.clip(np.arange(length) + shift, 0, length - 1)
        return places

    def _index(self, values: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _normalised(self, images: Tensor) -> Tensor:
        """Bytes (batch, height, width, channels) to floats (batch, channels, size, size), channels last in memory."""
        rows = torch.addcmul(self.offset, images.flatten(2).float(), self.scale)
        scaled = rows.view(images.shape).permute(0, 3, 1, 2)
        if images.shape[1] == self.size:
            return scaled
        if images.shape[1] > self.size:
            return functional.interpolate(scaled, size=self.size, mode="area")
        return functional.interpolate(scaled, size=self.size, mode="bilinear", align_corners=False)
