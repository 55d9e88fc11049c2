"""Image files as squares of 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from explorer.data.dataset import SIZE, Pixels
from explorer.data.photo import central_square
from explorer.errors import ExplorerError


def read_square(path: Path) -> Pixels:
    """Read the central square (32, 32, 3) of an image.

    Reads the first frame or page if there are several, and fills transparent pixels with grey.

    Raises:
        ExplorerError: The file cannot be decoded, or the range of its values is unknown.
    """
    try:
        # Warnings are about metadata or images with more than 89 million pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as stored:
            return np.asarray(central_square(stored, SIZE), np.uint8)
    except Exception as error:  # a damaged file can raise anything
        raise ExplorerError(
            f"every image must be readable, but {path} is not ({error or type(error).__name__}); replace or remove it"
        ) from error
