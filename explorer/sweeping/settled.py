"""The settled points of a study, which have nothing left to train."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from explorer.storage.runs import Result
from explorer.study.plan import Point
from explorer.training.engine import Outcome
from explorer.training.run import Run


class SettledPoints:
    """The points of a study and the results of its runs. A point is settled once all its runs have final results."""

    def __init__(
        self, points: Sequence[Point], runs: Mapping[tuple[int, int], Run], results: dict[str, Result]
    ) -> None:
        self.points = points
        self.results = results
        self.keys: dict[int, list[str]] = {}
        for (number, _), run in runs.items():
            self.keys.setdefault(number, []).append(run.key)
        self.sharing: dict[str, list[Point]] = {}  # points by the keys of their runs
        for point in points:
            for key in self._keys_of(point):
                self.sharing.setdefault(key, []).append(point)

    def results_of(self, point: Point) -> list[Result]:
        """Return the results so far for a point, or for the point that it is merged into."""
        return [self.results[key] for key in self._keys_of(point) if key in self.results]

    def so_far(self) -> dict[int, tuple[Point, list[Result]]]:
        """Return the settled points and their results, keyed by point number."""
        return {point.number: (point, self.results_of(point)) for point in self.points if self.is_settled(point)}

    def keep(self, keys: Collection[str]) -> None:
        """Need no other runs than these."""
        self.keys = {point: [key for key in own if key in keys] for point, own in self.keys.items()}

    def points_of(self, key: str) -> list[Point]:
        """Return the points that a run belongs to."""
        return self.sharing.get(key, [])

    def add(self, outcome: Outcome) -> None:
        """Add the result of a run."""
        key = outcome.run.key
        row: dict[str, Any] = {field.name: outcome.row.get(field.name) for field in fields(Result)}
        self.results[key] = Result(**row)

    def _keys_of(self, point: Point) -> list[str]:
        return self.keys.get(point.number if point.same_as is None else point.same_as, [])

    def is_settled(self, point: Point) -> bool:
        """Whether all runs of a point have final results."""
        return all(key in self.results and self.results[key].final for key in self._keys_of(point))
