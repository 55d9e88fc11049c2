"""Image files as squares of 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from explorer.data.dataset import SIZE, Pixels
from explorer.errors import ExplorerError

BACKGROUND = (128, 128, 128)
"""Behind transparent pixels: grey, on which both black and white drawings are visible."""
MOST_16_BIT = 2**16 - 1
DARK_16_BIT = 2**12
"""16-bit images with no larger value hold fewer bits, whose range the file does not say."""


def read_square(path: Path) -> Pixels:
    """Read the central square (32, 32, 3) of an image, averaged when it shrinks, bicubic when it grows.

    Of several frames or pages, the first is read. Transparent pixels are laid over grey.

    Raises:
        ExplorerError: The file cannot be decoded, or its values have no known range.
    """
    try:
        # Warnings are about metadata, or images of more than 89 million pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as stored:
            image = upright_rgb(stored)
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            filter_ = Image.Resampling.BOX if side > SIZE else Image.Resampling.BICUBIC
            square = image.crop((left, top, left + side, top + side))
            return np.asarray(square.resize((SIZE, SIZE), filter_), np.uint8)
    except Exception as error:  # a damaged file can raise anything
        raise ExplorerError(
            f"every image must be readable, but {path} is not ({error or type(error).__name__}); replace or remove it"
        ) from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB, rotated as its EXIF tag says; raise `ValueError` if its values have no known range."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or upright.mode.startswith("I"):
        return Image.fromarray(_bytes(upright, image.format)).convert("RGB")
    if upright.has_transparency_data:
        background = Image.new("RGBA", upright.size, (*BACKGROUND, 255))
        return Image.alpha_composite(background, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _bytes(image: Image.Image, format_: str | None) -> Pixels:
    """Scale grey values of more than 8 bits by the range of their format."""
    values = np.asarray(image)
    if image.mode == "F":
        return _from_floats(values)
    low, high = int(values.min()), int(values.max())
    # Pillow reads 16-bit PNG and PNM files as 32-bit integers, depending on its version.
    if image.mode == "I" and not (format_ in {"PNG", "PPM"} and low >= 0 and high <= MOST_16_BIT):
        raise ValueError(f"32-bit integers from {low:,} to {high:,}, whose range is unknown; save it with 8 or 16 bits")
    if 0 < high < DARK_16_BIT:
        raise ValueError(
            f"16-bit values of at most {high:,}, which would be almost black; scale them to 0 to {MOST_16_BIT:,}"
        )
    return (values >> 8).astype(np.uint8)


def _from_floats(values: NDArray[np.floating]) -> Pixels:
    low, high = float(values.min()), float(values.max())
    slack = 1e-3  # of resampled images
    if not (low >= -slack and high <= 255 + slack):
        raise ValueError(f"floating-point values from {low:g} to {high:g}; save it with values from 0 to 1 or 0 to 255")
    scaled = values * (255 if high <= 1 + slack else 1)
    pixels: Pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return pixels
