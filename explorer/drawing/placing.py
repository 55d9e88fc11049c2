"""Place labels next to marks, without overlapping marks or each other. This does not depend on matplotlib.

Positions and sizes are in points (or any unit in which letters are about ten high), with x to the right and y upwards.
Boxes are (left, bottom, right, top).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SIDES, _CORNERS = (90, 270, 0, 180), (135, 315, 45, 225)  # directions from a mark to its label, in degrees
_STEPS = (2, 5, 9, 14, 21, 29)  # distances from the edge of a mark to its label
_NEAR = 5  # up to this distance, a label needs no line to its mark
_CROWD = 300  # with more marks, only their centres are kept free


class Placed(NamedTuple):
    """The position of a label.

    Attributes:
        offset: Offset from the mark to the centre of the label.
        side: -1 if the label is to the left of its mark, 1 if to the right, 0 if above or below.
        far: Whether the label is far enough away to need a line to its mark.
    """

    offset: NDArray[np.float64]
    side: int
    far: bool


def place(
    marks: NDArray[np.float64],
    radii: NDArray[np.float64],
    sizes: Sequence[NDArray[np.float64] | None],
    *,
    frame: NDArray[np.float64],
    obstacles: Sequence[NDArray[np.float64]] = (),
    boxes: Sequence[NDArray[np.float64]] = (),
    optional: Sequence[bool] | NDArray[np.bool_] | None = None,
    reach: float = _NEAR,
    corners: bool = False,
) -> list[Placed | None]:
    """Place a label next to each mark, as close as possible without covering anything.

    Each label is tried in all directions around its mark at growing distances, and placed where it covers the least.
    Optional labels come last and are left out if there is no room.

    Args:
        marks: The centres of the marks, (k, 2).
        radii: The radius of each mark.
        sizes: Width and height of each label. Marks with None are only kept free of labels.
        frame: The box in which labels should stay.
        obstacles: Points to keep free, (n, 2) each.
        boxes: Boxes to keep free, such as other labels.
        optional: Which labels may be left out; none by default.
        reach: Maximum distance of an optional label from the edge of its mark.
        corners: Whether labels prefer the corners of their marks to the sides.
    """
    may_miss = np.zeros(len(marks), dtype=bool) if optional is None else np.asarray(optional, dtype=bool)
    taken, full = np.concatenate([_outlines(marks, radii), *obstacles]), list(boxes)
    angles = np.radians((*_CORNERS, *_SIDES) if corners else (*_SIDES, *_CORNERS))
    ways = np.array([(step, np.cos(angle), np.sin(angle)) for step in _STEPS for angle in angles])
    found: list[Placed | None] = [None] * len(marks)
    for index in np.argsort(may_miss, kind="stable"):
        size = sizes[index]
        if size is None:
            continue
        tried = ways[ways[:, 0] <= reach] if may_miss[index] else ways
        half = size / 2
        offsets = tried[:, 1:] * (radii[index] + tried[:, :1]) + np.sign(np.round(tried[:, 1:])) * half
        low, high = marks[index] + offsets - half - 1, marks[index] + offsets + half + 1
        near = taken[_inside(taken, low.min(axis=0, keepdims=True), high.max(axis=0, keepdims=True))[0]]
        covered = _inside(near, low, high).sum(axis=1)
        outside = (np.maximum(frame[:2] - low, 0) + np.maximum(high - frame[2:], 0)).sum(axis=1)
        clash = np.sum([_overlap(low, high, box) for box in full] or [np.zeros(len(tried))], axis=0)
        best = int((40 * clash + 6 * covered + 14 * outside + tried[:, 0]).argmin())
        if may_miss[index] and (clash[best] > 2 or covered[best] or outside[best] > 1):  # noqa: PLR2004 (their padding)
            continue
        full.append(np.concatenate([low[best], high[best]]))
        found[index] = Placed(offsets[best], round(tried[best, 1]), tried[best, 0] > _NEAR)
    return found


def sampled(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return closely spaced points along a polyline, (k, 2)."""
    if len(line) < 2:  # noqa: PLR2004 (a line has two ends)
        return line
    shares = np.linspace(0, 1, 40)[:, None]
    return np.concatenate([start + shares * (end - start) for start, end in pairwise(line)])


def _outlines(marks: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centres of marks and, unless there are many, points around them."""
    if len(marks) > _CROWD:
        return marks
    angles = np.radians((*_SIDES, *_CORNERS))
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    return np.concatenate([marks, (marks[:, None] + radii[:, None, None] * ring).reshape(-1, 2)])


def _inside(points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie in which boxes, (boxes, points)."""
    # Two arrays of one coordinate each are compared much faster than one array of pairs.
    (x, y), (left, bottom), (right, top) = points.T, low.T[:, :, None], high.T[:, :, None]
    return np.asarray((x >= left) & (x <= right) & (y >= bottom) & (y <= top))


def _overlap(low: NDArray[np.float64], high: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far other boxes reach into `box`, measured by the shorter side of each overlap."""
    shared = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
    reach: NDArray[np.float64] = np.maximum(shared, 0).min(axis=1)
    return reach
