"""The stored predictions of a run: a bit, a half-precision number and a class for each validation image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(correct: NDArray[np.bool_], top_probability: NDArray[np.float32]) -> dict[str, Any]:
    """Return the columns `validation_images`, `correct` and `top_probability` for storage."""
    return {
        "validation_images": len(correct),
        "correct": np.packbits(correct).tobytes(),
        "top_probability": top_probability.astype(np.float16).tobytes(),
    }


def unpack(correct: bytes, top_probability: bytes, images: int) -> dict[str, NDArray[Any]]:
    """Return the stored columns as arrays: `correct` (images,) bool and `top_probability` (images,) float16."""
    return {
        "correct": unpack_correct(correct, images),
        "top_probability": np.frombuffer(top_probability, np.float16),
    }


def unpack_correct(correct: bytes, images: int) -> NDArray[np.bool_]:
    """Return whether each image was classified correctly, as an array (images,)."""
    return np.unpackbits(np.frombuffer(correct, np.uint8), count=images).view(bool)


def pack_classes(predicted: NDArray[np.int64]) -> bytes:
    """Return predicted classes as bytes, one or more per image depending on the largest class."""
    return predicted.astype(np.min_scalar_type(predicted.max(initial=0)).newbyteorder("<")).tobytes()


def unpack_classes(predicted: bytes, images: int) -> NDArray[np.int64]:
    """Return stored classes as an array (images,)."""
    return np.frombuffer(predicted, f"<u{len(predicted) // images}").astype(np.int64)
