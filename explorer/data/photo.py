"""Photos as squares of 8-bit RGB.

Exports include the code below the imports, so networks get photos that are processed as in training. It may use only
Pillow and NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

BACKGROUND = (128, 128, 128)
"""Transparent pixels are filled with grey, so both black and white drawings stay visible."""
MOST_16_BIT = 2**16 - 1
DARK_16_BIT = 2**12
"""A 16-bit image with only smaller values uses fewer bits, and the file does not state their range."""


def central_square(image: Image.Image, size: int) -> Image.Image:
    """Crop to the central square and resize it to `size` x `size`, averaging to shrink it, bicubically to enlarge it.

    Raises `ValueError` for the same images as `upright_rgb`.
    """
    rgb = upright_rgb(image)
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    resampling = Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC
    return rgb.crop((left, top, left + side, top + side)).resize((size, size), resampling)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Rotate by the EXIF tag and convert to 8-bit RGB; raise `ValueError` if the range of values is unknown."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or upright.mode.startswith("I"):
        return Image.fromarray(_bytes(upright, image.format)).convert("RGB")
    if upright.has_transparency_data:
        background = Image.new("RGBA", upright.size, (*BACKGROUND, 255))
        return Image.alpha_composite(background, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _bytes(image: Image.Image, format_: str | None) -> NDArray[np.uint8]:
    """Scale grey values with more than 8 bits by the range of their format."""
    values = np.asarray(image)
    if image.mode == "F":
        return _from_floats(values)
    low, high = int(values.min()), int(values.max())
    # Some versions of Pillow read 16-bit PNG and PNM files as 32-bit integers.
    if image.mode == "I" and not (format_ in {"PNG", "PPM"} and low >= 0 and high <= MOST_16_BIT):
        raise ValueError(f"32-bit integers from {low:,} to {high:,}, whose range is unknown; save it with 8 or 16 bits")
    if 0 < high < DARK_16_BIT:
        raise ValueError(
            f"16-bit values of at most {high:,}, which would be almost black; scale them to 0 to {MOST_16_BIT:,}"
        )
    return (values >> 8).astype(np.uint8)


def _from_floats(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    slack = 1e-3  # for resampled images
    if not (low >= -slack and high <= 255 + slack):
        raise ValueError(f"floating-point values from {low:g} to {high:g}; save it with values from 0 to 1 or 0 to 255")
    scaled = values * (255 if high <= 1 + slack else 1)
    pixels: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return pixels
