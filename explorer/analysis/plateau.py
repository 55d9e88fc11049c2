"""Where the curve over a metaparameter levels off: the values that are not separated from the best one."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Plateau:
    """The unbroken row of values around the best one that are not separated from it, with its first and last value.

    `from_first` and `to_last` say whether it reaches the smallest and the largest value that is measured.
    """

    first: float
    last: float
    best: float
    from_first: bool
    to_last: bool

    @property
    def is_single(self) -> bool:
        """Whether the best value stands alone."""
        return self.first == self.last

    @property
    def is_all(self) -> bool:
        """Whether no value is separated from the best one next to it, so that nothing is seen to rise or fall."""
        return self.from_first and self.to_last


def plateau(points: pd.DataFrame, metaparameter: str) -> Plateau | None:
    """The plateau of measured points of `analysis.ranked` over a metaparameter that is a number.

    None where fewer than three are measured or nothing tells them apart.
    """
    line = points.sort_values(metaparameter)
    standings, values = line["standing"].tolist(), line[metaparameter].astype(float).tolist()
    if len(line) < 3 or "" in standings:  # noqa: PLR2004 (two points make no curve)
        return None
    first = last = standings.index("best")
    best = values[first]
    while first > 0 and standings[first - 1] == "not separated":
        first -= 1
    while last < len(line) - 1 and standings[last + 1] == "not separated":
        last += 1
    return Plateau(values[first], values[last], best, first == 0, last == len(line) - 1)
