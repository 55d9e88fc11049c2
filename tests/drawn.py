"""The marks and lines drawn on an axis, from its collections."""

from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_hex


class Mark(NamedTuple):
    """A mark: its point in data coordinates, its position in pixels, and its appearance."""

    x: float
    y: float
    pixels: tuple[float, float]
    face: str
    opacity: float
    edge: str
    width: float


def labelled(artists, label):
    return [artist for artist in artists if artist.get_label() == label]


def marks(ax, label="point"):
    """The marks with that label, in drawing order."""
    found = []
    for collection in labelled(ax.collections, label):
        offsets = np.asarray(collection.get_offsets())
        columns = [
            np.resize(values, (len(offsets), *np.shape(values)[1:])) if len(values) else [None] * len(offsets)
            for values in (collection.get_facecolor(), collection.get_edgecolor(), collection.get_linewidth())
        ]
        places = collection.get_offset_transform().transform(offsets)
        for offset, place, face, edge, width in zip(offsets, places, *columns, strict=True):
            found.append(
                Mark(
                    *map(float, offset),
                    tuple(map(float, place)),
                    "none" if face is None else to_hex(face),
                    0.0 if face is None else float(face[3]),
                    "none" if edge is None else to_hex(edge),
                    float(width),
                )
            )
    return found


def segments(ax, label="interval"):
    """The lines with that label as arrays, (corners, 2)."""
    return [np.asarray(line) for collection in labelled(ax.collections, label) for line in collection.get_segments()]
