"""Where accuracy levels off over a metaparameter: the values not separated from the best one."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Plateau:
    """The consecutive values around the best one that are not separated from it, by first and last value.

    `from_first` and `to_last` say whether it reaches the smallest and the largest measured value.
    """

    first: float
    last: float
    best: float
    from_first: bool
    to_last: bool

    @property
    def is_single(self) -> bool:
        """Whether only the best value is in it."""
        return self.first == self.last

    @property
    def is_all(self) -> bool:
        """Whether it covers all values, so that no rise or fall is visible."""
        return self.from_first and self.to_last


def plateau(points: pd.DataFrame, metaparameter: str) -> Plateau | None:
    """Return the plateau of the points of `analysis.ranked` over a numeric metaparameter.

    Returns None with fewer than three points, or if standings are unknown.
    """
    line = points.sort_values(metaparameter)
    standings, values = line["standing"].tolist(), line[metaparameter].astype(float).tolist()
    if len(line) < 3 or "" in standings:  # noqa: PLR2004 (two points do not make a curve)
        return None
    first = last = standings.index("best")
    best = values[first]
    while first > 0 and standings[first - 1] == "not separated":
        first -= 1
    while last < len(line) - 1 and standings[last + 1] == "not separated":
        last += 1
    return Plateau(values[first], values[last], best, first == 0, last == len(line) - 1)
